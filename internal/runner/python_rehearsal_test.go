//go:build linux

package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPythonModuleThatTakesWhatDiffersBetweenRequestsIsLoadedForEach(t *testing.T) {
	cases := map[string]string{
		"the clock":                "import time\nx = time.time()",
		"the date":                 "import datetime\nx = datetime.datetime.now()",
		"a number of the process":  "import os\nx = os.getpid()",
		"a random number":          "import random\nx = random.random()",
		"a choice":                 "from random import choice\nx = [choice(range(1 << 60)) for i in range(2)]",
		"a generator":              "import random\nx = random.Random().random()",
		"a token":                  "import secrets\nx = secrets.token_hex()",
		"a UUID":                   "import uuid\nx = uuid.uuid4()",
		"a UUID of the clock":      "import uuid\nx = uuid.uuid1()",
		"a folder":                 "import tempfile\nx = tempfile.mkdtemp(dir='.')",
		"in a function":            "import time\ndef now(): return time.time_ns()\nx = now()",
		"by a module that it uses": "import hers\nx = hers.x",
		"a program's output":       "import subprocess\nx = subprocess.check_output(['sh', '-c', 'echo $$'])",
	}
	eachPython(t, func(t *testing.T, python string) {
		for name, text := range cases {
			t.Run(name, func(t *testing.T) {
				script := write(t, "script.py", "#!"+python+"\nimport mine, json\nprint(mine.x)\n")
				beside(t, script, "mine.py", text+"\n")
				beside(t, script, "hers.py", "import time\nx = time.perf_counter()\n")
				p := warmPython(t, script, setup{})
				a := p.ask(t, request{})
				assert.NotEqual(t, a.out, p.ask(t, request{}).out)
				assert.Contains(t, strings.Join(a.late, " "), "mine="+filepath.Join(filepath.Dir(script), "mine.py"))
				assert.NotContains(t, strings.Join(a.late, " "), "json=", "the others are loaded ahead all the same")

				p = warmPython(t, script, setup{late: a.late}) // as the pool would
				assert.NotEqual(t, p.ask(t, request{}).out, p.ask(t, request{}).out)
			})
		}
		for name, text := range map[string][2]string{
			"its seed":   {"import random\nrandom.seed(7)", "import mine, random\nprint(random.random())"},
			"its alarm":  {"import signal\nsignal.alarm(60)", "import mine, signal\nprint(signal.alarm(0) > 0)"},
			"its folder": {"import os\nos.chdir('/')", "import os\nprint(os.getcwd())\nimport mine\nprint(os.getcwd())"},
		} {
			t.Run(name, func(t *testing.T) {
				script := write(t, "script.py", "#!"+python+"\n"+text[1]+"\n")
				beside(t, script, "mine.py", text[0]+"\n")
				same(t, script, request{}, setup{env: []string{utf8}})
			})
		}
		t.Run("what it writes", func(t *testing.T) {
			script := write(t, "script.py", "#!"+python+"\nimport mine\nprint('x')\n")
			beside(t, script, "mine.py", "import os\nwith open('written', 'a') as f: f.write('x')\nos.makedirs('kept', exist_ok=True)\n")
			p := warmPython(t, script, setup{})
			before := size(t, script, "written")
			p.ask(t, request{})
			p.ask(t, request{})
			assert.Equal(t, before+2, size(t, script, "written"))
		})
		t.Run("but what it imports besides is loaded ahead", func(t *testing.T) {
			script := write(t, "script.py", "#!"+python+"\nimport mine\nprint(mine.x, mine.shape.x)\n")
			beside(t, script, "mine.py", "import time\nimport shape, decimal\nx = time.time()\n")
			beside(t, script, "shape.py", "import os\nx = os.readlink('/proc/self')\n")
			p := warmPython(t, script, setup{})
			a, b := p.ask(t, request{}), p.ask(t, request{})
			assert.NotEqual(t, a.out, b.out)
			assert.Equal(t, strings.Fields(a.out)[1], strings.Fields(b.out)[1])
			assert.Len(t, a.late, 1, "%v", a.late)
		})
	})
}

func size(t *testing.T, script, name string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(script), name))
	require.NoError(t, err)
	return len(b)
}

func TestPythonSaysWhichFilesItsModulesHaveRead(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "script.py", "#!"+python+"\nimport mine\nprint(mine.x)\n")
		beside(t, script, "mine.py", "import json\nx = json.load(open('settings.json'))\ntry: open('local.json')\nexcept OSError: pass\n")
		beside(t, script, "settings.json", "[1]")
		p := warmPython(t, script, setup{})
		assert.Subset(t, p.files, []string{filepath.Join(filepath.Dir(script), "settings.json"), filepath.Join(filepath.Dir(script), "local.json")},
			"one that is not there, too: it may come")
		assert.Equal(t, "[1]\n", p.ask(t, request{}).out)
		for _, f := range p.files {
			assert.NotContains(t, f, ".pyc")
		}
	})
}
