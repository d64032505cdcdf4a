//go:build linux

package integration

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever may write a folder of scripts may give them any name, and a client may ask for any:
// neither may write a line of its own into the gateway's log, or move the cursor of who reads
// it, or of who asks for the status.
func TestNamesOfScriptsWriteNoLinesOfTheirOwn(t *testing.T) {
	r := upgradable(t, "  - {path: /in/, mode: warm, cgi: {dir: @DIR@/in}}\n  - {path: /auto/, cgi: {dir: @DIR@/in}}\n")
	const evil = "\x1b[2J\x1b]0;owned\a\nlevel=ERROR FORGED\r\n127.0.0.1 - FORGED \u202e\u009b2J\x9b2J"
	for name, text := range map[string]string{
		"good" + evil + ".py":   whatIHave["a.py"],
		"broken" + evil + ".pl": "#!/usr/bin/perl\nno such syntax {\n",
		"other" + evil + ".sh":  "#!/bin/sh\necho \"$0\" >&2\nprintf 'Content-Type: text/plain\\n\\n'\n",
		"dies" + evil + ".pl":   "#!/usr/bin/perl\nkill 9, $$;\n",
	} {
		writeFile(t, filepath.Join(r.dir, "in", name), text, 0o755)
	}
	c := newClient(t, r.url())
	status := map[string]int{"good": 200, "broken": 502, "other": 200, "dies": 502, "none": 404}
	for _, folder := range []string{"/in/", "/auto/"} {
		for name := range status {
			ext := map[string]string{"other": ".sh", "good": ".py"}[name]
			if ext == "" {
				ext = ".pl"
			}
			path := folder + url.PathEscape(name+evil+ext)
			a := c.get(t, path+"?"+url.QueryEscape(evil))
			assert.Equal(t, status[name], a.status, path)
			cmd := exec.Command(r.binary, "explain", "--config", r.file, path)
			cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
			out, _ := cmd.CombinedOutput()
			assertNothingForged(t, string(out), "explain")
		}
	}
	require.Eventually(t, func() bool {
		out, err := r.command("status")
		return err == nil && strings.Contains(out, "broken") && strings.Contains(out, "ready")
	}, patience, 10*time.Millisecond)
	for _, args := range [][]string{{"status"}, {"logs"}} {
		out, err := r.command(args...)
		require.NoError(t, err, out)
		assertNothingForged(t, out, args[0])
	}
	out, _ := r.command("restart", "/in/none")
	assertNothingForged(t, out, "restart")
	metrics := newClient(t, r.admin).get(t, "/metrics")
	assert.Equal(t, 200, metrics.status, "a name that is not UTF-8 is no reason to tell nothing")
	assert.NotContains(t, metrics.body, "\nlevel=ERROR FORGED")
	assertNothingForged(t, r.out.String(), "the log")
}

func assertNothingForged(t *testing.T, text, whose string) {
	t.Helper()
	for line := range strings.Lines(text) {
		assert.False(t, strings.HasPrefix(line, "level=ERROR FORGED") || strings.HasPrefix(line, "127.0.0.1 - FORGED"), "%s: %q", whose, line)
	}
	for _, c := range []string{"\x1b", "\a", "\r", "\u202e", "\u009b", "\x9b2J"} {
		if i := strings.Index(text, c); i >= 0 && !(c == "\x9b2J" && strings.Contains(text, "\u009b2J")) {
			assert.Fail(t, "not escaped", "%s: %q in %q", whose, c, text[max(0, i-100):min(len(text), i+20)])
		}
	}
}
