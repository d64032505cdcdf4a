//go:build linux

package integration

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const quietScript = `#!/bin/sh
sleep 2
printf 'Content-Type: text/plain\n\nanswered after all\n'
`

// startQuiet serves a script that is quiet for a while before it answers, by TCP and by
// a Unix socket.
func startQuiet(t *testing.T) (g *gateway, doors map[string]string) {
	dir := tempDir(t)
	writeFile(t, filepath.Join(dir, "bin", "quiet.sh"), quietScript, 0o755)
	g = startGateway(t, dir, `
listen: [{http: "127.0.0.1:0"}, {http: "unix:http.sock"}]
routes: [{path: /bin/, cgi: {dir: bin}}]
log: {access: {format: "off"}}`)
	return g, map[string]string{"tcp": strings.TrimPrefix(g.doors[0], "http://"), "unix": filepath.Join(dir, "http.sock")}
}

// askQuiet sends the request over a new connection.
func askQuiet(t *testing.T, network, addr string) net.Conn {
	c, err := net.Dial(network, addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(c, "GET /bin/quiet.sh HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	return c
}

func TestAClientThatOnlyShutsItsSendingSideGetsItsAnswer(t *testing.T) {
	_, doors := startQuiet(t)
	for network, addr := range doors {
		t.Run(network, func(t *testing.T) {
			c := askQuiet(t, network, addr)
			require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
			// A client by TCP may be asked by an interim response whether it is there;
			// ReadResponse passes over none, so it is read first.
			r := bufio.NewReader(c)
			res, err := http.ReadResponse(r, nil)
			require.NoError(t, err)
			if res.StatusCode == http.StatusProcessing {
				assert.Equal(t, "tcp", network)
				res, err = http.ReadResponse(r, nil)
				require.NoError(t, err)
			}
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.Equal(t, "answered after all\n", string(body))
		})
	}
}

func TestAQuietScriptEndsWithItsClient(t *testing.T) {
	g, doors := startQuiet(t)
	for network, addr := range doors {
		t.Run(network, func(t *testing.T) {
			c := askQuiet(t, network, addr)
			require.Eventually(t, func() bool { return len(scriptsIn(g.dir)) > 0 }, patience, 5*time.Millisecond)
			require.NoError(t, c.Close())
			// Sooner than by itself: it would be quiet for two seconds.
			requireNoScripts(t, g.dir, 1500*time.Millisecond)
		})
	}
}
