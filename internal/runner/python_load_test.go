//go:build linux

package runner

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// beside writes a module into the folder of a script.
func beside(t *testing.T, script, name, text string) string {
	t.Helper()
	file := filepath.Join(filepath.Dir(script), name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

func TestPythonModuleThatReadsTheRequestWhileLoadedIsUnsafe(t *testing.T) {
	cases := []struct{ name, text, reason string }{
		{"reads by subscript", "import os\ntry: q = os.environ['QUERY_STRING']\nexcept KeyError: pass", "mine reads QUERY_STRING while it is loaded"},
		{"reads by getenv", "import os\nq = os.getenv('HTTP_COOKIE')", "mine reads HTTP_COOKIE while it is loaded"},
		{"reads bytes", "import os\nq = os.environb.get(b'PATH_INFO')", "mine reads PATH_INFO while it is loaded"},
		{"asks whether it is there", "import os\nq = 'REMOTE_USER' in os.environ", "mine reads REMOTE_USER while it is loaded"},
		{"copies", "import os\ne = os.environ.copy()", "mine copies the environment while it is loaded"},
		{"makes a dictionary", "import os\ne = dict(os.environ)", "mine copies the environment while it is loaded"},
		{"reads something else", "import os\nq = os.environ.get('HOME'), os.environ.get('PATH')", ""},
	}
	eachPython(t, func(t *testing.T, python string) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				script := write(t, "script.py", "#!"+python+"\nimport mine\nprint('x')\n")
				beside(t, script, "mine.py", c.text+"\n")
				p := start(t, script, setup{})
				p.ready(t)
				if c.reason == "" {
					assert.Empty(t, p.unsafe)
				} else {
					assert.Equal(t, []string{c.reason}, p.unsafe)
				}
			})
		}
		t.Run("but not where the script may not import it", func(t *testing.T) {
			script := write(t, "script.py", "#!"+python+"\nimport os\nif os.environ['QUERY_STRING']: import mine; print(mine.q)\n")
			beside(t, script, "mine.py", "import os\nq = os.environ['QUERY_STRING']\n")
			same(t, script, request{vars: []string{"QUERY_STRING=q1"}}, setup{})
		})
	})
}

func TestPythonSaysWhichFilesItLoaded(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "script.py", "#!"+python+"\nimport mine, json\nfrom pack import part\nprint(mine.x, part.y)\n")
		files := []string{script, beside(t, script, "mine.py", "x = 1\n")}
		require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(script), "pack"), 0o755))
		files = append(files, beside(t, script, "pack/__init__.py", ""), beside(t, script, "pack/part.py", "y = 2\n"))
		p := warmPython(t, script, setup{})
		assert.Subset(t, p.files, files)
		assert.Contains(t, strings.Join(p.files, "\n"), "/json/__init__.py")
		assert.Equal(t, "1 2\n", p.ask(t, request{}).out)
	})
}

func TestPythonLateModules(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "script.py", "#!"+python+"\ndef f():\n    import sys\n    seen = 'mine' in sys.modules\n    import mine\n    return mine.x, seen\nprint(f())\n")
		file := beside(t, script, "mine.py", "import os\nx = os.readlink('/proc/self')\n")
		p := warmPython(t, script, setup{})
		a := p.ask(t, request{})
		assert.Equal(t, []string{"mine=" + file}, a.late)

		t.Run("are loaded before the fork, but not seen before their import", func(t *testing.T) {
			p := warmPython(t, script, setup{late: []string{"mine=" + file, "gone=/no/such/file.py"}})
			a, b := p.ask(t, request{}), p.ask(t, request{})
			assert.Empty(t, a.late)
			assert.Equal(t, a.out, b.out, "both have what the parent loaded")
			assert.Contains(t, a.out, "False")
			assert.Contains(t, p.files, file)
		})
		for name, text := range map[string]string{
			"prints":             "print('x')",
			"copies environment": "import os; e = dict(os.environ)",
			"starts a thread":    "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
			"keeps a descriptor": "import os; fd = os.dup(0)",
			"fails":              "1 / 0",
			"reads input":        "import os; os.read(0, 1)",
			"changes the path":   "import sys; sys.path.append('/x')",
		} {
			t.Run("are not loaded before the fork if one "+name, func(t *testing.T) {
				script := write(t, "script.py", "#!"+python+"\nprint('x')\n")
				file := beside(t, script, "mine.py", text+"\n")
				p := warmPython(t, script, setup{late: []string{"mine=" + file}})
				assert.NotContains(t, p.files, file)
				assert.Empty(t, p.written())
			})
		}
	})
}

