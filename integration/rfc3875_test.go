//go:build linux

package integration

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checker is the folder of the RFC 3875 checker, which is no part of this repository.
func checker(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("WARMCGI_RFC3875"); dir != "" {
		require.FileExists(t, filepath.Join(dir, "check"), "WARMCGI_RFC3875 does not name the checker's folder")
		return dir
	}
	dir := filepath.Join("..", "..", "shared", "rfc3875")
	if _, err := os.Stat(filepath.Join(dir, "check")); err != nil {
		t.Skip("no RFC 3875 checker: WARMCGI_RFC3875 names its folder")
	}
	return dir
}

func TestTheRFC3875CheckerPasses(t *testing.T) {
	for mode, args := range map[string][]string{
		"spawn": nil,
		"warm":  {"--prefix", "/rfcwarm/", "--auth-prefix", "/rfcwarmauth/"}, // its probes in Perl and Python; the others are spawned
	} {
		t.Run(mode, func(t *testing.T) { check(t, mode, args) })
	}
}

func check(t *testing.T, mode string, args []string) {
	dir := checker(t)
	needs(t, "python3", "perl", "gcc")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	work := tempDir(t)
	probes := filepath.Join(work, "probes")
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "prepare"), probes, "127.0.0.1:0").CombinedOutput()
	require.NoError(t, err, "%s", out)
	yaml, err := os.ReadFile(filepath.Join(probes, "gateway.yaml"))
	require.NoError(t, err)
	g := startGateway(t, probes, string(yaml))
	u, err := url.Parse(g.url())
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "check"), append([]string{"http://" + u.Host, "--dir", probes, "-q"}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err = cmd.CombinedOutput()
	t.Logf("%s", out)
	assert.NoError(t, err)
	assert.Contains(t, string(out), " passed, 0 failed")
	if mode == "warm" {
		warm := 0
		for _, st := range g.status(t) {
			warm += st.Answers["warm"]
			t.Logf("%s: %s %s %v", st.Script, st.Mode, st.Why, st.Answers)
		}
		assert.Greater(t, warm, 100)
	}
}
