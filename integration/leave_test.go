//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A balance is what a gateway has in hand when it has nothing to do.
type balance struct{ descriptors, goroutines int }

// balanceOf asks without leaving a connection behind.
func balanceOf(t *testing.T, g *gateway) balance {
	t.Helper()
	return balance{descriptors(t, g.pid), int(g.metric(t, "go_goroutines", ""))}
}

// assertNothingLeft waits until the gateway has what it had before, and no child.
func assertNothingLeft(t *testing.T, g *gateway, before balance) {
	t.Helper()
	requireNoScripts(t, g.dir, patience)
	var now balance
	var kids []string
	ok := assert.Eventually(t, func() bool {
		now, kids = balanceOf(t, g), children(g.pid)
		return now.descriptors <= before.descriptors && now.goroutines <= before.goroutines && len(kids) == 0
	}, patience, 100*time.Millisecond)
	if !ok {
		t.Logf("left behind: %+v, before it was %+v; children %v", now, before, kids)
	}
}

// newLeaving is a gateway that can run 300 scripts at once, after it has answered
// some requests.
func newLeaving(t *testing.T) (*gateway, balance) {
	t.Helper()
	needs(t, "perl")
	dir := tempDir(t)
	newScripts(t, dir, "echo.c", "flow.c")
	g := startGateway(t, dir, strings.ReplaceAll(scriptsYAML, "@DIR@", dir)+`
max_processes: 400
defaults: {mode: spawn, workers: {max: 300}}
log: {access: {format: "off"}}
`)
	for range 3 {
		c := newClient(t, g.url())
		c.get(t, "/cgi-bin/say.sh")
		c.http.CloseIdleConnections()
	}
	time.Sleep(100 * time.Millisecond)
	return g, balanceOf(t, g)
}

func TestNothingIsLeftOfClientsThatVanish(t *testing.T) {
	g, before := newLeaving(t)
	addr := strings.TrimPrefix(g.url(), "http://")
	half := strings.Repeat("x", 100_000)
	kinds := []string{
		"GET /cgi-bin/trickle.pl HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /cgi-bin/hang.sh HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /cgi-bin/silent.sh HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /cgi-bin/flow.cgi HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + half,
	}
	const clients = 200
	conns := make([]*net.TCPConn, clients)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		conns[i] = c.(*net.TCPConn)
		_, err = io.WriteString(c, kinds[i%len(kinds)])
		require.NoError(t, err)
	}
	for i, c := range conns {
		if i%len(kinds) < 2 { // in the middle of the answer
			c.SetReadDeadline(time.Now().Add(patience))
			line, err := bufio.NewReader(c).ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, "200 OK")
		}
	}
	require.Eventually(t, func() bool { return g.metric(t, "warmcgi_processes", "") == clients }, patience, 50*time.Millisecond)
	t.Logf("%d scripts run; descriptors and goroutines: %+v, before %+v", len(scriptsIn(g.dir)), balanceOf(t, g), before)
	for i, c := range conns {
		// A client that is killed with data unread sends a reset. So does every
		// second here; the silent hang.sh could not be told from a client that has
		// only shut its sending side otherwise.
		if i%2 == 1 {
			c.SetLinger(0)
		}
		c.Close()
	}
	assertNothingLeft(t, g, before)
	assert.EqualValues(t, clients, g.metric(t, "warmcgi_kills_total", ""))
	assert.Equal(t, http.StatusOK, newClient(t, g.url()).get(t, "/cgi-bin/say.sh").status)
}

func TestASlowClientDelaysNobodyElse(t *testing.T) {
	g, before := newLeaving(t)
	for _, query := range []string{"send=100000000", "send=100000000&length"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.url(), "http://"))
		require.NoError(t, err)
		c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(c, "GET /cgi-bin/flow.cgi?%s HTTP/1.1\r\nHost: x\r\n\r\n", query)
		other := newClient(t, g.url())
		for i := range 50 {
			_, err := io.CopyN(io.Discard, c, 1000)
			require.NoError(t, err)
			if i%10 == 0 {
				began := time.Now()
				require.Equal(t, http.StatusOK, other.get(t, "/cgi-bin/say.sh").status)
				assert.Less(t, time.Since(began), 5*time.Second)
			}
			time.Sleep(10 * time.Millisecond)
		}
		require.Len(t, scriptsIn(g.dir), 1, "the script waits for its client")
		c.Close()
		other.http.CloseIdleConnections()
	}
	assertNothingLeft(t, g, before)
}

func TestNothingIsLeftOfAScriptsFiftyChildren(t *testing.T) {
	g, before := newLeaving(t)
	c := newClient(t, g.url())
	for range 3 {
		got := c.get(t, "/cgi-bin/forks.pl?quiet")
		assert.Equal(t, "begun\nforked\n", got.body)
	}
	// Children that hold standard output hold the answer; the client does not wait. As
	// they are silent, only a reset says at once that it has gone.
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url(), "http://"))
	require.NoError(t, err)
	io.WriteString(conn, "GET /cgi-bin/forks.pl?loud HTTP/1.1\r\nHost: x\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(patience))
	for line, r := "", bufio.NewReader(conn); line != "forked\n"; {
		line, err = r.ReadString('\n')
		require.NoError(t, err)
	}
	require.Greater(t, len(scriptsIn(g.dir)), 49)
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	c.http.CloseIdleConnections()
	assertNothingLeft(t, g, before)
	assert.Equal(t, 3.0, g.metric(t, "warmcgi_kills_total", `reason="left_behind"`))
}

func TestADaemonLivesUntilTheGatewayEnds(t *testing.T) {
	g, _ := newLeaving(t)
	c := newClient(t, g.url())
	assert.Equal(t, "begun\nforked\n", c.get(t, "/cgi-bin/forks.pl?daemon").body)
	time.Sleep(500 * time.Millisecond)
	require.Len(t, scriptsIn(g.dir), 1, "a daemon leaves the process group, and lives")
	g.stop(t)
	requireNoScripts(t, g.dir, patience)
}
