# Regular expressions that workers compile after their fork: the module re keeps what it has compiled, and so the next
# warm parent can compile ahead what most requests need. To the gateway they are late modules whose names begin with `re:`.

PATTERN = 're:'
MOST, LONGEST = 64, 1000


class Patterns:
    def __init__(self, modules):
        self.re = modules.get('re')
        self.known = set(self.cache())

    def cache(self):
        return getattr(self.re, '_cache', {})

    def compile_ahead(self, late):
        """As re.compile does, but nothing that warns: each request is to be warned."""
        if not hasattr(self.re, '_cache'):
            return
        before = set(sys.modules)
        for name, flags in late:
            if not name.startswith(PATTERN):
                continue
            kind, _, code = name[len(PATTERN):].partition(':')
            pattern = bytes.fromhex(code)
            if kind == 'str':
                pattern = pattern.decode('utf-8', 'surrogatepass')
            with Errors() as errors:
                try:
                    self.re.compile(pattern, int(flags))
                except Exception:
                    pass
            if errors.text:
                for cache in self.cache(), getattr(self.re, '_cache2', {}):
                    cache.pop((type(pattern), pattern, int(flags)), None)
        for name in sys.modules.keys() - before:  # warnings
            del sys.modules[name]
        self.known = set(self.cache())

    def late(self, modules):
        """The names of what was compiled since, with their flags."""
        self.re = self.re or modules.get('re')
        if len(self.cache()) == len(self.known):
            return
        new = [k for k in list(self.cache()) if k not in self.known][:MOST]
        self.known.update(new)
        for kind, pattern, flags in new:
            if kind in (str, bytes) and len(pattern) < LONGEST and not flags & self.re.LOCALE:
                code = pattern.encode('utf-8', 'surrogatepass') if kind is str else pattern
                yield '%s%s:%s' % (PATTERN, kind.__name__, code.hex()), str(int(flags))
