# A worker: takes a request, runs the script, and ends as Python ends.


class Worker:
    def __init__(self, order, script, ahead):
        self.order, self.script, self.modules = order, script, ahead.modules
        self.changed, self.dropped = {}, []  # what was done to the environment until the script begins
        self.folder = os.getcwd()
        self.error = None
        self.owed = []

    def prepare(self):
        """The last thing before the forks."""
        self.control = identity(CONTROL)
        if self.script.warnings:
            self.script.warnings = os.fsdecode(self.script.warnings)
        self.fresh = list(renewals(self.modules))
        self.known = set(self.modules)
        self.known.add('__main__')
        self.patterns = Patterns(self.modules)
        self.patterns.compile_ahead(self.order.late)
        # Plain Python would destroy them at its end.
        for o in gc.get_objects():
            if type(getattr(type(o), '__del__', None)) is FUNCTION and not isinstance(o, type):
                try:
                    self.owed.append(_weakref.ref(o))
                except TypeError:
                    pass
        for stream in INPUT, OUTPUT, ERRORS:
            stream.settle()
        INPUT.anew()
        self.reuse = Reuse(self) if self.order.mode == 'reuse' else None

    def connect(self):
        s = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        if _socket.getdefaulttimeout() is not None:
            s.settimeout(None)
        s.connect(self.order.socket)
        return s

    def start(self):
        """After the fork."""
        self.pid = os.getpid()
        self.script.module()  # its cycles can be collected, as it is not frozen
        # What the script forks is no worker.
        os.register_at_fork(after_in_child=self.disown)
        s = self.connect()
        os.dup2(s.fileno(), 2)
        s.close()

    def disown(self):
        if identity(CONTROL) == self.control:
            os.close(CONTROL)

    def receive(self):
        """Waits for a request, and puts it into descriptors, environment and arguments."""
        s = self.connect()
        size = b''
        while True:
            head = s.recv(16, _socket.MSG_PEEK)
            if not head:
                os._exit(0)  # not wanted any more
            digits, colon, _ = head.partition(b':')
            size += digits
            if colon:
                break
            s.recv(len(digits))
        data = s.recv(len(digits) + int(size) + 2, _socket.MSG_WAITALL)
        words = data[len(digits) + 1:-2].split(b'\0')
        env = dict(zip(words[::2], words[1::2]))
        args = []
        if data.find(b'=', len(digits) + 1, len(digits) + 2) >= 0 or b'\0=' in data:
            args = [os.fsdecode(v) for k, v in zip(words[::2], words[1::2]) if k == b'=arg']
            env = {k: v for k, v in env.items() if not k.startswith(b'=')}
        fd = s.detach()
        if env.get(b'CONTENT_LENGTH', b'0') not in (b'0', b''):
            os.dup2(fd, 0)
            INPUT.anew()
        os.dup2(fd, 1)
        os.close(fd)
        self.environment(env)
        if args:
            self.script.arguments(args)
        for renew in self.fresh:
            renew()

    def environment(self, env):
        env.update(self.changed)
        for name in self.dropped:
            env.pop(name, None)
        zone = ENVIRON.get(b'TZ')
        for name in ENVIRON.keys() - env.keys():
            os.unsetenv(name)
        for name, value in env.items():
            if ENVIRON.get(name) != value:
                os.putenv(name, value)
        ENVIRON.clear()
        ENVIRON.update(env)
        if env.get(b'TZ') != zone:
            time.tzset()

    def run(self):
        """What the interpreter calls is the script."""
        self.warn()
        return FUNCTION(self.script.code, self.script.main.__dict__)

    def warn(self):
        if self.script.warnings:
            sys.stderr.write(self.script.warnings)

    def caught(self):
        self.error = sys.exc_info()[1]

    def ended(self):
        Trapdoor('stdout', lambda: self.finish)

    # The end, in Python's order.

    def end(self):
        """What Python does between the script's last statement and exit(3). Returns the exit status."""
        quietly(flush, sys.stderr)
        quietly(flush, sys.stdout)
        err, self.error = self.error, None
        code = report(err) if err else 0
        interrupted = isinstance(err, KeyboardInterrupt)
        err = None
        (self.reuse or self).join()
        run_exit_functions()
        flushed = flush_all()
        self.lines = self.late()
        (self.reuse or self).destroy()
        quietly(flush, sys.stdout)  # for Python, it has gone by now
        quietly(flush, sys.stderr)
        if not flushed:
            code = 120
        if interrupted:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
            os.kill(os.getpid(), _signal.SIGINT)
        return code

    def join(self):
        threading = sys.modules.get('threading')
        if threading:
            try:
                threading._shutdown()
            except BaseException as e:
                ignored('threading shutdown', threading, strip(e))

    def destroy(self):
        """Python destroys everything. Here it is what the script has made: that is what can be seen, or has something
        to write, and the rest would only cost time."""
        shut()
        put_in_order()
        self.script.main = self.script.code = None
        gc.collect()
        # What is left of the script's is held by modules. The youngest come first: a file before its buffer.
        for o in reversed(gc.get_objects()):  # without what is frozen
            if isinstance(o, (_io._IOBase, GENERATOR)):
                quietly(o.close)
            elif type(getattr(type(o), '__del__', None)) is FUNCTION and not isinstance(o, type):
                quietly(o.__del__)
        for ref in self.owed:
            o = ref()
            if o is not None:
                quietly(o.__del__)

    def late(self):
        """The modules that the parent did not have."""
        lines = []
        for name in sys.modules.keys() - self.known:
            spec = getattr(sys.modules[name], '__spec__', None)
            if spec is not None and spec.name == name:
                origin = spec.origin if spec.has_location and spec.origin else '-'
                lines.append('late %d %s %s\n' % (self.pid, escape(name), escape(origin)))
        self.known.update(sys.modules)
        lines += ['late %d %s %s\n' % (self.pid, *late) for late in self.patterns.late(sys.modules)]
        return lines

    def done(self, code, left='-'):
        if identity(CONTROL) != self.control:
            return
        text = ''
        for line in [*self.lines, 'done %d %d %s\n' % (self.pid, code, left)]:
            if len(text) + len(line) > MAX_LINE:
                os.write(CONTROL, text.encode())
                text = ''
            text += line
        os.write(CONTROL, text.encode())

    def finish(self):
        """Ends the process."""
        code = 1
        try:
            code = self.end()
            if os.getpid() == self.pid:
                self.done(code)
        finally:  # whatever happens: C would drop an exception
            os._exit(code)