func TestPythonPreload(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "script.py", "#!"+python+"\nimport sys\nprint('colorsys' in sys.modules)\n")
		p := warmPython(t, script, setup{preload: []string{"colorsys"}})
		assert.Equal(t, "True\n", p.ask(t, request{}).out)

		p = start(t, script, setup{preload: []string{"no_such_module"}})
		p.outcome(t)
		assert.Equal(t, "preload no_such_module: ModuleNotFoundError: No module named 'no_such_module'", p.failed)
	})
}

func TestPythonScriptThatCannotBeCompiledFails(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		p := start(t, write(t, "script.py", "#!"+python+"\nprint(\n"), setup{})
		p.outcome(t)
		assert.False(t, p.isReady)
		assert.Regexp(t, "^SyntaxError: .*script.py, line", p.failed)
	})
}

func TestPythonImportThatFailsIsLeftToTheScript(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "script.py", "#!"+python+"\nprint('a')\nimport mine\nprint('b')\n")
		beside(t, script, "mine.py", "import colorsys\nraise ValueError('no')\n")
		same(t, script, request{}, setup{env: []string{utf8, "PATH=" + os.Getenv("PATH")}})
	})
}

func TestPythonModuleMayChangeTheStandardStreams(t *testing.T) {
	look := "\nimport sys\nprint(sys.stdout.encoding, sys.stdin.encoding, sys.stderr.errors, sys.stdout.line_buffering)\nprint(ascii(sys.stdin.read()), '\u00e9')\n"
	cases := map[string]string{
		"by reconfigure": "import sys\nsys.stdout.reconfigure(encoding='latin-1', line_buffering=True)\nsys.stdin.reconfigure(encoding='latin-1')\nsys.stderr.reconfigure(errors='replace')\n",
		"by others":      "import sys, io\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='latin-1')\nsys.stdin = io.TextIOWrapper(sys.stdin.buffer, encoding='latin-1')\n",
		"by detach":      "import sys, io\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='latin-1')\nsys.stdin = io.TextIOWrapper(sys.stdin.detach(), encoding='latin-1')\n",
	}
	eachPython(t, func(t *testing.T, python string) {
		for name, text := range cases {
			t.Run(name, func(t *testing.T) {
				script := write(t, "script.py", "#!"+python+"\nimport mine"+look)
				beside(t, script, "mine.py", text)
				r := request{body: "\xe9\xff"}
				same(t, script, r, setup{env: []string{utf8}})
				p := reusePython(t, script)
				assert.Equal(t, p.ask(t, r).out, p.ask(t, r).out)
			})
		}
	})
}

func TestPythonArchiveOfModulesIsSpawned(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "app.py", "")
		require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(script), "app"), 0o755))
		beside(t, script, "app/__main__.py", "print('x')\n")
		out, err := exec.Command(python, "-m", "zipapp", "-p", python, "-o", script, filepath.Join(filepath.Dir(script), "app")).CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Equal(t, "x\n", plain(t, script, request{}).out)
		p := start(t, script, setup{})
		p.outcome(t)
		assert.Equal(t, []string{"is an archive of modules"}, p.unsafe)
	})
}

