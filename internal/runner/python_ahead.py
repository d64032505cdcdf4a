# What is loaded ahead of the fork: the modules that the script imports.
#
# The script must get the modules that plain Python would give it. Those that its first statements import
# are simply there. About the others there is doubt: the script may have changed sys.path or the environment
# before, or may not import them at all. They are held back, see Held.


# Variables of requests, beside those that the order names: not every request has all of them.
REQUEST = frozenset('''AUTH_TYPE CONTENT_LENGTH CONTENT_TYPE CONTEXT_DOCUMENT_ROOT CONTEXT_PREFIX DOCUMENT_URI HTTPS
    PATH_INFO PATH_TRANSLATED QUERY_STRING SCRIPT_NAME SCRIPT_URI SCRIPT_URL SERVER_NAME SERVER_PORT SERVER_PROTOCOL
    UNIQUE_ID'''.split())
REQUEST_PREFIX = 'HTTP_', 'REMOTE_', 'REQUEST_', 'SSL_', 'REDIRECT_'


class Watch(type(os.environ)):
    """os.environ while modules are loaded."""

    def __getitem__(self, key):
        AHEAD.reads(key)
        return super().__getitem__(key)

    def __iter__(self):
        AHEAD.copies()
        return super().__iter__()


AHEAD = None


class Batch:
    """The modules that one import loaded."""

    def __init__(self, names):
        self.names = names   # what was imported; the rest came along
        self.modules = {}
        self.environ = {}    # what it read of the environment
        self.copied = False  # it read all of the environment
        self.text = b''      # what it wrote to standard error: warnings
        self.path = list(sys.path)
        self.filters = list(_warnings.filters)

    def holds(self, finders):
        """Reports whether plain Python would load the same now."""
        if self.copied or any(ENVIRON.get(k) != v for k, v in self.environ.items()):
            return False
        if self.text and self.filters != _warnings.filters:
            return False
        return self.path == sys.path or all(found(m, finders) for n, m in self.modules.items() if '.' not in n)


def found(module, finders):
    """Reports whether a module would be loaded from the file that it was loaded from."""
    for finder in finders:
        spec = finder.find_spec(module.__spec__.name, None)
        if spec:
            return spec.origin == module.__spec__.origin
    return False


class Held:
    """A finder of modules that are loaded, but not in sys.modules until the script imports them, and only if
    it would get the very same by itself."""

    def __init__(self, given):
        self.batches = {}   # by the names of modules
        self.given = given  # is told of each batch

    def hold(self, batch):
        for name in batch.modules:
            del sys.modules[name]
            self.batches[name] = batch
        if self.batches and self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def drop(self, batch):
        for name in batch.modules:
            self.batches.pop(name, None)
        if not self.batches and self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name, path=None, target=None):
        batch = self.batches.get(name)
        if batch is None or not batch.holds([f for f in sys.meta_path if f is not self]):
            return None
        module = batch.modules[name]
        # Its text is for who imports what it is about.
        alone = batch.text and name.partition('.')[0] not in batch.names
        spec = type(module.__spec__)(name, Given(self, batch, module, alone), origin=module.__spec__.origin)
        spec.submodule_search_locations = module.__spec__.submodule_search_locations
        return spec

    def give(self, batch):
        self.drop(batch)
        for name, module in batch.modules.items():
            sys.modules.setdefault(name, module)
        if batch.text and sys.stderr is not None:
            sys.stderr.write(os.fsdecode(batch.text))
        self.given(batch)


class Given:
    """The loader of a module that is loaded already."""

    def __init__(self, held, batch, module, alone):
        self.held, self.batch, self.module, self.alone, self.spec = held, batch, module, alone, module.__spec__

    def create_module(self, spec):
        if self.alone:
            self.held.batches.pop(spec.name, None)
        else:
            self.held.give(self.batch)
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec


