//go:build linux

package runner

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPythonScriptHasTheEnvironmentThatItsStartMakes(t *testing.T) {
	text := `
import os, sys, subprocess
for k in sorted(os.environ): print(k, repr(os.environ[k]))
print(sys.stdout.encoding, sys.getfilesystemencoding(), flush=True)
subprocess.call(["/bin/sh", "-c", "/usr/bin/env | /usr/bin/sort"])
`
	eachPython(t, func(t *testing.T, python string) {
		dir := t.TempDir()
		wrapper := filepath.Join(dir, "python3")
		if err := os.WriteFile(wrapper, []byte("#!/bin/sh\nexport ADDED=1 PATH=/wrapped:$PATH\nunset DROPPED\nexec "+python+" \"$@\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
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
