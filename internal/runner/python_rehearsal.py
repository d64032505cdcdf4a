# A child loads first what is to be loaded, and tells what that does.
#
# What a module of the script's own takes from the clock, from random numbers or from the number of the process while it
# is loaded must not be the same for all requests, and what it writes must be written for each. Such modules, and those
# that import them, are not loaded ahead. Installed ones are trusted to mean what they do once.

LIBRARY = os.path.dirname(os.__file__) + '/'
CALLS = {  # by the names of C functions: whose they are
    **dict.fromkeys('time time_ns monotonic monotonic_ns perf_counter perf_counter_ns localtime gmtime ctime strftime'.split(), 'time'),
    **dict.fromkeys('getpid getppid urandom getrandom'.split(), 'posix'),
    **dict.fromkeys('now utcnow today'.split(), 'datetime'),
    **dict.fromkeys('random getrandbits seed'.split(), '_random'),
    'generate_time_safe': '_uuid',
    'alarm': '_signal', 'setitimer': '_signal',  # a fork has none
}
EVENTS = frozenset('''os.remove os.rename os.rmdir os.link os.symlink os.truncate os.chmod os.chown os.utime os.system
    os.posix_spawn subprocess.Popen'''.split())


def is_own(file):
    """Reports whether a module's file is the script's: neither Python's nor installed."""
    return file.startswith('/') and not file.startswith(LIBRARY) and '-packages/' not in file


class Observer:
    """Watches what modules of the script's own do while they are loaded."""

    def __init__(self):
        self.fresh = set()  # modules that must be loaded for each request
        self.data = set()   # files that were read

    def __enter__(self):
        sys.addaudithook(self.audit)
        sys.setprofile(self.profile)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        self.audit = None

    def loading(self, frame):
        """The modules of the script's own that are being loaded, if the innermost is one."""
        names = []
        while frame:
            if frame.f_code.co_name == '<module>':
                if is_own(frame.f_code.co_filename) and frame.f_globals.get('__spec__'):
                    names.append(frame.f_globals['__name__'])
                elif not names:
                    break
            frame = frame.f_back
        return names

    def profile(self, frame, event, function):
        if event == 'c_call' and function.__name__ in CALLS:
            owner = function.__self__ if isinstance(function.__self__, (type, type(sys))) else type(function.__self__)
            names = [owner.__name__, *(c.__module__ for c in getattr(owner, '__mro__', ()))]
            if CALLS[function.__name__] in names:
                self.fresh.update(self.loading(frame))

    def audit(self, event, args):
        if event == 'open':
            path, mode, flags = args
            if isinstance(path, bytes):
                path = os.fsdecode(path)
            if not isinstance(path, str) or '/__pycache__/' in path or path.startswith(('/dev/', '/proc/')):
                return
            names = self.loading(sys._getframe(1))
            if names and flags & (os.O_WRONLY | os.O_RDWR):
                self.fresh.update(names)
            elif names:
                self.data.add(os.path.abspath(path))
        elif event in EVENTS or event == 'os.mkdir' and not os.path.isdir(args[0]) or event == 'os.chdir' and not here(args[0]):
            self.fresh.update(self.loading(sys._getframe(1)))


def here(folder):
    return os.path.samefile(folder, '.') if os.path.isdir(folder) else True


class Fresh(BaseException):
    pass


class Barred:
    """A finder of what must not be loaded ahead."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise Fresh(name)


class Rehearsal:
    """What a child found out by loading all that is to be loaded."""

    def __init__(self, ahead):
        self.fresh, self.loaded, self.data = set(), [], []
        if not has_own(ahead.script.tree):
            return
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(lambda: self.tell(ahead, into))
        os.close(into)
        with open(out, 'rb') as f:
            lines = f.read().decode().split('\n')
        os.waitpid(pid, 0)
        if lines[-1] == 'end':
            for line in lines[:-1]:
                what, name, file = (os.fsdecode(unescape(w)) for w in line.split())
                if what == 'fresh':
                    self.fresh.add(name)
                elif what == 'loaded':
                    self.loaded.append((name, file))
                else:
                    self.data.append(file)

    def tell(self, ahead, into):
        os.set_inheritable(into, False)
        before = set(sys.modules)
        with Observer() as seen:
            ahead.preload()
            ahead.body(ahead.script.tree.body)
        # What makes the script unsafe must come to light when it is loaded in earnest.
        fresh = set() if ahead.unsafe or not left_alone() else seen.fresh
        lines = [('fresh', n, '-') for n in fresh] + [('data', '-', f) for f in seen.data]
        modules = {**sys.modules, **{n: b.modules[n] for n, b in ahead.held.batches.items()}}
        for name in modules.keys() - before if fresh else ():
            spec = getattr(modules[name], '__spec__', None)
            if spec and spec.name == name and spec.has_location and spec.origin:
                lines.append(('loaded', name, spec.origin))
        os.write(into, ''.join('%s %s %s\n' % tuple(map(escape, l)) for l in lines).encode() + b'end')
        return True


def has_own(tree):
    """Reports whether the script seems to import a module of its own."""
    folders = [p for p in sys.path if is_own(p + '/')]
    for s in within(tree):
        if isinstance(s, (_ast.Import, _ast.ImportFrom)):
            for name in [s.module or ''] if isinstance(s, _ast.ImportFrom) else [a.name for a in s.names]:
                top = name.partition('.')[0]
                if top and any(os.path.exists(os.path.join(f, top + end)) for f in folders for end in ('.py', '')):
                    return True
    return False


def unescape(word):
    first, *rest = word.encode().split(b'%')
    return first + b''.join(bytes([int(w[:2], 16)]) + w[2:] for w in rest)


def child(do):
    """The life of a child that tries something out: whatever that does, it meets neither the gateway nor the log."""
    global say
    try:
        say = lambda *words: None
        null = os.open('/dev/null', os.O_RDWR)
        probe = os.memfd_create('in')
        os.write(probe, b'x')
        os.lseek(probe, 0, os.SEEK_SET)
        os.dup2(probe, 0)
        os.dup2(os.memfd_create('out'), 1)
        os.dup2(null, 2)
        os.close(CONTROL)
        global OPEN
        OPEN = len(os.listdir('/proc/self/fd'))
        os._exit(0 if do() else 1)
    finally:
        os._exit(1)


def left_alone():
    """Reports whether what the child did leaves no thread, no descriptor, no child, and has read and written nothing."""
    sys.stdout.flush()
    if len(os.listdir('/proc/self/fd')) != OPEN or os.path.getsize('/proc/self/fd/1') or os.lseek(0, 0, os.SEEK_CUR):
        return False
    try:
        os.waitpid(-1, os.WNOHANG)
        return False
    except ChildProcessError:
        end_threads()
        return len(os.listdir('/proc/self/task')) == 1


def harmless_to_load(ahead, name, file):
    """Has a child load it, and looks at what else that does."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0

    def load():
        with Observer() as seen:
            return ahead.hint(name, file) and left_alone() and not seen.fresh
    child(load)
