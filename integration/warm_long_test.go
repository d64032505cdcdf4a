//go:build linux

package integration

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An announced answer of this length is moved within the kernel where it comes through a
// pipe. A worker's doesn't.
func TestALongAnnouncedAnswerOfAWorkerArrivesWhole(t *testing.T) {
	needs(t, "perl")
	const length = 3_000_000
	for _, mode := range []string{"spawn", "warm", "reuse"} {
		t.Run(mode, func(t *testing.T) {
			dir := tempDir(t)
			writeFile(t, filepath.Join(dir, "cgi", "long.pl"),
				"#!/usr/bin/perl\nuse strict;\nprint \"Content-Type: text/plain\\nContent-Length: 3000000\\n\\n\", 'x' x 3000000;\n", 0o755)
			g := startGateway(t, dir, "listen: [{http: 127.0.0.1:0}]\nroutes:\n  - {path: /, cgi: {dir: cgi}, mode: "+mode+"}\n")
			c := newClient(t, g.url())
			for deadline, byWorker := time.Now().Add(patience), 0; byWorker < 3; {
				require.True(t, time.Now().Before(deadline), "no worker answers")
				got := c.get(t, "/long.pl")
				require.Equal(t, 200, got.status)
				require.True(t, got.body == strings.Repeat("x", length), "%d octets", len(got.body))
				if mode == "spawn" || g.metric(t, "warmcgi_requests_total", `mode="`+mode+`"`) > 0 {
					byWorker++
				}
			}
			assert.Zero(t, g.metric(t, "warmcgi_truncated_total", ""))
		})
	}
}
