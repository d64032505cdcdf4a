# Mode reuse: one worker, many requests. docs/reuse-python.md says what is put back after each, and what is not.
import _contextvars
import _locale
import _operator
import _random


class Reuse:
    def __init__(self, worker):
        """Remembers how it is after loading."""
        self.worker = worker
        self.umask = os.umask(0o22)
        os.umask(self.umask)
        self.numbers = [n for n in range(1, _signal.NSIG) if n not in (_signal.SIGKILL, _signal.SIGSTOP)]
        self.limits = sys.getswitchinterval(), sys.getrecursionlimit()
        self.gc = gc.isenabled(), gc.get_threshold(), gc.get_debug()
        self.timeout = _socket.getdefaulttimeout()
        self.locale = _locale.setlocale(_locale.LC_ALL)
        self.lists = [(l, list(l)) for l in (sys.argv, sys.path, sys.meta_path, sys.path_hooks, _warnings.filters)]
        self.names = [(m.__dict__, m.__dict__.copy()) for m in (sys, builtins)]
        self.some = []
        for module, names in STATE:
            d = getattr(sys.modules.get(module), '__dict__', {})
            self.some.append((d, {n: d[n] for n in names if n in d}))
        logging = sys.modules.get('logging')
        self.handlers = list(logging.root.handlers) if logging else []
        self.level, self.disabled = (logging.root.level, logging.root.manager.disable) if logging else (30, 0)

    def serve(self):
        """A worker's life."""
        worker, script = self.worker, self.worker.script
        self.signals = [_signal.getsignal(n) for n in self.numbers]
        self.mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
        atexit._clear()  # what modules registered while they were loaded is for an end that never comes
        self.finalize()
        self.null = os.open('/dev/null', os.O_RDWR)
        self.errors, self.fds, self.grown = identity(2), descriptors(), 0
        try:
            while True:
                self.answer(worker, script)
        except BaseException:  # C would drop it
            sys.stderr = ERRORS.text
            sys.__excepthook__(*sys.exc_info())
            os._exit(1)

    def answer(self, worker, script):
        """One request."""
        worker.receive()
        self.connection = identity(1)
        for stream in INPUT, OUTPUT, ERRORS:
            stream.anew()
        worker.warn()
        self.old = gc.get_count()[2]
        script.module()
        # A context of its own: contextvars, and with them decimal's context, go with the request.
        worker.error = _contextvars.copy_context().run(run, script.code, script.main.__dict__)
        code = worker.end()
        if os.getpid() != worker.pid:
            os._exit(code)
        worker.done(code, self.left())
        if identity(CONTROL) != worker.control or identity(2) != self.errors:
            os._exit(code)
        os.dup2(self.null, 0)
        os.dup2(self.null, 1)
        self.clean()

    def join(self):
        """Waits for threads as Python does at its end, but can do so again."""
        if not _thread._count():
            return
        futures = sys.modules.get('concurrent.futures.thread')
        if futures:
            quietly(futures._python_exit)
            futures._shutdown = False
        threading = sys.modules.get('threading')
        for t in threading.enumerate() if threading else ():
            if not t.daemon and t is not threading.current_thread():
                t.join()

    def destroy(self):
        """Destroys what the script has made."""
        io = sys.modules.get('io')
        shut()
        put_in_order()
        self.worker.script.main = None
        # A file in a cycle would be written or closed while another request uses its descriptor. What is younger than
        # the request is collected; all is where an old generation may have got some of it.
        gc.collect(1 if gc.get_count()[2] == self.old else 2)
        if io:
            sys.modules['io'] = io
        for d, before in self.names:  # all of sys and builtins
            if len(d) != len(before) or not all(map(_operator.is_, d.values(), before.values())):
                for name in d.keys() - before.keys():
                    del d[name]
                d.update(before)

    def left(self):
        """What can't be cleaned up, for the line `done`."""
        left = []
        for wait in 0.001, 0.004, 0:
            if reaped():
                break
            time.sleep(wait)  # it has closed its output, but not ended
        else:
            left.append('children')
        subprocess = sys.modules.get('subprocess')
        if subprocess and subprocess._active:
            subprocess._cleanup()  # keeps the pipes of what nobody has waited for
        if descriptors() > self.fds and gc.collect() >= 0 and descriptors() > self.fds:
            # A module may keep what it has opened, a connection to a database. If it goes on so, it is a leak.
            self.fds, self.grown = descriptors(), self.grown + 1
            if self.grown > KEEPS or any(identity(n) == self.connection for n in range(3, 256)):
                left.append('descriptors')
        elif identity(2) != self.errors:
            left.append('descriptors')
        if _thread._count():
            left.append('threads')
        return ','.join(left) or '-'

    def clean(self):
        """After the answer: puts things back."""
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        now = list(map(_signal.getsignal, self.numbers))
        if now != self.signals:
            _signal.setitimer(_signal.ITIMER_VIRTUAL, 0)
            _signal.setitimer(_signal.ITIMER_PROF, 0)
            for n, is_, was in zip(self.numbers, now, self.signals):
                if is_ != was and was is not None:
                    _signal.signal(n, was)
        _signal.set_wakeup_fd(-1)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self.mask)
        os.chdir(self.worker.folder)
        os.umask(self.umask)
        for d, before in self.some:
            d.update(before)
        for l, before in self.lists:
            if l != before:
                l[:] = before
        filters_mutated()  # warnings that were shown once are shown again
        sys.settrace(None)
        sys.setprofile(None)
        if (sys.getswitchinterval(), sys.getrecursionlimit()) != self.limits:
            sys.setswitchinterval(self.limits[0])
            sys.setrecursionlimit(self.limits[1])
        if (gc.isenabled(), gc.get_threshold(), gc.get_debug()) != self.gc:
            (gc.enable if self.gc[0] else gc.disable)()
            gc.set_threshold(*self.gc[1])
            gc.set_debug(self.gc[2])
        _socket.setdefaulttimeout(self.timeout)
        if _locale.setlocale(_locale.LC_ALL) != self.locale:
            _locale.setlocale(_locale.LC_ALL, self.locale)
        random = sys.modules.get('random')
        if hasattr(random, '_inst'):  # the request may have seeded it
            _random.Random.seed(random._inst, int.from_bytes(os.urandom(32), 'little'))
            random._inst.gauss_next = None
        logging = sys.modules.get('logging')
        if logging:
            root = logging.root
            if (root.handlers, root.level, root.manager.disable) != (self.handlers, self.level, self.disabled):
                root.handlers[:] = self.handlers
                root.setLevel(self.level)
                root.manager.disable = self.disabled
        self.finalize()

    def finalize(self):
        """Modules register with atexit once, when they are loaded. That has gone with the request."""
        for name, function in (('logging', 'shutdown'), ('multiprocessing.util', '_exit_function')):
            do = getattr(sys.modules.get(name), function, None)
            if do:
                atexit.register(do)
        util = sys.modules.get('multiprocessing.util')
        if util:
            util._exiting = False
        finalize = getattr(sys.modules.get('weakref'), 'finalize', None)
        if finalize:
            finalize._registered_with_atexit = finalize._shutdown = False


KEEPS = 3  # how often the number of descriptors may grow

# What scripts set in modules to something else.
STATE = (
    ('os', ('environ', 'environb')),
    ('warnings', ('showwarning', 'formatwarning', '_showwarnmsg_impl')),
    ('threading', ('excepthook',)),
    ('tempfile', ('tempdir',)),
)


def run(code, globals):
    try:
        exec(code, globals)
    except BaseException as err:
        return strip(err)


def reaped():
    """Reports whether no child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True


def descriptors():
    """How many are open."""
    return os.stat('/proc/self/fd').st_size or len(os.listdir('/proc/self/fd'))  # before Linux 6.2


def filters_mutated():
    if hasattr(_warnings, '_filters_mutated'):
        _warnings._filters_mutated()
    else:
        with sys.modules['warnings']._lock:
            _warnings._filters_mutated_lock_held()