func TestPythonRandomNumbersDiffer(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "script.py", "#!"+python+`
import random, uuid, tempfile, secrets, os
print(random.random(), random.gauss(0, 1)); print(uuid.uuid4()); print(uuid.uuid1())
print(secrets.token_hex()); print(tempfile.mktemp()); print(os.urandom(8).hex()); print(random.SystemRandom().random())
try:
    import numpy
    print(numpy.random.rand(), numpy.random.default_rng().random())
except ImportError: pass
`)
		numbers := 8
		if pythonHas(t, python, "numpy") {
			numbers += 2
		}
		for _, mode := range []string{"warm", "reuse"} {
			p := warmPython(t, script, setup{mode: mode})
			seen := map[string]bool{}
			for range 3 {
				for _, line := range strings.Fields(p.ask(t, request{}).out) {
					assert.False(t, seen[line], "%s: %s", mode, line)
					seen[line] = true
				}
			}
			assert.Len(t, seen, 3*numbers)
		}
	})
}

func TestPythonSwitchesOfTheFirstLine(t *testing.T) {
	text := `
import sys, os
print(sys.flags, sys.path[:2], sys.argv)
print(sys.stdout.write_through, sys.stdin, sys.stdout.buffer, sys.dont_write_bytecode, sys.warnoptions, sys._xoptions)
print("unflushed", end=""); os.write(1, b"raw")
sys.stderr.write("error")
assert False, "seen unless -O"
`
	eachPython(t, func(t *testing.T, python string) {
		for _, s := range []string{"-u", "-E", "-s", "-I", "-B", "-OO", "-Werror", "-bb", "-Xdev", "-Xutf8", "-IuB", "-S", "-q", "-x"} {
			t.Run(s, func(t *testing.T) {
				same(t, write(t, "script.py", "#!"+python+" "+s+text), request{}, setup{env: []string{utf8}})
			})
		}
		for _, env := range []string{"LC_ALL=C", "LC_ALL=POSIX", "PYTHONIOENCODING=latin-1:replace", "PYTHONUTF8=1", "PYTHONUNBUFFERED=1", "PYTHONWARNINGS=error"} {
			t.Run(env, func(t *testing.T) {
				same(t, write(t, "script.py", "#!"+python+"\nimport sys\nprint(sys.stdout.encoding, sys.stdin.errors, sys.stderr.errors, sys.stdout.write_through, sys.warnoptions)\nprint('é')\n"),
					request{}, setup{env: []string{env}})
			})
		}
	})
	for s, ok := range map[string]bool{"c": false, "m": false, "i": false, "h": false, "V": false, "u": true, "x": true} {
		assert.Equal(t, ok, pythonSwitch(s[0], ""), s)
	}
	assert.True(t, pythonSwitch('X', "utf8=1"))
	assert.False(t, pythonSwitch('X', "importtime"))
}

func TestPythonWarmParentKillsItsWorkersAtItsEnd(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		for name, end := range map[string]func(*parent){
			"end of file": func(p *parent) { p.ctl.Close() },
			"TERM":        func(p *parent) { p.cmd.Process.Signal(syscall.SIGTERM) },
		} {
			t.Run(name, func(t *testing.T) {
				p := warmPython(t, write(t, "script.py", "#!"+python+"\nprint('x')\n"), setup{})
				w := p.worker(t)
				end(p)
				assert.Eventually(t, func() bool { return syscall.Kill(w.pid, 0) == syscall.ESRCH || zombie(w.pid) }, patience, 10*time.Millisecond)
				assert.Eventually(t, func() bool { return zombie(p.cmd.Process.Pid) }, patience, 10*time.Millisecond)
			})
		}
	})
}

func TestPythonWarmParentEndsWhenItCannotReportAnExit(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		p := warmPython(t, write(t, "script.py", "#!"+python+"\nprint('x')\n"), setup{})
		gone, idle := p.worker(t), p.worker(t)
		// The parent finds both at once: an exit to report, and nobody who listens.
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
		require.NoError(t, syscall.Kill(gone.pid, syscall.SIGKILL))
		require.Eventually(t, func() bool { return zombie(gone.pid) }, patience, 10*time.Millisecond)
		p.ctl.Close()
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
		assert.Eventually(t, func() bool { return zombie(p.cmd.Process.Pid) }, patience, 10*time.Millisecond)
		assert.Eventually(t, func() bool { return syscall.Kill(idle.pid, 0) == syscall.ESRCH || zombie(idle.pid) }, patience, 10*time.Millisecond)
	})
}

// zombie reports whether a process has ended and nobody has waited for it.
func zombie(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}
