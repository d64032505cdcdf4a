# The runner for Python: makes an interpreter a script's warm parent, see docs/worker-protocol.md.
# Beyond os it imports only what is written in C, so that a script finds in sys.modules what it would.
GLOBALS = dict(globals())  # what this version of Python gives a fresh __main__
__builtins__ = dict(vars(__builtins__))  # the script may change those that it sees

import sys

MAIN = sys.modules['__main__']  # kept: the interpreter returns to it
HAS_FOLDER = not (sys.flags.isolated or getattr(sys.flags, 'safe_path', False))
if HAS_FOLDER:
    del sys.path[0]  # the runner's; the script's takes its place

import _ast
import _io
import _signal
import _socket
import _thread
import _warnings
import _weakref
import atexit
import builtins
import gc
import os
import resource  # wait4 does
import select
import time

CONTROL = 3
MAX_LINE = 8192
BUILTINS = {k: v for k, v in __builtins__.items() if k not in  # what Python itself has, without its module site
            ('open', 'copyright', 'credits', 'exit', 'help', 'license', 'quit')}
ENVIRON = os.environ._data  # bytes; os.environ and os.environb are views of it


def escape(word):
    if isinstance(word, str):
        word = os.fsencode(word)
    return ''.join(chr(c) if 32 < c < 127 and c != 37 else '%%%02X' % c for c in word)


def say(*words):
    os.write(CONTROL, (' '.join(words) + '\n').encode())


class Failed(Exception):
    pass


def summary(err):
    """The last line of a traceback."""
    text = str(err).strip().split('\n')[0]
    return type(err).__name__ + (': ' + text if text else '')


class Order:
    """What the gateway wants loaded."""

    def __init__(self):
        size = b''
        while not size.endswith(b':'):
            size += os.read(CONTROL, 1) or os._exit(1)
        rest, data = int(size[:-1]) + 1, b''
        while len(data) < rest:
            data += os.read(CONTROL, rest - len(data)) or os._exit(1)
        words = data[:-2].split(b'\0')
        first, self.preload, self.late, self.env, self.variables = {}, [], [], {}, set()
        for name, value in zip(words[::2], words[1::2]):
            if name == b'env':
                name, _, value = value.partition(b'=')
                self.env[name] = value
            elif name == b'preload':
                self.preload.append(os.fsdecode(value))
            elif name == b'late':
                self.late.append(os.fsdecode(value).partition('=')[::2])
            elif name == b'variable':
                self.variables.add(os.fsdecode(value))
            else:
                first[name] = os.fsdecode(value)
        self.version, self.cookie = first.get(b'version'), first.get(b'cookie', '')
        self.mode, self.script, self.socket = first.get(b'mode'), first.get(b'script'), first.get(b'socket')


class Script:
    """The script, compiled, and where it runs: a module __main__ as plain Python makes it."""

    def __init__(self, path, mode):
        self.path = path
        with open(path, 'rb') as f:
            source = f.read()
        with Errors() as errors:  # plain Python warns about invalid escapes each time it compiles
            self.tree = compile(source, path, 'exec', _ast.PyCF_ONLY_AST, True)
            self.code = compile(self.tree, path, 'exec', 0, True)
        self.warnings = errors.text
        self.arguments([])
        if HAS_FOLDER:
            sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
        self.module()

    def arguments(self, args):
        sys.argv = [self.path] + args
        if hasattr(sys, 'orig_argv'):
            sys.orig_argv = COMMAND + sys.argv

    def module(self):
        """A fresh __main__."""
        main = type(sys)('__main__')
        main.__dict__.clear()
        main.__dict__.update(GLOBALS, __file__=self.path)
        if '__annotations__' in GLOBALS:
            main.__annotations__ = {}
        if GLOBALS.get('__loader__'):
            main.__loader__ = type(GLOBALS['__loader__'])('__main__', self.path)
        sys.modules['__main__'] = self.main = main


COMMAND = getattr(sys, 'orig_argv', [None])[:-1]


class Errors:
    """Keeps what is written to descriptor 2. The descriptor is replaced and not sys.stderr, as a
    module may take hold of that while it is loaded."""

    text = b''

    def __enter__(self):
        self.saved = self.file = None
        if hasattr(os, 'memfd_create') and sys.stderr is not None:
            sys.stderr.flush()
            self.saved, self.file = os.dup(2), os.memfd_create('stderr')
            os.dup2(self.file, 2)
        return self

    def __exit__(self, *_):
        if self.saved is not None:
            try:
                sys.stderr.flush()
            except Exception:
                pass
            os.dup2(self.saved, 2)
            self.text = os.pread(self.file, 1 << 20, 0)
            os.close(self.saved)
            os.close(self.file)


def load(order):
    """Does all that can be done before the fork."""
    if order.version != '1':
        raise Failed('protocol version %s' % order.version)
    if order.mode not in ('warm', 'reuse'):
        raise Failed('mode %s' % order.mode)
    try:
        script = Script(order.script, order.mode)
    except (OSError, SyntaxError, ValueError) as err:
        if is_archive(order.script):
            say('unsafe', escape('is an archive of modules'))
        raise Failed(summary(err))
    ahead = Ahead(script, order)
    ahead.run()
    worker = Worker(order, script, ahead)
    # By the #! line (env -S NAME=value, a wrapper), the interpreter (LC_CTYPE, PEP 538), or a module.
    worker.changed = {k: v for k, v in ENVIRON.items() if order.env.get(k) != v}
    worker.dropped = [k for k in order.env if k not in ENVIRON]
    if WITHOUT_FRAMES and order.mode == 'warm':
        script.code = enclosed(script.tree, worker)
    script.tree = None
    for path in ahead.files():
        say('file', escape(path))
    for stream in sys.stdout, sys.stderr:
        if stream is not None:
            stream.flush()
    let_go()
    end_threads()
    take_name(script.path)
    worker.prepare()
    # What lives now lives in every child. Frozen, it is not looked at by collections, which would copy its pages.
    gc.collect()
    gc.freeze()
    return worker


