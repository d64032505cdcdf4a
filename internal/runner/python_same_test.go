//go:build linux

package runner

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var pythonName = regexp.MustCompile(`^python3\.(\d+)$`)

// pythons are the interpreters that the tests run with: the system's, and of those that are found elsewhere the oldest
// and the newest between 3.8 and 3.13. PYTHONS names more, separated by colons.
func pythons(t *testing.T) []string {
	t.Helper()
	find := func(dirs []string) (all []string) {
		for _, dir := range dirs {
			files, _ := filepath.Glob(filepath.Join(dir, "python3.*"))
			for _, f := range files {
				if m := pythonName.FindStringSubmatch(filepath.Base(f)); m != nil && isBinary(f) && !slices.ContainsFunc(all, sameName(f)) {
					all = append(all, f)
				}
			}
		}
		return all
	}
	all := find([]string{"/usr/bin", "/usr/local/bin"})
	home, _ := os.UserHomeDir()
	versions, _ := filepath.Glob(filepath.Join(home, ".pyenv/versions/*/bin"))
	others := slices.DeleteFunc(find(append(filepath.SplitList(os.Getenv("PATH")), versions...)), func(f string) bool {
		return minor(f) < 8 || minor(f) > 13 || slices.ContainsFunc(all, sameName(f))
	})
	slices.SortFunc(others, func(a, b string) int { return minor(a) - minor(b) })
	if len(others) > 2 {
		others = []string{others[0], others[len(others)-1]}
	}
	all = append(all, others...)
	all = append(all, strings.FieldsFunc(os.Getenv("PYTHONS"), func(r rune) bool { return r == ':' })...)
	require.NotEmpty(t, all, "no python3.X")
	return all
}

func minor(python string) int { return atoi(pythonName.FindStringSubmatch(filepath.Base(python))[1]) }

func sameName(python string) func(string) bool {
	return func(other string) bool { return filepath.Base(other) == filepath.Base(python) }
}

// isBinary: what is found on the path can be a script that looks for another version.
func isBinary(file string) bool {
	b := make([]byte, 4)
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.Read(b)
	return err == nil && string(b) == "\x7fELF"
}

// eachPython runs a test with each interpreter.
func eachPython(t *testing.T, f func(t *testing.T, python string)) {
	t.Helper()
	for _, p := range pythons(t) {
		t.Run(filepath.Base(p), func(t *testing.T) {
			t.Parallel()
			f(t, p)
		})
	}
}

// same has a script answer a request as plain CGI and in mode warm, and compares all that can be seen.
func same(t *testing.T, script string, r request, s setup) answer {
	t.Helper()
	want := plain(t, script, r, s.env...)
	p := warmPython(t, script, s)
	var got answer
	for range 2 { // the first must not spoil the second
		got = p.ask(t, r)
		assert.Equal(t, steady(want.out), steady(got.out))
		assert.Equal(t, steady(want.stderr), steady(got.stderr))
		assert.Equal(t, want.status, got.status)
		if got.done {
			assert.Equal(t, want.status.ExitStatus(), got.code)
		}
	}
	return got
}

var varies = regexp.MustCompile(`0x[0-9a-f]+|\d\d:\d\d:\d\d`)

// steady is a text without addresses of objects and times of the day.
func steady(text string) string { return varies.ReplaceAllString(text, "…") }

// warmPython starts a warm parent that can be forked.
func warmPython(t *testing.T, script string, s setup) *parent {
	t.Helper()
	p := start(t, script, s)
	t.Cleanup(func() { p.cmd.Process.Signal(syscall.SIGTERM) })
	p.ready(t)
	assert.Empty(t, p.unsafe)
	return p
}

const utf8 = "LC_ALL=C.UTF-8"