class Stream:
    """A standard stream. Its objects stay, as modules may have taken hold of them, and they have the encoding that
    plain Python gives."""

    def __init__(self, name):
        self.name = '<%s>' % name
        self.text = getattr(sys, '__%s__' % name)
        if self.text is None:
            return
        self.buffer = self.text.buffer
        self.buffered = hasattr(self.buffer, 'raw')  # not so by -u
        self.fd, self.mode = self.text.fileno(), self.text.mode
        self.settle()

    def settle(self):
        """Remembers how it is now: a module may have changed it while it was loaded."""
        try:
            self.settings = self.text.encoding, self.text.errors, '\n', self.text.line_buffering, self.text.write_through
        except (AttributeError, ValueError):  # there is none, or it is detached
            pass

    def anew(self):
        """Makes the objects anew, in place, over what the descriptor is now."""
        if self.text is None:
            return
        raw = _io.FileIO(self.fd, self.mode, closefd=False)  # an old one keeps what it knows about seeking
        raw.name = self.name
        if self.buffered:
            self.buffer.__init__(raw)
            raw = self.buffer
        self.text.__init__(raw, *self.settings)


INPUT, OUTPUT, ERRORS = map(Stream, ('stdin', 'stdout', 'stderr'))
FUNCTION = type(main)
GENERATOR = type(_ for _ in ())
GONE = ['path', 'argv', 'ps1', 'ps2', 'last_type', 'last_value', 'last_traceback', 'path_hooks', 'path_importer_cache',
        'meta_path', '__interactivehook__']
if sys.version_info >= (3, 12):
    GONE.append('last_exc')


def identity(fd):
    try:
        st = os.fstat(fd)
    except OSError:
        return None
    return st.st_dev, st.st_ino


