package gateway

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// combined is a configuration that logs to the file access.log of the site.
const combined = "log: {access: {to: access.log, format: combined}}\n" + scripts

// serveLogged serves with the access log where the configuration has it.
func (s *site) serveLogged(yaml string) *testGateway {
	s.t.Helper()
	g := &testGateway{t: s.t, site: s, log: new(buffer), served: make(chan error, 1)}
	var err error
	g.Server, err = New(s.config(yaml), Options{})
	require.NoError(s.t, err)
	go func() { g.served <- g.Serve() }() // ends with Shutdown
	s.t.Cleanup(g.shutdown)
	g.http = g.client(nil)
	return g
}

// lines waits for n lines of a file of the site.
func (s *site) lines(name string, n int) []string {
	s.t.Helper()
	var l []string
	eventually(s.t, func() bool {
		b, _ := os.ReadFile(s.path(name))
		l = strings.SplitAfter(string(b), "\n")
		l = l[:len(l)-1]
		return len(l) >= n
	}, name+" has its lines")
	require.Len(s.t, l, n)
	return l
}

// lines are the lines of the log, without waiting for it.
func (g *testGateway) lines(name string, n int) []string {
	g.t.Helper()
	g.state.Load().access.flush()
	return g.site.lines(name, n)
}

func TestTheCombinedLogIsThatOfApacheAndNginx(t *testing.T) {
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(t, err)
	s := newSite(t)
	s.write("htpasswd", string(b))
	s.script("cgi-bin/p", helloWorld)
	g := s.serveLogged(combined + "  - {path: /in/, cgi: {dir: cgi-bin}, auth: {basic: {htpasswd: htpasswd}}}\n")
	g.get("/cgi-bin/p?a=b", "Referer", "http://example.org/x", "User-Agent", "test/1.0 (x)")
	g.as("umläut", "secret of umläut: yes", "/in/p")
	g.head("/cgi-bin/none")
	g.raw("GET /cgi-bin/p HTTP/1.0\r\n\r\n")
	doWith(t, g.clientOf("HTTP/2.0"), g.request("DELETE", "/cgi-bin/p", nil))
	l := g.lines("access.log", 5)
	const stamp = `\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]`
	assert.Regexp(t, `^127\.0\.0\.1 - - `+stamp+` "GET /cgi-bin/p\?a=b HTTP/1\.1" 200 13 "http://example\.org/x" "test/1\.0 \(x\)"\n$`, l[0])
	assert.Regexp(t, `^127\.0\.0\.1 - uml\\xc3\\xa4ut `+stamp+` "GET /in/p HTTP/1\.1" 200 13 "-" "Go-http-client/1\.1"\n$`, l[1])
	assert.Regexp(t, `"HEAD /cgi-bin/none HTTP/1\.1" 404 - "-"`, l[2])
	assert.Regexp(t, `"GET /cgi-bin/p HTTP/1\.0" 200 13 "-" "-"\n$`, l[3])
	assert.Regexp(t, `"DELETE /cgi-bin/p HTTP/2\.0" 200 13 "-" "Go-http-client/2\.0"\n$`, l[4])
}

// No client can write a line of its own, or hide where one ends.
func TestWhatAClientSendsIsEscapedInTheLog(t *testing.T) {
	for _, format := range []string{"combined", "json"} {
		s := newSite(t)
		s.script("cgi-bin/p", helloWorld)
		g := s.serveLogged(scripts + "log: {access: {to: access.log, format: " + format + "}}\n")
		evil := []string{`"`, `\`, `" 200 1 "-" "`, "\t", "\x80\xff", "\u2028", "\x1b[2J", "\r\x00\x7f"}
		n := 0
		for _, e := range evil {
			query := strings.NewReplacer("\t", "", " ", "").Replace(e)
			text := g.dial().send("GET /cgi-bin/p?" + query + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: a" + e + "b\r\nReferer: a" + e + "b\r\n\r\n").whatever()
			if strings.Contains(text, " 200 ") {
				n++
			}
		}
		assert.GreaterOrEqual(t, n, 6)
		for _, l := range g.lines("access.log", n) {
			for _, r := range strings.TrimSuffix(l, "\n") {
				assert.False(t, r < ' ' || r == 0x7f || r == '\ufffd' && format == "combined", "%q", l)
			}
			if format == "combined" {
				assert.Len(t, regexp.MustCompile(`"(\\.|[^"\\])*"`).FindAllString(l, -1), 3, l)
				continue
			}
			var e logged
			require.NoError(t, json.Unmarshal([]byte(l), &e), l)
			assert.Equal(t, e.UserAgent, e.Referer)
		}
	}
}

