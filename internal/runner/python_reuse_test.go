//go:build linux

package runner

import (
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reusePython starts a warm parent in mode reuse.
func reusePython(t *testing.T, script string) *parent {
	t.Helper()
	return warmPython(t, script, setup{mode: "reuse", env: []string{"PATH=" + os.Getenv("PATH"), utf8}})
}

func TestPythonScriptAnswersTheSameWhenReused(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		for _, c := range pythonSame {
			t.Run(c.name, func(t *testing.T) {
				if c.alone || c.python != "" && !pythonHas(t, python, c.python) {
					return
				}
				script := write(t, "script.py", "#!"+python+"\n"+c.text+"\n")
				want := plain(t, script, c.r, "PATH="+os.Getenv("PATH"), utf8)
				p := reusePython(t, script)
				pids := map[int]bool{}
				for n := range 3 {
					got := p.ask(t, c.r)
					assert.Equal(t, steady(want.out), steady(got.out))
					if n == 0 || !c.once {
						assert.Equal(t, steady(want.stderr), steady(got.stderr))
					}
					if got.done {
						assert.Equal(t, want.status.ExitStatus(), got.code)
					} else {
						assert.Equal(t, want.status, got.status)
					}
					pids[got.pid] = true
				}
				assert.Equal(t, c.not, len(pids) > 1, "one worker for all, unless the script ends its process")
			})
		}
	})
}

// pythonDirt leaves all traces it can, or looks for them.
const pythonDirt = `
import os, sys, signal, json, csv, gc, atexit, locale, logging, warnings, builtins, random, decimal, socket, time
import threading, tempfile, contextvars, resource, io, codecs

def dirt():
    global leak
    import colorsys
    leak = builtins.leak = sys.leak = json.leak = 1
    var.set(1)
    os.environ["LEAK"] = os.environ["QUERY_STRING"] = "leak"
    del os.environ["PATH"]
    os.environ["TZ"] = "Asia/Tokyo"; time.tzset()
    os.putenv("LEAK_C", "leak")
    os.chdir("/"); os.umask(0o77)
    signal.signal(signal.SIGUSR1, lambda *a: None); signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(1); signal.setitimer(signal.ITIMER_PROF, 5)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); signal.set_wakeup_fd(-1)
    sys.path.insert(0, "/leak"); sys.argv.append("leak"); sys.meta_path.append(None); sys.path_hooks.append(None)
    sys.path = ["/leak"] + sys.path
    sys.excepthook = sys.displayhook = sys.unraisablehook = print
    sys.setrecursionlimit(2000); sys.setswitchinterval(1)
    sys.ps1 = sys.last_value = 1
    warnings.simplefilter("error"); warnings.showwarning = print
    locale.setlocale(locale.LC_ALL, "C")
    decimal.getcontext().prec = 3
    socket.setdefaulttimeout(3)
    gc.disable(); gc.set_threshold(1, 2, 3); gc.set_debug(gc.DEBUG_UNCOLLECTABLE)
    logging.basicConfig(level=1, stream=sys.stdout); logging.disable(10); logging.getLogger("leak").setLevel(7)
    threading.excepthook = print; tempfile.tempdir = "/leak"
    csv.field_size_limit(7)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    random.seed(1)
    global f; f = open("/dev/null")
    sys.stdout.reconfigure(encoding="latin-1", errors="replace", newline="\r\n", line_buffering=True)
    sys.stdin.reconfigure(encoding="latin-1"); sys.stderr.reconfigure(errors="replace")
    atexit.register(print, "at exit")
    sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)
    builtins.len = None
    print("dirt")
    sys.stdout = io.StringIO(); sys.stderr = sys.stdin = sys.__stdout__ = None
    del sys.modules["html"]; sys.modules["base64"] = None

def look():
    show = lambda name, *values: print(name + ":", *values)
    show("globals", sorted(globals()))
    show("builtins", sorted(vars(builtins)), len)
    show("sys", sorted(set(vars(sys)) - {"last_exc"}))
    show("context", var.get(0))
    show("environ", sorted(os.environ.items()))
    show("C environment", "PATH" in os.popen("env").read(), "LEAK=" in os.popen("env").read())
    show("putenv", "LEAK_C" in os.popen("env").read())
    show("zone", time.tzname, time.localtime(0).tm_hour)
    m = os.umask(0o22); os.umask(m)
    show("folder and mask", os.getcwd(), m)
    show("signals", [signal.getsignal(n) for n in sorted(signal.valid_signals())], signal.pthread_sigmask(signal.SIG_BLOCK, []))
    show("alarms", [signal.getitimer(n) for n in (0, 1, 2)], signal.alarm(0))
    show("dispositions", [l for l in open("/proc/self/status") if l.startswith(("SigB", "SigI", "SigC"))])
    show("paths", sys.path, sys.argv, sys.meta_path, sys.path_hooks)
    show("hooks", sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook, sys.gettrace(), sys.getprofile())
    show("limits", sys.getrecursionlimit(), sys.getswitchinterval(), socket.getdefaulttimeout())
    show("warnings", warnings.filters, warnings.showwarning)
    show("locale", locale.setlocale(locale.LC_ALL), decimal.getcontext().prec)
    show("collector", gc.isenabled(), gc.get_threshold(), gc.get_debug())
    show("logging", logging.root.handlers, logging.root.level, logging.root.manager.disable)
    show("logger", logging.getLogger("leak").level)
    show("folder of temporary files", tempfile.gettempdir())
    for f in sys.stdin, sys.stdout, sys.stderr:
        show("stream", f, f.encoding, f.errors, f.line_buffering, f.write_through, f.closed)
    show("streams", sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
    random.seed(1); seeded = random.random()
    show("limit of the process", resource.getrlimit(resource.RLIMIT_CORE))
    show("module", hasattr(json, "leak"), sys.modules.get("base64", 1))
    show("loaded", "colorsys" in sys.modules)
    show("C state of a module", csv.field_size_limit())

resource.setrlimit(resource.RLIMIT_CORE, (1, resource.getrlimit(resource.RLIMIT_CORE)[1])) if resource.getrlimit(resource.RLIMIT_CORE)[1] else None
first = random.random()
random.seed(1)
if first == random.random(): print("seed: kept")
var = contextvars.ContextVar("var")
dirt() if os.environ["QUERY_STRING"] == "dirt" else look()
`