def shut():
    """How Python's end begins: what is destroyed from then on finds nothing to import, no arguments, no open()."""
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    sys.excepthook = sys.__excepthook__
    sys.__dict__.update(dict.fromkeys(GONE))
    for name in '__main__', 'io':  # without io, tracebacks have no source
        sys.modules.pop(name, None)
    for name in builtins.__dict__.keys() - BUILTINS.keys():
        del builtins.__dict__[name]
    builtins.__dict__.update(BUILTINS)


def quietly(do, *args):
    try:
        do(*args)
    except BaseException:
        pass


def run_exit_functions():
    """Without us in the traceback where one that is written in C fails: for Python nobody calls it."""
    hook = sys.__dict__.get('unraisablehook')

    def unraisable(failure):
        tb = failure.exc_traceback
        if tb and tb.tb_frame.f_code is RUN_EXIT_FUNCTIONS:
            failure = type(failure)((failure.exc_type, failure.exc_value, tb.tb_next, failure.err_msg, failure.object))
        hook(failure)
    if hook:
        sys.unraisablehook = unraisable
    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass
    if sys.__dict__.get('unraisablehook') is unraisable:
        sys.unraisablehook = hook


RUN_EXIT_FUNCTIONS = run_exit_functions.__code__


def flush(stream):
    if stream is not None and not getattr(stream, 'closed', False):
        stream.flush()


def flush_all():
    """Reports whether standard output and error could be flushed; if not, Python's exit status is 120."""
    ok = True
    try:
        flush(sys.stdout)
    except BaseException as err:
        ok = False
        ignored('flushing sys.stdout', sys.stdout, err.with_traceback(None))
    try:
        flush(sys.stderr)
    except BaseException:
        ok = False
    return ok


def put_in_order():
    """As Python does: a collection puts what it finds alive in the order in which it is reached, a file before its buffer
    and that before its descriptor. The next one, which finds them dead, ends them in that order, or data would be lost."""
    gc.collect(0)


def strip(err, frames=1):
    """Takes the runner's frames from a traceback."""
    tb = err.__traceback__
    for _ in range(frames):
        tb = tb and tb.tb_next
    return err.with_traceback(tb)


def ignored(what, where, err):
    sys.stderr.write('Exception ignored %s\n' % ('on %s:' % what if sys.version_info >= (3, 13) else 'in: %r' % where))
    sys.__excepthook__(type(err), err, err.__traceback__)


def report(err):
    """What Python does about an exception that the script did not catch. Returns the exit status."""
    if isinstance(err, SystemExit):
        return exit_status(err.code)
    t, tb = type(err), err.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = err
    sys.last_type, sys.last_value, sys.last_traceback = t, err, tb
    hook = getattr(sys, 'excepthook', None)
    if hook is None:
        sys.stderr.write('sys.excepthook is missing\n')
        quietly(sys.__excepthook__, t, err, tb)
        return 1
    failure = None
    try:
        hook(t, err, tb)
    except BaseException as e:
        failure = strip(e)
    if isinstance(failure, SystemExit):
        return exit_status(failure.code)
    if failure:
        quietly(flush, sys.stdout)
        sys.stderr.write('Error in sys.excepthook:\n')
        quietly(sys.__excepthook__, type(failure), failure, failure.__traceback__)
        sys.stderr.write('\nOriginal exception was:\n')
        quietly(sys.__excepthook__, t, err, tb)
    quietly(flush, sys.stderr)
    quietly(flush, sys.stdout)
    return 1


def exit_status(code):
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 255 if -1 << 63 <= code < 1 << 63 else 255
    quietly(lambda: sys.stderr.write(str(code)))
    quietly(lambda: (sys.stderr.write('\n'), sys.stderr.flush()))
    return 1


def renewals(modules):
    """What modules have computed while they were loaded, and would have computed anew."""
    logging = modules.get('logging')
    if hasattr(logging, '_startTime'):
        now = time.time_ns if isinstance(logging._startTime, int) else time.time
        yield lambda: setattr(logging, '_startTime', now())
    handlers = modules.get('wsgiref.handlers')
    if handlers:
        yield lambda: setattr(handlers.BaseHandler, 'os_environ', handlers.read_environ())
    threading = modules.get('threading')
    if hasattr(threading, '_main_thread') and hasattr(threading._main_thread, '_set_native_id'):
        yield threading._main_thread._set_native_id
    seed = getattr(modules.get('numpy.random'), 'seed', None)
    if seed:
        yield seed