func TestTheJSONLogSaysMore(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.script("cgi-bin/dies", hello+"part", "sleep 20ms", "kill SIGKILL")
	s.write("html/a.txt", "0123456789")
	g := s.serveLogged(scripts + "  - {path: /, files: {root: html}}\nlog: {access: {to: access.log, format: json}}\n")
	g.get("/cgi-bin/p/info?q", "User-Agent", "test", "Referer", "there")
	g.get("/cgi-bin/dies")
	g.get("/a.txt")
	g.get("/none")
	var list []map[string]any
	for _, l := range s.lines("access.log", 4) {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(l), &e))
		assert.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`, e["time"])
		assert.NotEmpty(t, e["id"])
		assert.Greater(t, e["seconds"], 0.0)
		for _, k := range []string{"time", "id", "seconds"} {
			delete(e, k)
		}
		list = append(list, e)
	}
	common := func(more map[string]any) map[string]any {
		m := map[string]any{"client": "127.0.0.1", "method": "GET", "proto": "HTTP/1.1", "host": g.addr(), "status": 200.0, "complete": true, "user_agent": "Go-http-client/1.1"}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	assert.Equal(t, common(map[string]any{"uri": "/cgi-bin/p/info?q", "bytes": 13.0, "route": "/cgi-bin/", "script": "/cgi-bin/p", "mode": "spawn", "user_agent": "test", "referer": "there"}), list[0])
	assert.Equal(t, common(map[string]any{"uri": "/cgi-bin/dies", "bytes": 4.0, "route": "/cgi-bin/", "script": "/cgi-bin/dies", "mode": "spawn", "complete": false,
		"error": "script /cgi-bin/dies: answer cut short: the script died of SIGKILL"}), list[1])
	assert.Equal(t, common(map[string]any{"uri": "/a.txt", "bytes": 10.0, "route": "/", "mode": "files"}), list[2])
	assert.Equal(t, 404.0, list[3]["status"])
	assert.NotEmpty(t, list[3]["error"])
}

func TestTheLogIsReopenedForRotation(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serveLogged(combined)
	g.get("/cgi-bin/p?1")
	require.NoError(t, os.Rename(s.path("access.log"), s.path("access.log.1")))
	g.get("/cgi-bin/p?2")
	require.NoError(t, g.ReopenLogs())
	g.get("/cgi-bin/p?3")
	assert.Len(t, g.lines("access.log.1", 2), 2)
	assert.Contains(t, g.lines("access.log", 1)[0], "/cgi-bin/p?3")

	// Where the new one can't be made, the old one goes on.
	require.NoError(t, os.Rename(s.path("access.log"), s.path("access.log.2")))
	require.NoError(t, os.Mkdir(s.path("access.log"), 0o755))
	assert.Error(t, g.ReopenLogs())
	g.get("/cgi-bin/p?4")
	assert.Contains(t, g.lines("access.log.2", 2)[1], "/cgi-bin/p?4")
}

func TestALogIsWrittenOutWhenTheGatewayEnds(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serveLogged(combined)
	for range 10 {
		g.get("/cgi-bin/p")
	}
	g.http.CloseIdleConnections()
	g.shutdown()
	b, err := os.ReadFile(s.path("access.log"))
	require.NoError(t, err)
	assert.Equal(t, 10, strings.Count(string(b), "\n"))
	require.NoError(t, g.ReopenLogs(), "too late, but no harm")
}

func TestNoLogIsWrittenWhereItIsOff(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serveLogged(scripts + "log: {access: {to: access.log, format: \"off\"}}\n")
	assert.Equal(t, 200, g.get("/cgi-bin/p").StatusCode)
	require.NoError(t, g.ReopenLogs())
	g.shutdown()
	assert.False(t, exists(s.path("access.log")))
}

func TestALogThatCannotBeOpenedStopsTheStart(t *testing.T) {
	s := newSite(t)
	_, err := New(s.config(scripts+"log: {access: {to: none/access.log}}\n"), Options{})
	assert.ErrorContains(t, err, "access log")
}
