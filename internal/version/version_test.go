package version

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

func TestTheCommitIsWhatTheGoCommandHasStamped(t *testing.T) {
	const revision = "0123456789abcdef0123456789abcdef01234567"
	stamped := []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: "false"}}
	assert.Equal(t, "0123456789ab", fromSettings(stamped))
	stamped[1].Value = "true"
	assert.Equal(t, "0123456789ab and changes", fromSettings(stamped))
	assert.Equal(t, "unknown", fromSettings(nil))
}

func TestTheLinkerMayKnowBetter(t *testing.T) {
	for _, program := range []string{"gateway", "shim"} {
		file := filepath.Join(t.TempDir(), program)
		out, err := exec.Command("go", "build", "-buildvcs=false", "-o", file,
			"-ldflags", "-X warmcgi/internal/version.number=7.8.9 -X warmcgi/internal/version.commit=0123456789abcdef-dirty", "warmcgi/cmd/"+program).CombinedOutput()
		require.NoError(t, err, "%s", out)
		for _, args := range [][]string{{"--version"}, {"version"}} {
			text, err := exec.Command(file, args...).Output()
			require.NoError(t, err)
			assert.Equal(t, program+" 7.8.9 (commit 0123456789ab and changes, "+runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH+")\n", string(text))
		}
	}
}

func TestScriptsAreToldTheSameVersion(t *testing.T) {
	assert.True(t, strings.HasPrefix("warmcgi/"+number+".", cgi.Software+"."), "%s and %s", cgi.Software, number)
}
