//go:build linux

package runner

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPythonScriptHasTheEnvironmentThatItsStartMakes(t *testing.T) {
	text := `
import os, sys, subprocess
for k in sorted(os.environ): print(k, repr(os.environ[k]))
print(sys.stdout.encoding, sys.getfilesystemencoding(), flush=True)
subprocess.call(["/bin/sh", "-c", "/usr/bin/env | /usr/bin/sort"])
`
	eachPython(t, func(t *testing.T, python string) {
		wrapper := write(t, "python3", "#!/bin/sh\nexport ADDED=1 PATH=/wrapped:$PATH\nunset DROPPED\nexec "+python+" \"$@\"\n")
		for name, line := range map[string]string{
			"an interpreter": python,
			"env":            "/usr/bin/env " + filepath.Base(python),
			"env -S":         "/usr/bin/env -S ADDED=1 PATH=/changed " + python + " -u",
			"a wrapper":      wrapper,
		} {
			for _, env := range []string{"LC_ALL=C.UTF-8", "LC_ALL=C", "LANG=C", "NO=locale"} {
				t.Run(name+" "+env, func(t *testing.T) {
					same(t, write(t, "script.py", "#!"+line+text), request{vars: []string{"HTTP_X=y"}},
						setup{env: []string{"PATH=" + filepath.Dir(python) + ":/usr/bin:/bin", "DROPPED=1", env}})
				})
			}
		}
	})
}

func TestPythonThatIsTooOldSaysSo(t *testing.T) {
	old := "/usr/bin/python2.7"
	home, _ := os.UserHomeDir()
	if found, _ := filepath.Glob(filepath.Join(home, ".pyenv/versions/*/bin/python[23].[67]")); len(found) > 0 {
		old = found[0]
	} else if !isBinary(old) {
		t.Skip("only newer ones are here")
	}
	p := start(t, write(t, "script.py", "#!"+old+"\nprint('x')\n"), setup{})
	p.ready(t)
	require.Len(t, p.unsafe, 1)
	assert.Regexp(t, `^needs Python 3\.8 or newer, this is (2\.7|3\.[67])\.\d+$`, p.unsafe[0])
}