func TestPythonDirt(t *testing.T) {
	dirt, look := request{vars: []string{"QUERY_STRING=dirt"}}, request{vars: []string{"QUERY_STRING=look"}}
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "dirt.py", "#!"+python+"\n"+pythonDirt)
		env := []string{"PATH=" + os.Getenv("PATH"), utf8}
		want := plain(t, script, look, env...)
		require.Empty(t, want.stderr)

		t.Run("of a warm worker is not seen by the next", func(t *testing.T) {
			p := warmPython(t, script, setup{env: env})
			require.Equal(t, "dirt\r\n", p.ask(t, dirt).out[:6])
			got := p.ask(t, look)
			assert.Empty(t, different(want.out, got.out))
			assert.Empty(t, got.stderr)
		})
		t.Run("of a request is seen by the next in reuse as the document says", func(t *testing.T) {
			p := reusePython(t, script)
			clean := p.ask(t, look)
			assert.Equal(t, "-", clean.left)
			a := p.ask(t, dirt)
			assert.Equal(t, "dirt\r\n", a.out)
			assert.Empty(t, a.stderr)
			got := p.ask(t, look)
			assert.Equal(t, a.pid, got.pid)
			assert.Equal(t, []string{"C state of a module", "limit of the process", "loaded", "logger", "module", "putenv"},
				different(clean.out, got.out))
		})
	})
}

// different names the lines ("name: value") that are not the same in both.
func different(a, b string) []string {
	lines := map[string]int{}
	for _, l := range strings.Split(steady(a), "\n") {
		lines[l]++
	}
	for _, l := range strings.Split(steady(b), "\n") {
		lines[l]--
	}
	names := map[string]bool{}
	for l, n := range lines {
		if n != 0 {
			name, _, _ := strings.Cut(l, ":")
			names[name] = true
		}
	}
	var all []string
	for name := range names {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}

func TestPythonReusedWorkerSaysWhatItCouldNotCleanUp(t *testing.T) {
	cases := []struct{ left, text string }{
		{"children", "import os, time\nif os.fork() == 0:\n    os.closerange(0, 100); time.sleep(60); os._exit(0)"},
		{"threads", "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"},
		{"descriptors", "import os\nos.dup(1)"},
		{"-", "import os\nos.dup(0)"},
		{"descriptors", "import os\nfd = os.open('/dev/null', os.O_RDWR); os.dup2(fd, 2); os.close(fd)"},
		{"-", "import os\nif os.fork() == 0: os._exit(0)\nos.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)"},
		{"-", "f = open('/dev/null'); f.f = f"},
	}
	eachPython(t, func(t *testing.T, python string) {
		for _, c := range cases {
			p := reusePython(t, write(t, "script.py", "#!"+python+"\n"+c.text+"\nprint('said')\n"))
			a := p.ask(t, request{})
			assert.Equal(t, "said\n", a.out)
			assert.Equal(t, c.left, a.left, c.text)
		}
	})
}

func TestPythonReusedWorkerMayKeepAFewDescriptorsButNotLeakThem(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "keeps.py", "#!"+python+"\nimport mine\nprint(mine.get())\n")
		beside(t, script, "mine.py", "f = None\ndef get():\n    global f\n    f = f or open('/dev/zero', 'rb')\n    return f.read(1)\n")
		p := reusePython(t, script)
		for range 6 {
			a := p.ask(t, request{})
			assert.Equal(t, "b'\\x00'\n", a.out)
			assert.Equal(t, "-", a.left)
		}
		p = reusePython(t, write(t, "leaks.py", "#!"+python+"\nimport os\nos.open('/dev/zero', os.O_RDONLY)\n"))
		var left []string
		for range 5 {
			left = append(left, p.ask(t, request{}).left)
		}
		assert.Equal(t, []string{"-", "-", "-", "descriptors", "descriptors"}, left)
	})
}
