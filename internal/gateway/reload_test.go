package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/config"
)

// reload gives the gateway another configuration.
func (g *testGateway) reload(yaml string) (*Reloaded, error) {
	g.t.Helper()
	return g.Reload(context.Background(), func() (*config.Config, error) {
		c := g.site.config(yaml)
		if c.Log.Access.Format == config.AccessCombined {
			c.Log.Access.Format = config.AccessJSON
		}
		return c, nil
	})
}

func (g *testGateway) mustReload(yaml string) *Reloaded {
	g.t.Helper()
	r, err := g.reload(yaml)
	require.NoError(g.t, err)
	return r
}

const moreScripts = scripts + "  - {path: /more/, cgi: {dir: more}}\n"

func TestAReloadSwitchesAtOnceAndRequestsEndAsTheyBegan(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.script("more/slow", "touch up", "await go", helloWorld)
	g := s.serve(moreScripts)
	c := g.dial().send("GET /more/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("more/up")
	r := g.mustReload(scripts)
	assert.Equal(t, []string{"/more/"}, r.Gone)
	assert.Equal(t, 1, r.Routes)
	assert.Equal(t, 404, g.get("/more/slow").StatusCode)
	assert.Equal(t, 200, g.get("/cgi-bin/p").StatusCode)
	require.Len(t, g.Status().Configuration.Leaving, 1)
	assert.InDelta(t, 1, g.metric("warmcgi_configurations_leaving"), 0)
	s.touch("more/go")
	assert.Equal(t, "hello, world\n", c.answer("GET").body)
	eventually(t, func() bool { return len(g.Status().Configuration.Leaving) == 0 }, "the old configuration is let go")
	c.send("GET /more/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	assert.Equal(t, 404, c.answer("GET").StatusCode, "the connection is the same, the routes are not")

	r = g.mustReload(moreScripts)
	assert.Equal(t, []string{"/more/"}, r.New)
	assert.Equal(t, 200, g.get("/more/slow").StatusCode)
	assert.InDelta(t, 2, g.metric("warmcgi_reloads_total", "outcome=taken"), 0)
	assert.InDelta(t, 2, g.metric("warmcgi_requests_total", "script=/more/slow"), 0, "counts go on")
}

func TestAReloadThatIsRefusedChangesNothing(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	g := s.serve(scripts)
	for why, c := range map[string]struct {
		yaml, says string
	}{
		"its admin door is another":    {scripts + "admin: 127.0.0.1:1\n", `gateway.yaml:5:8: admin: can't be changed by a reload`},
		"its log has another form":     {scripts + "log: {format: json}\n", "log.format: can't be changed"},
		"its log has a level for good": {scripts + "log: {level: debug}\n", "log.level: can't be changed"},
		"a port is taken":              {scripts + "listen: [{http: 127.0.0.1:0}, {http: 'unix:s'}, {http: '" + taken.Addr().String() + "'}]\n", "address already in use"},
		"there is no certificate":      {scripts + "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: none.pem, key: none.key}}]\n", "none.pem"},
		"there is no password file":    {scripts + "    auth: {basic: {htpasswd: none}}\n", "htpasswd"},
		"a program does not last":      {scripts + "  - {path: /f, fastcgi: {program: /bin/false}}\n", "program /bin/false is not ready"},
		"its log can't be written":     {scripts + "log: {access: {to: none/access.log}}\n", "access log"},
	} {
		if why == "its log can't be written" {
			g.o.AccessLog = nil
		}
		_, err := g.reload(c.yaml)
		require.ErrorContains(t, err, c.says, why)
		st := g.Status().Configuration
		assert.Contains(t, st.Error, c.says, why)
		assert.NotContains(t, st.Error, "|", "the lines of the file are for people")
		assert.Zero(t, st.Reloads)
		g.awaitLog("level=ERROR", "the configuration was not taken")
		assert.Equal(t, 200, g.get("/cgi-bin/p").StatusCode, why)
		assert.False(t, exists(s.path("s")), "the doors that were opened are closed")
		assert.Len(t, g.Listeners(), 1)
		assert.InDelta(t, 0, g.metric("warmcgi_reload_successful"), 0)
	}
	_, err = g.Reload(context.Background(), func() (*config.Config, error) { return nil, errors.New("no file") })
	require.ErrorContains(t, err, "no file")
	assert.InDelta(t, 9, g.metric("warmcgi_reloads_total", "outcome=refused"), 0)
	g.mustReload(scripts)
	assert.Empty(t, g.Status().Configuration.Error)
	assert.InDelta(t, 1, g.metric("warmcgi_reload_successful"), 0)
}

func TestDoorsComeAndGoByAReload(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts + "listen: [{http: 127.0.0.1:0}, {http: 'unix:old'}]\n")
	first, old := g.Listeners()[0], g.Listeners()[1]
	kept, idle := g.dial(), g.dialAddr(old)
	const ask = "GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n"
	assert.Equal(t, 200, idle.send(ask).answer("GET").StatusCode)
	r := g.mustReload(scripts + "listen: [{http: 127.0.0.1:0}, {http: 'unix:new', socket_mode: '0600'}]\n")
	assert.Equal(t, []string{"http unix:" + s.path("new")}, r.Opened)
	assert.Equal(t, []string{"http unix:" + s.path("old")}, r.Closed)
	assert.Equal(t, first, g.Listeners()[0], "a door that stays keeps its socket")
	assert.Equal(t, 200, kept.send(ask).answer("GET").StatusCode)
	assert.Equal(t, 200, g.dialAddr(g.Listeners()[1]).send(ask).answer("GET").StatusCode)
	eventually(t, func() bool { return !exists(s.path("old")) }, "the old door's socket has gone")
	eventually(t, func() bool { return !g.isOpen(old) }, "nobody comes in at the old door")
	// Whoever has a connection may ask once more, and is told that it ends.
	a := idle.send(ask).answer("GET")
	assert.Equal(t, 200, a.StatusCode)
	assert.True(t, a.Close, "Connection: close")
	idle.ended()

	g.mustReload(scripts + "listen: [{http: 127.0.0.1:0}, {http: 'unix:new', socket_mode: '0666'}]\n")
	info, err := os.Stat(s.path("new"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o666), info.Mode().Perm())
}

// isOpen reports whether a door accepts and has not let it at that.
func (g *testGateway) isOpen(a net.Addr) bool {
	c, err := net.Dial(a.Network(), a.String())
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestAnIdleConnectionOfADoorThatIsGoneIsClosed(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts + "listen: [{http: 127.0.0.1:0}, {http: 'unix:old'}]\n")
	idle := g.dialAddr(g.Listeners()[1])
	assert.Equal(t, 200, idle.send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n").answer("GET").StatusCode)
	g.mustReload(scripts)
	idle.ended()
}

func TestADoorChangesItsKindAndItsCertificateAtTheSameAddress(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.certificate("first")
	g := s.serve(scripts)
	addr := g.addr()
	at := "listen: [{http: '" + addr + "'}]\n"
	g.mustReload(scripts + at) // the port is known by its number from here on
	subject := func() string {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		require.NoError(t, err)
		defer c.Close()
		assert.Equal(t, "h2", c.ConnectionState().NegotiatedProtocol)
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	secret := scripts + "listen: [{https: '" + addr + "', tls: {cert: cert.pem, key: key.pem}}]\n"
	g.mustReload(secret)
	assert.Equal(t, "first", subject())
	s.certificate("second")
	g.mustReload(secret)
	assert.Equal(t, "second", subject(), "files are read again")
	g.mustReload(scripts + at)
	eventually(t, func() bool {
		res, err := g.http.Get("http://" + addr + "/cgi-bin/p")
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	}, "the door speaks plain HTTP again")
}

func TestAUnixSocketStaysWhenItsDoorChangesItsKind(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts + "listen: [{http: 'unix:s'}]\n")
	g.mustReload(scripts + "listen: [{fastcgi: 'unix:s'}]\n")
	assert.Equal(t, "fastcgi unix:"+s.path("s"), g.Addrs()[0])
	g.mustReload(scripts + "listen: [{http: 'unix:s'}]\n")
	assert.Equal(t, 200, g.dial().send("GET /cgi-bin/p HTTP/1.0\r\n\r\n").answer("GET").StatusCode)
	g.shutdown()
	assert.False(t, exists(s.path("s")), "it is gone with the gateway")
}

func TestAReloadKeepsTheFastCGIServersThatAreTheSame(t *testing.T) {
	s := newSite(t)
	b := s.backend(func(q *asked) bool { q.body(); q.answer("x"); return true })
	g := s.serve(toBackend)
	assert.Equal(t, 200, g.get("/x").StatusCode)
	before := g.Server.served()
	g.mustReload(strings.Replace(toBackend, "routes: [", "routes: [{path: /more/, files: {root: .}}, ", 1))
	assert.Equal(t, before, g.Server.served())
	assert.Equal(t, 200, g.get("/x").StatusCode)
	assert.EqualValues(t, 1, b.conns.Load(), "on the same connection")
	g.mustReload("routes: [{path: /more/, files: {root: .}}]\n")
	eventually(t, func() bool { return len(g.Server.served()) == 0 }, "those that nobody wants any more are closed")
	assert.Empty(t, g.Status().Applications)
}

func TestAnApplicationThatIsGoneEndsWithItsLastRequest(t *testing.T) {
	s := newSite(t)
	release := make(chan struct{})
	s.backend(func(q *asked) bool {
		q.body()
		q.stdout(plain + "part ")
		<-release
		q.stdout("and rest")
		q.end(0)
		return true
	})
	g := s.serve(toBackend)
	c := g.dial().send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	g.awaitMetric(1, "warmcgi_fastcgi_server_requests")
	g.mustReload("routes: [{path: /more/, files: {root: .}}]\n")
	assert.Len(t, g.Server.served(), 1, "it still has a request")
	close(release)
	assert.Equal(t, "part and rest", c.answer("GET").body)
	eventually(t, func() bool { return len(g.Server.served()) == 0 }, "it is closed")
}

func TestAReloadTakesSettingsThatArePartOfNoRoute(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/env", "out Content-Type: text/plain\n\n", "env")
	g := s.serve(scripts)
	forwarded := []string{"X-Forwarded-For", "203.0.113.9"}
	assert.Equal(t, "127.0.0.1", g.get("/cgi-bin/env", forwarded...).variables(t)["REMOTE_ADDR"])
	g.mustReload(scripts + "trusted_proxies: [127.0.0.1]\nserver_admin: me@example.org\nenv: {SITE: x}\nheaders: {set: {X-Site: x}}\nmax_processes: 3\n")
	a := g.get("/cgi-bin/env", forwarded...)
	vars := a.variables(t)
	assert.Equal(t, []string{"203.0.113.9", "me@example.org", "x"}, []string{vars["REMOTE_ADDR"], vars["SERVER_ADMIN"], vars["SITE"]})
	assert.Equal(t, "x", a.Header.Get("X-Site"))
	assert.Equal(t, 3.0, g.metric("warmcgi_places"))
}

func TestAReloadChangesTheAccessLog(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.script("cgi-bin/slow", "touch up", "await go", helloWorld)
	to := func(file string) string { return scripts + "log: {access: {to: " + file + "}}\n" }
	c := s.config(to("old.log"))
	g := &testGateway{t: t, site: s, log: new(buffer), served: make(chan error, 1)}
	var err error
	g.Server, err = New(c, Options{})
	require.NoError(t, err)
	go func() { g.served <- g.Serve() }() // ends with Shutdown
	t.Cleanup(g.shutdown)
	g.http = g.client(nil)
	slow := g.dial().send("GET /cgi-bin/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	_, err = g.Reload(context.Background(), func() (*config.Config, error) { return s.config(to("new.log")), nil })
	require.NoError(t, err)
	g.get("/cgi-bin/p")
	s.touch("cgi-bin/go")
	slow.answer("GET")
	require.NoError(t, os.Rename(s.path("new.log"), s.path("rotated.log")))
	require.NoError(t, g.ReopenLogs())
	g.get("/cgi-bin/p")
	eventually(t, func() bool { return len(g.Status().Configuration.Leaving) == 0 }, "the old configuration is let go")
	g.shutdown()
	for file, line := range map[string]string{"old.log": "/cgi-bin/slow", "rotated.log": "/cgi-bin/p", "new.log": "/cgi-bin/p"} {
		b, err := os.ReadFile(s.path(file))
		require.NoError(t, err)
		assert.Equal(t, 1, strings.Count(string(b), "\n"), file)
		assert.Contains(t, string(b), line, file)
	}
}

func TestAServerThatEndsTakesNoOtherConfiguration(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/hang", "touch up", "hang")
	g := s.serve(scripts)
	g.dial().send("GET /cgi-bin/hang HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	// One that is under way gives up, and Shutdown does not wait for it.
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() { // ends with the server
		_, err := g.Reload(context.Background(), func() (*config.Config, error) {
			close(begun)
			<-g.stopping
			return s.config(moreScripts), nil
		})
		ended <- err
	}()
	<-begun
	down := g.shutdownWithin(0)
	assert.ErrorIs(t, <-ended, ErrStopping)
	_, err := g.reload(moreScripts)
	assert.ErrorIs(t, err, ErrStopping)
	assert.NoError(t, <-down)
	assert.NoError(t, <-g.served)
}

func TestAReloadWaitsForTheOneBeforeIt(t *testing.T) {
	s := newSite(t)
	g := s.serve(scripts)
	begun, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() { // ends with the reload
		_, err := g.Reload(context.Background(), func() (*config.Config, error) {
			close(begun)
			<-release
			return s.config(moreScripts), nil
		})
		first <- err
	}()
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := g.Reload(ctx, func() (*config.Config, error) { return s.config(scripts), nil })
	assert.ErrorContains(t, err, "another reload is under way")
	close(release)
	require.NoError(t, <-first)
	assert.Len(t, g.state.Load().routes, 2)
}

func TestASocketOfSystemdsCanLeaveAndComeBack(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	passed, err := net.Listen("unix", s.path("passed"))
	require.NoError(t, err)
	c := s.config(scripts + "listen: [{http: 127.0.0.1:0}, {http: 'systemd:web'}]\n")
	g := &testGateway{t: t, site: s, log: new(buffer), served: make(chan error, 1)}
	g.Server, err = New(c, Options{Sockets: Sockets{"systemd:web": {passed}}})
	require.NoError(t, err)
	go func() { g.served <- g.Serve() }() // ends with Shutdown
	t.Cleanup(g.shutdown)
	const ask = "GET /cgi-bin/p HTTP/1.0\r\n\r\n"
	assert.Equal(t, 200, g.dialAddr(passed.Addr()).send(ask).answer("GET").StatusCode)
	g.mustReload(scripts)
	eventually(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.closing) == 0
	}, "the door is closed")
	waits := g.dialAddr(passed.Addr()).send(ask) // as with systemd, while nobody serves
	g.mustReload(scripts + "listen: [{http: 127.0.0.1:0}, {http: 'systemd:web'}]\n")
	assert.Equal(t, 200, waits.answer("GET").StatusCode)
}
