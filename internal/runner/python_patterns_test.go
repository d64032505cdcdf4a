//go:build linux

package runner

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPythonPatternsThatWorkersCompileAreCompiledAhead(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "script.py", "#!"+python+`
import re
known = len(re._cache)
print(re.compile(r"(a+=%\d)\s*é", re.I).pattern, re.search(b"x\xff", b"ax\xff").span(), re.match("\udcff\0", "\udcff\0").end())
print("compiled:", len(re._cache) - known)
`)
		env := []string{"PATH=" + os.Getenv("PATH"), utf8}
		want := plain(t, script, request{}, env...)
		p := warmPython(t, script, setup{env: env})
		a := p.ask(t, request{})
		assert.Equal(t, want.out, a.out)
		assert.Len(t, a.late, 3)

		p = warmPython(t, script, setup{env: env, late: a.late})
		b := p.ask(t, request{})
		assert.Equal(t, strings.Replace(want.out, "compiled: 3", "compiled: 0", 1), b.out)
		assert.Empty(t, b.late)
	})
}

func TestPythonPatternThatWarnsWarnsEachRequest(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		script := write(t, "script.py", "#!"+python+"\nimport re\nprint(re.sub('[[a]', 'b', 'a'))\n")
		env := []string{"PATH=" + os.Getenv("PATH"), utf8}
		late := warmPython(t, script, setup{env: env}).ask(t, request{}).late
		assert.Contains(t, strings.Join(late, " "), "re:str:")
		got := same(t, script, request{}, setup{env: env, late: late})
		assert.Contains(t, got.stderr, "FutureWarning")
	})
}