def is_archive(path):
    """Reports whether it is what zipapp makes."""
    with open(path, 'rb') as f:
        data = f.read()
    return data.rfind(b'PK\5\6', -65557) >= 0


def let_go():
    """Puts /dev/null on descriptors 0 and 1."""
    null = os.open('/dev/null', os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if null > 2:
        os.close(null)


def end_threads():
    """Libraries like OpenBLAS end their threads before a fork, and start them again when they need them. Those of
    others stay, and make us unsafe."""
    try:
        threads = len(os.listdir('/proc/self/task'))
    except OSError:
        return
    if threads > 1:
        with Errors():
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)


def take_name(path):
    """A process that is started by a #! line has the name of the script, unless a program is between (env)."""
    try:
        with open(path, 'rb') as f, open('/proc/self/comm', 'rb+', 0) as comm:
            first = f.readline(256)[2:].split()
            if first and os.path.basename(first[0])[:15] == comm.read().strip():
                comm.write(os.fsencode(os.path.basename(path)))
    except OSError:
        pass


class Parent:
    """Forks workers and waits for them."""

    SIGNALS = _signal.SIGCHLD, _signal.SIGTERM

    def __init__(self):
        self.workers = set()
        self.wanted = 0
        self.stopping = False
        self.wake = None
        self.buffer = b''

    def listen(self):
        """Catches signals from the first fork on. Till then SIGTERM just ends us, as it should, and the gateway
        finds no descriptor that it does not know."""
        self.wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, 'pipe2') else os.pipe()
        for fd in self.wake:
            os.set_blocking(fd, False)
        self.saved_fd = _signal.set_wakeup_fd(self.wake[1])
        self.saved = [(s, _signal.signal(s, lambda signum, frame: None)) for s in self.SIGNALS]
        self.poll = select.poll()
        self.poll.register(CONTROL, select.POLLIN)
        self.poll.register(self.wake[0], select.POLLIN)

    def serve(self):
        """Returns in a worker only."""
        while True:
            if self.wake:
                ready = dict(self.poll.poll(50 if self.wanted else None))
                if self.wake[0] in ready:
                    signals = os.read(self.wake[0], 4096)
                    if _signal.SIGTERM in signals:
                        self.leave()
                    self.reap()
                if CONTROL not in ready:
                    if self.wanted and self.fork_wanted():
                        return
                    continue
            data = os.read(CONTROL, 4096)
            if not data:
                self.leave()
            *lines, self.buffer = (self.buffer + data).split(b'\n')
            for line in lines:
                self.obey(line.split())
            if len(self.buffer) > MAX_LINE:
                self.leave()
            if self.fork_wanted():
                return
            self.end_if_empty()

    def obey(self, words):
        if words == [b'stop']:
            self.stopping = True
            self.wanted = 0
        elif len(words) == 2 and words[0] == b'fork':
            self.wanted += 0 if self.stopping else int(words[1])
        else:
            self.leave()

    def fork_wanted(self):
        """Reports whether this process is a worker now. What can't be forked (a limit of processes) is tried again:
        the dead have to be waited for."""
        while self.wanted:
            left = self.wanted
            if self.fork():
                return True
            if self.wanted == left:
                break
        return False

    def fork(self):
        if not self.wake:
            self.listen()
        # A signal for the parent must not be taken by a child that still looks like it.
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, self.SIGNALS)
        try:
            pid = os.fork()
        except OSError:
            pid = None
        if pid == 0:
            for number, handler in self.saved:
                _signal.signal(number, _signal.SIG_DFL if handler is None else handler)
            _signal.set_wakeup_fd(self.saved_fd)
            os.close(self.wake[0])
            os.close(self.wake[1])
            self.poll = None
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
            os.setpgid(0, 0)
            return True
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        if pid:
            self.wanted -= 1
            self.workers.add(pid)
            os.write(CONTROL, b'forked %d\n' % pid)
        return False

    def reap(self):
        while self.workers:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid in self.workers:
                self.workers.remove(pid)
                os.write(CONTROL, b'exit %d %d %d %d\n' % (pid, status, usage.ru_utime * 1e6, usage.ru_stime * 1e6))
        self.end_if_empty()

    def end_if_empty(self):
        if self.stopping and not self.workers:
            os._exit(0)

    def leave(self):
        for pid in self.workers:
            try:
                os.kill(-pid, _signal.SIGKILL)
            except OSError:  # not its own group yet
                os.kill(pid, _signal.SIGKILL)
        os._exit(0)


def main():
    """The warm parent. Returns in a worker only."""
    if sys.argv[0] == '/proc/self/fd/4':
        os.close(4)
    os.set_inheritable(CONTROL, False)
    order = Order()
    say('hello', '1', escape(order.cookie), 'python', '%d.%d.%d' % sys.version_info[:3])
    try:
        worker = load(order)
        say('ready')
    except BaseException as err:  # no traceback: who shows it opens descriptor 4 by name
        try:
            say('failed', escape(str(err) if isinstance(err, Failed) else summary(err)))
        finally:
            os._exit(1)
    parent = Parent()
    try:
        parent.serve()
    except BaseException:  # the gateway has gone, and could not be told something
        parent.leave()
    return worker