class Ahead:
    def __init__(self, script, order):
        self.script, self.order = script, order
        self.doubt = False   # an earlier statement may have changed what an import gives
        self.batch = None    # that is being loaded, and will be held back
        self.held = Held(self.given)
        self.unsafe = set()
        self.imported = set()  # standard modules by their names in the script
        self.fresh = self.data = ()

    def run(self):
        global AHEAD
        AHEAD = self
        env = type(os.environ)
        os.environ.__class__ = os.environb.__class__ = Watch
        barred = None
        try:
            rehearsal = Rehearsal(self)
            self.preload()
            self.fresh, self.data = rehearsal.fresh - sys.modules.keys(), rehearsal.data
            if self.fresh:
                barred = Barred(self.fresh)
                sys.meta_path.insert(0, barred)
            self.body(self.script.tree.body)
            for name, file in rehearsal.loaded:
                if self.wanted(name):
                    self.hint(name, file)
            for name, file in sorted(self.order.late):
                if self.wanted(name) and os.path.isfile(file) and harmless_to_load(self, name, file):
                    self.hint(name, file)
        finally:
            os.environ.__class__ = os.environb.__class__ = env
        if barred:
            sys.meta_path.remove(barred)
        self.held.given = lambda batch: None
        self.modules = dict(sys.modules)
        for name, batch in self.held.batches.items():
            self.modules[name] = batch.modules[name]

    def preload(self):
        for name in self.order.preload:
            try:
                __import__(name)
            except BaseException as err:
                raise Failed('preload %s: %s' % (name, summary(err)))

    def files(self):
        """The script, and the files that were loaded or read."""
        files = dict.fromkeys([self.script.path, *self.data])
        for module in self.modules.values():
            spec = getattr(module, '__spec__', None)
            for file in getattr(module, '__file__', None), getattr(spec, 'origin', None), getattr(getattr(spec, 'loader', None), 'archive', None):
                if isinstance(file, str) and file.startswith('/') and not file.startswith('/proc/'):
                    files[file] = None
        return files

    # What happens while a module is loaded.

    def given(self, batch):
        """Another import needs what was held back."""
        for key in batch.environ:
            self.reads(key)
        if batch.copied:
            self.copies()

    def reads(self, key):
        key = os.fsencode(key) if isinstance(key, (bytes, str)) else b''
        if self.batch is not None:
            self.batch.environ[key] = ENVIRON.get(key)
        elif self.of_request(os.fsdecode(key)):
            self.tell('%s reads %s while it is loaded' % (reader(), os.fsdecode(key)))

    def of_request(self, name):
        return name in self.order.variables or name in REQUEST or name.startswith(REQUEST_PREFIX)

    def copies(self):
        if reader() == 'wsgiref.handlers':  # renewals() copies again
            return
        if self.batch is not None:
            self.batch.copied = True
        else:
            self.tell('%s copies the environment while it is loaded' % reader())

    def tell(self, reason):
        if reason not in self.unsafe:
            self.unsafe.add(reason)
            say('unsafe', escape(reason))

    # The script's statements.

    def body(self, statements):
        """Reports whether all that is imported here can be. Without it, plain Python does not come further."""
        for s in statements:
            if isinstance(s, (_ast.Import, _ast.ImportFrom)):
                if not self.statement(s):
                    return False
            elif isinstance(s, _ast.Try):
                if not self.body(s.body):
                    handler = next((h for h in s.handlers if catches_import_error(h)), None)
                    if handler is None or not self.body(handler.body):
                        return False
                if not self.body(s.finalbody):
                    return False
            elif is_main(s):
                if not self.body(s.body):
                    return False
            else:
                self.doubt = self.doubt or not self.harmless(s)
                self.maybe(s)
        return True

    def maybe(self, statement):
        """Imports that the script may or may not come to."""
        if isinstance(statement, (_ast.If, _ast.For, _ast.While, _ast.With, _ast.Try)):
            before, self.doubt = self.doubt, True
            for s in within(statement):
                if isinstance(s, (_ast.Import, _ast.ImportFrom)):
                    self.statement(s)
            self.doubt = before

    def statement(self, s):
        if isinstance(s, _ast.ImportFrom):
            if s.level:
                return self.doubt  # it can't be in __main__
            if s.module == '__future__':
                return True
            names = [s.module]
            if s.module == 'sys' and any(a.name in SUSPICIOUS or a.name == 'path' for a in s.names):
                self.doubt = True
        else:
            names = [a.name for a in s.names]
        standard = all(is_standard(n) for n in names)
        if standard:
            self.imported.update(a.asname or a.name.partition('.')[0] for a in s.names)
        if self.doubt and not standard:
            return True
        if any(n in self.fresh for n in names):
            self.doubt = True  # nobody knows what it does
            return True
        tree = _ast.Module(body=[s], type_ignores=[])
        code = compile(tree, self.script.path, 'exec', 0, True)
        # As if __main__ did it: warnings are shown with the script's line.
        place = {'__name__': '__main__', '__file__': self.script.path, '__builtins__': builtins}
        return self.load(lambda: exec(code, place), self.doubt, names)[0] or self.doubt

    # What workers load late is loaded and held back, unless that would make us unsafe: a child tries it.

    def wanted(self, name):
        return name not in sys.modules and name not in self.held.batches and name not in self.fresh

    def hint(self, name, file):
        """Reports whether the module could be loaded, and did nothing but that."""
        folder = file
        for _ in range(name.count('.') + (2 if os.path.basename(file).startswith('__init__.') else 1)):
            folder = os.path.dirname(folder)
        path, env = list(sys.path), dict(ENVIRON)
        if folder not in path:
            sys.path.insert(0, folder)
        changed = list(sys.path)
        ok, batch = self.load(lambda: __import__(name), True, [name])
        ok = ok and not batch.text and not batch.copied and sys.path == changed and env == ENVIRON
        ok = ok and name in batch.modules and batch.modules[name].__spec__.origin == file
        if not ok:
            self.held.drop(batch)
        sys.path[:] = path
        return ok

    def load(self, do, held, names):
        """Does an import of names. Reports whether it could, and what it loaded."""
        before = set(sys.modules)
        batch = Batch({n.partition('.')[0] for n in names})
        self.batch = batch if held else None
        ok = True
        with Errors() as errors:
            try:
                do()
            except BaseException:
                ok = False
        self.batch = None
        batch.text = errors.text if ok else b''
        batch.modules = {n: m for n, m in sys.modules.items() if n not in before and getattr(m, '__spec__', None)}
        if held or batch.text:
            self.held.hold(batch)
        return ok, batch

    # A statement is harmless when no import after it can give anything else for it.

    def harmless(self, statement):
        return all(map(self.harmless_node, within(statement)))

    def harmless_node(self, node):
        if isinstance(node, _ast.Attribute):
            if node.attr == 'path':
                return isinstance(node.value, _ast.Name) and node.value.id == 'os'
            return node.attr not in SUSPICIOUS
        if isinstance(node, _ast.Name):
            return node.id not in SUSPICIOUS
        if isinstance(node, _ast.Call):
            root, bare = node.func, True
            while isinstance(root, (_ast.Attribute, _ast.Call, _ast.Subscript)):
                bare = bare and not isinstance(root, _ast.Attribute)
                root = root.func if isinstance(root, _ast.Call) else root.value
            if isinstance(root, _ast.Name):
                if any(isinstance(a, _ast.Name) and a.id in ('sys', 'os') for a in node.args):
                    return False
                return root.id in self.imported or bare and hasattr(builtins, root.id)
            return isinstance(root, (_ast.Constant, _ast.JoinedStr))
        return True


