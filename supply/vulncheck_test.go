package supply

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// database makes one of the form that vuln.go.dev has, where all versions of a function of the standard library are vulnerable.
func database(t *testing.T, pkg, function string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"index/db.json":      `{"modified":"2026-01-01T00:00:00Z"}`,
		"index/modules.json": `[{"path":"stdlib","vulns":[{"id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z"}]}]`,
		"ID/GO-2026-0001.json": fmt.Sprintf(`{"schema_version":"1.3.1","id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z",
			"published":"2026-01-01T00:00:00Z","summary":"made up","details":"made up","affected":[{"package":{"name":"stdlib","ecosystem":"Go"},
			"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"imports":[{"path":%q,"symbols":[%q]}]}}],
			"references":[],"database_specific":{"url":"https://pkg.go.dev/vuln/GO-2026-0001"}}`, pkg, function),
	} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	return "file://" + dir
}

// vulncheck runs the script on a small package of ours, which calls runtime/debug.ReadBuildInfo.
func vulncheck(t *testing.T, db string) (status int, output string) {
	t.Helper()
	cmd := exec.Command("../scripts/vulncheck", "./internal/version")
	cmd.Env = append(os.Environ(), "VULNDB="+db)
	out, err := cmd.CombinedOutput()
	if err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, string(out))
		return exit.ExitCode(), string(out)
	}
	return 0, string(out)
}

func TestVulncheckFailsForAVulnerabilityThatOurCodeReachesAndForNoOther(t *testing.T) {
	status, out := vulncheck(t, database(t, "runtime/debug", "ReadBuildInfo"))
	assert.Equal(t, 3, status, out)
	assert.Contains(t, out, "GO-2026-0001")
	assert.Contains(t, out, "version.commitText calls debug.ReadBuildInfo")
	status, out = vulncheck(t, database(t, "runtime/debug", "SetGCPercent"))
	assert.Equal(t, 0, status, out)
	assert.Contains(t, out, "affected by 0 vulnerabilities")
}

func TestVulncheckSaysThatNothingWasCheckedWhereTheDataCannotBeHad(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + l.Addr().String()
	require.NoError(t, l.Close())
	for _, db := range []string{nobody, "file://" + t.TempDir(), "file:///nowhere"} {
		status, out := vulncheck(t, db)
		assert.NotZero(t, status)
		assert.NotEqual(t, 3, status)
		assert.Contains(t, out, "NOTHING WAS CHECKED")
		assert.Contains(t, out, db)
	}
}