// pythonSame are scripts that must not be able to tell plain CGI from mode warm.
var pythonSame = []struct {
	name, text string
	r          request
	not        bool   // it does not come to say done
	python     string // a module that it needs
	alone      bool   // the answer depends on what a reused worker keeps
	once       bool   // it warns when it first imports a module
}{
	{name: "prints its variables", text: `
import os
print("Content-Type: text/plain\n")
for k in sorted(os.environ): print(k, repr(os.environ[k]))
print(sorted(os.environb.items()) == sorted((os.fsencode(k), os.fsencode(v)) for k, v in os.environ.items()))`,
		r: request{vars: []string{"HTTP_X=\xff\xfe", "QUERY_STRING=a=1", "EMPTY="}}},
	{name: "has its programs get its variables", text: `
import os, subprocess
print(subprocess.run(["env"], stdout=subprocess.PIPE).stdout)
print(os.popen("echo $QUERY_STRING").read())`, r: request{vars: []string{"QUERY_STRING=b=\xe9"}}},
	{name: "is __main__", text: `
import sys, os
print(__name__, __file__, __doc__, __spec__, __package__, __builtins__, sorted(globals()))
print(type(__loader__).__name__, getattr(__loader__, "name", 0), getattr(__loader__, "path", 0))
import __main__
print(__main__.__dict__ is globals(), sys.modules["__main__"] is __main__, repr(__main__))
print(sys.argv, sys.path, sys.flags, getattr(sys, "orig_argv", 0), sys.executable, os.getcwd())
m = os.umask(0); print(m)
print(sys.exc_info(), sys.getrecursionlimit(), sys.meta_path, sys.warnoptions, sys.getswitchinterval())
if __name__ == "__main__": print("main")`, r: request{args: []string{"one", "t\xe9o"}}},
	{name: "has a docstring and futures", text: `"""What it does"""
from __future__ import annotations, division
x: int = 1
def f(a: undefined) -> 1: pass
print(__doc__, __annotations__, f.__annotations__, division)`},
	{name: "has its first frame first", alone: true, text: `
import sys, traceback, inspect, warnings
traceback.print_stack()
print(len(inspect.stack()), sys._getframe().f_back, sys._getframe().f_code.co_name)
warnings.warn("outside", UserWarning, stacklevel=3)
warnings.warn("inside")`},
	{name: "warns while it is compiled", text: `
print("\d", "" is "")`},
	{name: "warns before it imports what warns", alone: true, python: "imp", text: `
import warnings
warnings.warn("first")
import imp`},
	{name: "changes the builtins", text: `
import builtins
print("changed")
for name in list(vars(builtins)):
    if name not in ("name", "print", "__import__", "__build_class__"): setattr(builtins, name, None)`},
	{name: "writes to standard error", text: `
import sys, os, logging
logging.warning("one")
sys.stderr.write("two\n"); os.write(2, b"three\n"); print("four", file=sys.stderr, end="")`},
	{name: "exits with 3", text: `
import sys
print("before"); sys.exit(3)`},
	{name: "exits with text", text: `
import sys
print("before")
try: sys.exit("why é")
finally: print("after")`},
	{name: "exits with a big number", text: `
raise SystemExit((1 << 40) + 3)`},
	{name: "exits with a negative number", text: `
raise SystemExit(-1)`},
	{name: "exits with an object", text: `
raise SystemExit([1, 2])`},
	{name: "exits by None", text: `
exit()`},
	{name: "leaves by _exit", not: true, text: `
import os, sys
print("lost"); os.write(1, b"kept\n"); sys.stderr.write("e\n"); os._exit(4)`},
	{name: "fails before its output", text: `
def f(): return 1 / 0
f()`},
	{name: "fails after its output", text: `
print("Content-Type: text/plain\n\nbegun")
class E(Exception): pass
try: {}["x"]
except KeyError as e: raise E("why") from e`},
	{name: "has cgitb", once: true, python: "cgitb", text: `
import cgitb; cgitb.enable(format="text", context=1)
x = [1]
x[5]`},
	{name: "has an excepthook that fails", text: `
import sys
def hook(*a): raise ValueError("hook")
sys.excepthook = hook
1 / 0`},
	{name: "has an excepthook that exits", text: `
import sys
def hook(t, v, tb): print("hook", t, v, tb.tb_lineno, tb.tb_next); sys.exit(9)
sys.excepthook = hook
1 / 0`},
	{name: "has no excepthook", text: `
import sys
del sys.excepthook
1 / 0`},
	{name: "is interrupted", not: true, text: `
import os, signal
print("before")
raise KeyboardInterrupt`},
	{name: "gets SIGINT", not: true, text: `
import os, signal
os.kill(os.getpid(), signal.SIGINT)
while True: pass`},
	{name: "kills itself", not: true, text: `
import os, signal
print("lost", flush=False); os.kill(os.getpid(), signal.SIGTERM)`},
	{name: "aborts", not: true, text: `
import os, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.abort()`},
	{name: "has an alarm", not: true, text: `
import signal, time
signal.alarm(1)
time.sleep(30)`},
	{name: "has the usual signal dispositions", text: `
import signal
for n in sorted(signal.valid_signals()): print(n, signal.getsignal(n))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1), signal.getitimer(signal.ITIMER_REAL))
print([l for l in open("/proc/self/status") if l.startswith(("SigB", "SigI", "SigC"))])`},
	{name: "registers what is done at exit", text: `
import atexit, sys, os, subprocess
atexit.register(print, "last")
atexit.register(lambda: subprocess.call(["echo", "program"]))
@atexit.register
def f(): raise ValueError("in f")
atexit.register(lambda: sys.stderr.write("first\n"))
print("begun")`},
	{name: "destroys its objects", text: `
import weakref, sys
class A:
    def __init__(self, n): self.n = n
    def __del__(self): print("gone", self.n, sys is not None)
a = A(1)
_b = A(2)
c = A(3); c.c = c
weakref.finalize(a, print, "finalized")
held = A(4)
def f():
    global g
    g = A(5)
f()
def gen():
    try: yield 1
    finally: print("closed")
it = gen(); next(it)
print("end")`},
	{name: "destroys what a module keeps", alone: true, text: `
import json
class A:
    def __del__(self): print("gone")
json.kept = A()
print("end")`},
	{name: "exits while it ends", text: `
import atexit, sys
atexit.register(print, "last")
atexit.register(sys.exit, 5)
print("begun"); sys.exit(3)`},
	{name: "leaves by _exit while it ends", not: true, text: `
import atexit, os
atexit.register(os._exit, 5)
print("lost"); os.write(1, b"kept\n")`},
	{name: "leaves by _exit in a thread", not: true, text: `
import os, threading, time
threading.Thread(target=lambda: (os.write(1, b"thread\n"), os._exit(5))).start()
time.sleep(60)`},
	{name: "exits deep in its functions", text: `
import sys
def f(n):
    try: f(n - 1) if n else sys.exit("deep")
    finally: print(n)
f(20)`},
	{name: "fails in many ways", alone: true, text: `
import sys, traceback
class E(BaseException): pass
for e in E("é"), KeyError("x"), GeneratorExit(), SyntaxError("why", ("f", 3, 4, "text")):
    try: raise e
    except BaseException: traceback.print_exc()
import json.no_such`},
	{name: "is destroyed when Python is almost gone", text: `
import sys, builtins
class A:
    def __init__(self, name): self.name = name
    def __del__(self, sys=sys, builtins=builtins, sorted=sorted, vars=vars):
        print(self.name, [k for k in sorted(vars(sys)) if vars(sys)[k] is None], sorted(n for n in names if n not in vars(builtins)))
        if self.name == "imports": import colorsys
        if self.name == "opens": open("/dev/null")
        if self.name == "fails": raise ValueError("why")
names = sorted(vars(builtins))
a, b, c, d = map(A, ("looks", "imports", "opens", "fails"))`},
	{name: "leaves generators open", alone: true, text: `
import json
def count():
    try: yield 1
    finally: print("closed")
mine, json.theirs = count(), count()
next(mine), next(json.theirs)`},
	{name: "leaves files open", text: `
import atexit, os, tempfile
name = os.path.join(tempfile.mkdtemp(), "f")
f = open(name, "w"); f.write("text")
import json
json.f = open(name + "2", "w"); json.f.write("two")
import gzip
z = gzip.open(name + "3", "w"); z.write(b"three")
if os.fork() == 0:
    exit(5)
os.wait()
g = os.popen("sleep 0.1; cat %s" % name)
print(open(name).read() in ("text", ""))`},
	{name: "leaves a file open in a cycle", text: `
import os
class Board:
    def __init__(self):
        self.file = open(os.dup(1), "w")
    def __del__(self):
        self.file.write("its end\n")
board = Board()
board.file.write("line\n")`},
	{name: "removes its temporary files", text: `
import tempfile, os
d = tempfile.TemporaryDirectory()
f = tempfile.NamedTemporaryFile()
open("names", "w").write(d.name + "\n" + f.name)
import atexit
@atexit.register
def last(): print(os.path.exists(f.name))`},
	{name: "waits for its threads", text: `
import threading, time
def f(n):
    time.sleep(0.05 if n < 2 else 0.5); print("thread", n)
for n in range(3):
    t = threading.Thread(target=f, args=(n,)); t.start(); 
    if n < 2: t.join()
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
print(threading.current_thread().name, threading.main_thread() is threading.current_thread())`},
	{name: "has the thread of the process", text: `
import threading, os
print(threading.main_thread().native_id == os.getpid(), threading.enumerate()[0].name)
print(open("/proc/self/comm").read())`},
	{name: "has an executor", text: `
from concurrent.futures import ThreadPoolExecutor
e = ThreadPoolExecutor(2)
print(list(e.map(abs, [-1, -2])))
e.submit(print, "late")`},
	{name: "has a thread that fails", text: `
import threading, sys
def f(): sys.exit(3)
t = threading.Thread(target=f); t.start(); t.join()
threading.excepthook = lambda a: print("thread", a.exc_type)
t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()`},
	{name: "becomes another program", not: true, text: `
import os, sys
print("flushed", flush=True)
os.execvp("sh", ["sh", "-c", "echo $QUERY_STRING; cat; ls /proc/self/fd | wc -l; exit 7"])`, r: request{vars: []string{"QUERY_STRING=q"}, body: "body"}},
	{name: "forks", text: `
import os, sys, atexit
atexit.register(lambda: print("exit", me))
print("both")
sys.stdout.flush()
me = "child"
if os.fork():
    os.wait(); me = "parent"
print(me)`},
	{name: "forks with output in its buffer", text: `
import os
print("twice")
if os.fork(): os.wait()`},
	{name: "has a child that goes on", text: `
import os, time
if os.fork() == 0:
    time.sleep(0.1); os.write(1, b"child\n"); os._exit(0)
print("parent", flush=True)`},
	{name: "has processes", text: `
import multiprocessing
def f(x): return x * x
if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    q = fork.Queue()
    p = fork.Process(target=lambda: q.put(f(7))); p.start(); print(q.get()); p.join()
    with fork.Pool(2) as pool: print(pool.map(f, [1, 2, 3]))`},
	{name: "becomes itself again", not: true, text: `
import os, sys
if "again" in os.environ: print(sys.argv, sys.stdin.read()); sys.exit(4)
os.environ["again"] = "1"
os.execv(sys.executable, [sys.executable] + sys.argv)`, r: request{body: "body"}},
	{name: "has a pool of processes", text: `
import math
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool: print(list(pool.map(math.sqrt, [1, 4, 9])))`},
	{name: "spawns processes", text: `
import multiprocessing
def f(x): print("spawned", x, __name__, flush=True)
if __name__ == "__main__":
    p = multiprocessing.get_context("spawn").Process(target=f, args=(7,)); p.start(); p.join(); print(p.exitcode)`},
	{name: "pickles its classes", text: `
import pickle, dataclasses, typing
@dataclasses.dataclass
class P:
    x: int
    y: "typing.List[P]"
print(pickle.loads(pickle.dumps(P(1, []))), pickle.dumps(P(1, []), 0), typing.get_type_hints(P))`},
	{name: "starts programs", text: `
import subprocess, os, sys
print("first", flush=True)
subprocess.call(["echo", "second"])
print("fourth"); os.system("echo third")
subprocess.call(["sh", "-c", "ls /proc/self/fd | wc -l"])
subprocess.call(["sh", "-c", "ls /proc/self/fd | wc -l"], close_fds=False)
subprocess.call(["sh", "-c", "echo error >&2"])`},
	{name: "has a program read the body", text: `
import subprocess, sys
print(subprocess.run(["wc", "-c"], stdout=subprocess.PIPE).stdout)
print(sys.stdin.read())`, r: request{body: strings.Repeat("0123456789", 30000)}},
	{name: "reads its body", text: `
import sys
b = sys.stdin.buffer.read()
print(len(b), b[:20], b[-20:], sys.stdin.buffer.read(), sys.stdin.read())`, r: request{body: "\xff\x00" + strings.Repeat("0123456789\r\n", 25000)}},
	{name: "reads its body in pieces", text: `
import sys, os
print(os.read(0, 1), sys.stdin.buffer.read(4), sys.stdin.buffer.readline(), sys.stdin.buffer.raw.seekable())
n = 0
while True:
    b = sys.stdin.buffer.read(1000)
    if not b: break
    n += len(b)
print(n, os.read(0, 1))`, r: request{body: strings.Repeat("0123456789\n", 30000)}},
	{name: "reads its body raw", text: `
import sys
n = 0
while True:
    b = sys.stdin.buffer.raw.read(70000)
    if not b: break
    n += len(b)
print(n, sys.stdin.buffer.raw.read(1), sys.stdin.read())`, r: request{body: strings.Repeat("0123456789", 30000)}},
	{name: "reads its body by another file", text: `
import os, select
print(select.select([0], [], [], 20)[0])
with open(0, "rb", closefd=False) as f: print(len(f.read(10)), len(f.read()), f.read())
print(os.read(0, 1))`, r: request{body: strings.Repeat("0123456789", 30000)}},
	{name: "reads itself", text: `# -*- coding: latin-1 -*-
import inspect, sys, linecache, ast
def f():
    return "é"
print(ascii(f()), open(__file__, "rb").read().count(b"\n"), ascii(linecache.getline(__file__, 6)))
print(ascii(inspect.getsource(f)), inspect.getsourcefile(f), inspect.getmodule(f).__name__, f.__code__.co_firstlineno)
print(len(inspect.getsource(sys.modules["__main__"])), __loader__.get_filename(), f.__globals__ is globals())`},
	{name: "reads its body as lines of text", text: `
import sys
print(sum(1 for l in sys.stdin), repr(input.__name__))
try: input()
except EOFError: print("end")`, r: request{body: strings.Repeat("a line é\r\n", 3000)}},
	{name: "does not read its body", text: `
print("Content-Type: text/plain\n\n" + "x" * 100000)`, r: request{body: strings.Repeat("z", 300000)}},
	{name: "has no body", text: `
import sys, os
print(repr(sys.stdin.read()), os.read(0, 10), sys.stdin, sys.stdin.isatty(), sys.stdin.seekable())`},
	{name: "writes much", text: `
import sys
for i in range(400): sys.stdout.write("%09d\n" % i * 1000)
sys.stdout.buffer.write(b"\xff" * 300000)`},
	{name: "mixes layers", text: `
import sys, os, io
print("a"); sys.stdout.flush(); sys.stdout.buffer.write(b"b\n"); sys.stdout.buffer.flush(); os.write(1, b"c\n")
out = os.fdopen(os.dup(1), "wb"); out.write(b"dup\n"); out.close()
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="latin-1", newline="\r\n")
print("é")
sys.stdout.reconfigure(line_buffering=True); print("line")
print(sys.__stdout__.encoding)`},
	{name: "has its standard streams", text: `
import sys
for f in sys.stdin, sys.stdout, sys.stderr:
    print(f, f.name, f.mode, f.encoding, f.errors, f.line_buffering, f.write_through, f.isatty(), f.newlines, f.buffer, f.fileno(), f.closed)
print(sys.stdout.seekable(), sys.stderr.seekable(), sys.stdin is sys.__stdin__)`},
	{name: "closes standard output", text: `
import sys, os
print("seen"); sys.stdout.close()
os.write(2, b"still\n")`},
	{name: "closes descriptors 0, 1 and 2", alone: true, text: `
import os
print("seen", flush=True)
for n in 0, 1, 2: os.close(n)`},
	{name: "can't flush", text: `
import os
print("lost")
os.close(1)`},
	{name: "closes all descriptors", not: true, text: `
import os
print("seen", flush=True)
os.closerange(0, 100)
fd = [os.open("/dev/null", os.O_RDWR) for i in range(5)]
os._exit(6)`},
	{name: "puts a file in the place of descriptor 3", not: true, text: `
import os, tempfile
f = tempfile.TemporaryFile()
os.closerange(3, 3 + f.fileno() - 3)
os.dup2(f.fileno(), 3)
if os.fork() == 0:
    import time; time.sleep(0.1); print(os.pread(3, 100, 0), flush=True); os._exit(0)`},
	{name: "goes on as a daemon", text: `
import os, time
print("answered", flush=True)
if os.fork() == 0:
    os.setsid(); os.close(0); os.close(1); os.close(2)
    time.sleep(0.2)
    os._exit(0)`},
	{name: "prints what is not ASCII", text: `
print("Grüße ✓ \udcff".encode("utf-8", "surrogateescape"))
print("Grüße ✓")`},
	{name: "uses sqlite", text: `
import sqlite3
c = sqlite3.connect(":memory:")
c.execute("create table t (x)"); c.execute("insert into t values (1)")
print(c.execute("select * from t").fetchall())`},
	{name: "takes a form", once: true, python: "cgi", text: `
import cgi
f = cgi.FieldStorage()
print("Content-Type: text/plain\n")
print(sorted((k, f.getlist(k)) for k in f))`, r: request{body: "a=1&b=%C3%A9&a=2", vars: []string{"QUERY_STRING=c=3"}}},
	{name: "takes an upload", once: true, python: "cgi", text: `
import cgi
f = cgi.FieldStorage()
print("Content-Type: text/plain\n")
print(f["f"].filename, len(f["f"].file.read()), f["t"].value)`, r: request{
		body: "--X\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\ntext\r\n--X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\r\n" +
			strings.Repeat("\xff\x00", 50000) + "\r\n--X--\r\n", vars: []string{"CONTENT_TYPE=multipart/form-data; boundary=X"}}},
	{name: "changes the path", text: `
import sys, os
os.makedirs("lib", exist_ok=True)
open("lib/colorsys.py", "w").write("who = 'mine'")
sys.path.insert(0, os.path.abspath("lib"))
import colorsys, json
print(getattr(colorsys, "who", "theirs"), json.dumps([1]), colorsys.__spec__.origin == colorsys.__file__)`},
	{name: "imports what there is", text: `
try: import no_such_module as json
except ImportError: import json
try:
    from json import no_such_name
except ImportError as e: print(e.name)
if json: import csv
def f():
    import html
    return html.escape("<")
print(json.dumps(1), csv.__name__, f())`},
	{name: "runs a WSGI application", text: `
from wsgiref.handlers import CGIHandler
def app(env, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [env["QUERY_STRING"].encode(), env["wsgi.input"].read(3)]
CGIHandler().run(app)`, r: request{vars: []string{"QUERY_STRING=w"}, body: "abc"}},
	{name: "collects garbage", text: `
import gc
print(gc.isenabled(), gc.get_threshold(), gc.get_debug())
class A:
    def __del__(self): print("gone")
a = A(); a.a = a; del a
gc.collect(); print("end")`},
	{name: "sets locale and time zone", text: `
import locale, time, os
print(locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(), time.tzname)
os.environ["TZ"] = "Asia/Tokyo"; time.tzset(); print(time.tzname, os.popen("echo $TZ").read())`},
	{name: "has a coroutine", text: `
import asyncio
async def f():
    p = await asyncio.create_subprocess_exec("echo", "x", stdout=asyncio.subprocess.PIPE)
    return (await p.communicate())[0]
print(asyncio.run(f()))`},
	{name: "is empty", text: ``},
}

func TestPythonScriptCannotTellWarmFromPlain(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		for _, c := range pythonSame {
			t.Run(c.name, func(t *testing.T) {
				if c.python != "" && !pythonHas(t, python, c.python) {
					return
				}
				script := write(t, "script.py", "#!"+python+"\n"+c.text+"\n")
				a := same(t, script, c.r, setup{env: []string{"PATH=" + os.Getenv("PATH"), utf8}})
				assert.Equal(t, !c.not, a.done)
			})
		}
	})
}

// pythonHas: some modules are not in newer versions any more.
func pythonHas(t *testing.T, python, module string) bool {
	t.Helper()
	a := plain(t, write(t, "has.py", "#!"+python+"\nimport importlib.util, sys\nprint(importlib.util.find_spec('"+module+"') is not None)\n"), request{})
	return strings.TrimSpace(a.out) == "True"
}