SUSPICIOUS = frozenset('''exec eval __import__ compile globals vars setattr site importlib pkgutil imp runpy
    pkg_resources warnings meta_path path_hooks modules path_importer_cache chdir fchdir chroot environ environb
    putenv unsetenv addsitedir __builtins__ builtins'''.split())


def within(node):
    """A statement and what is in it, but for the bodies of functions, which do not run with it."""
    yield node
    for field in node._fields:
        if field == 'body' and isinstance(node, (_ast.FunctionDef, _ast.AsyncFunctionDef, _ast.Lambda)):
            continue
        value = getattr(node, field, None)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, _ast.AST):
                yield from within(child)


def is_main(s):
    return (isinstance(s, _ast.If) and isinstance(s.test, _ast.Compare) and isinstance(s.test.left, _ast.Name)
            and s.test.left.id == '__name__' and len(s.test.ops) == 1 and isinstance(s.test.ops[0], _ast.Eq)
            and getattr(s.test.comparators[0], 'value', None) == '__main__')


def catches_import_error(handler):
    names = [n.id for n in within(handler.type) if isinstance(n, _ast.Name)] if handler.type else ['Exception']
    return any(n in ('ImportError', 'ModuleNotFoundError', 'Exception', 'BaseException') for n in names)


def is_standard(name):
    top = name.partition('.')[0]
    if hasattr(sys, 'stdlib_module_names'):
        return top in sys.stdlib_module_names
    if top in sys.builtin_module_names:
        return True
    library = os.path.dirname(os.__file__)
    return (os.path.exists(os.path.join(library, top + '.py')) or os.path.isdir(os.path.join(library, top))
            or any(f.partition('.')[0] == top for f in os.listdir(os.path.join(library, 'lib-dynload'))))


def reader():
    """Who reads os.environ: the module that is being loaded."""
    frame = sys._getframe(1)
    while frame:
        name = frame.f_globals.get('__name__', '?')
        if name not in ('os', '__main__', '_collections_abc', 'collections.abc', '_frozen_importlib', 'importlib._bootstrap'):
            return name
        frame = frame.f_back
    return 'a module'
