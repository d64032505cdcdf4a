package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// brokenScripts makes scripts whose answers break off, with the kind of failure that
// each is.
func brokenScripts(s *site) map[string]string {
	s.script("cgi-bin/dies", hello+"part", "sleep 20ms", "kill SIGKILL")
	s.script("cgi-bin/dies-at-once", hello+"part", "kill SIGTERM")
	s.script("cgi-bin/stops", hello+"part", "hang")
	s.script("cgi-bin/short", "out Content-Type: text/plain\nContent-Length: 100\n\npart")
	s.script("cgi-bin/short-big", "out Content-Type: text/plain\nContent-Length: 1000000\n\npart", "outn 500000")
	s.script("cgi-bin/dies-big", "out Content-Type: text/plain\nContent-Length: 1000000\n\npart", "outn 500000", "kill SIGTERM")
	s.script("cgi-bin/dies-huge", hello+"part", "outn 500000", "kill SIGKILL")
	s.script("cgi-bin/reason", "out Status: 200 Fine, really\nContent-Type: text/plain\n\npart", "sleep 50ms", "kill SIGKILL")
	return map[string]string{
		"dies": "truncated", "dies-at-once": "truncated", "stops": "timeout", "short": "truncated", "short-big": "truncated", "dies-big": "truncated",
		"dies-huge": "truncated", "reason": "truncated",
	}
}

// A client must never take a part for the whole.
func TestAnAnswerThatBreaksOffDoesNotLookWhole(t *testing.T) {
	s := newSite(t)
	scripts := brokenScripts(s)
	s.certificate("localhost")
	const yaml = `
listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]
routes:
  - {path: /cgi-bin/, cgi: {dir: cgi-bin}, timeout: {idle: 400ms}}
`
	for _, trusted := range []string{"", "trusted_proxies: [127.0.0.1]\n"} {
		g := s.serve(yaml + trusted)
		ask := func(dial func() *rawClient, proto string) func(string) error {
			return func(name string) error {
				c := dial().send("GET /cgi-bin/" + name + " " + proto + "\r\nHost: x\r\n\r\n")
				defer c.Close()
				res, err := http.ReadResponse(c.br, nil)
				if err != nil {
					return err
				}
				return checkPart(t, name, res)
			}
		}
		h2 := func(url string) func(string) error {
			return func(name string) error {
				r, err := newURLRequest(url + "/cgi-bin/" + name)
				require.NoError(t, err)
				res, err := g.clientOf("HTTP/2.0").Do(r)
				if err != nil {
					return err
				}
				return checkPart(t, name, res)
			}
		}
		n := 0
		for how, get := range map[string]func(name string) error{
			"HTTP/1.1":          ask(g.dial, "HTTP/1.1"),
			"HTTP/1.0":          ask(g.dial, "HTTP/1.0"),
			"HTTP/1.1 over TLS": ask(g.dialSecond, "HTTP/1.1"),
			"HTTP/1.0 over TLS": ask(g.dialSecond, "HTTP/1.0"),
			"HTTP/2":            h2(g.url("")),
			"HTTP/2 over TLS":   h2("https://" + g.Listeners()[1].String()),
		} {
			if trusted != "" && !strings.HasPrefix(how, "HTTP/1.0") {
				continue
			}
			for name, why := range scripts {
				err := get(name)
				assert.Error(t, err, "%s, %s", how, name)
				assert.NotErrorIs(t, err, io.EOF, "%s, %s", how, name)
				n++
				g.awaitMetric(float64(n), "warmcgi_truncated_total")
				e := g.logged(n)[n-1]
				assert.False(t, e.Complete, "%s, %s", how, name)
				assert.Equal(t, 200, e.Status, "%s, %s", how, name)
				assert.NotEmpty(t, e.Error, "%s, %s", how, name)
				g.awaitLog("answer broken off", "id="+e.ID, "why="+why, "level=ERROR")
			}
		}
		g.awaitMetric(0, "warmcgi_processes")
		g.shutdown()
	}
}

// checkPart reads an answer and returns how it ended.
func checkPart(t *testing.T, name string, res *http.Response) error {
	a := readAnswer(res)
	if a.body != "" {
		assert.True(t, strings.HasPrefix(a.body, "part"[:min(4, len(a.body))]), "%s: %.20q", name, a.body)
	}
	return a.err
}

func TestWhatABrokenAnswerLooksLike(t *testing.T) {
	s := newSite(t)
	brokenScripts(s)
	g := s.serve(scripts)
	text := g.dial().send("GET /cgi-bin/dies HTTP/1.1\r\nHost: x\r\n\r\n").whatever()
	assert.True(t, strings.HasSuffix(text, "\r\n4\r\npart\r\n"), "no last chunk: %q", text)

	c := g.dial().send("GET /cgi-bin/dies HTTP/1.0\r\n\r\n")
	_, err := io.ReadAll(c.br)
	assert.ErrorIs(t, err, syscall.ECONNRESET)

	a := readAnswer(must(g.clientOf("HTTP/2.0").Do(g.request("GET", "/cgi-bin/dies", nil))))
	assert.ErrorContains(t, a.err, "stream error")
	assert.Equal(t, "part", a.body)
	// The connection of HTTP/2 lives on.
	h2 := g.clientOf("HTTP/2.0")
	for range 3 {
		res, err := h2.Do(g.request("GET", "/cgi-bin/dies", nil))
		require.NoError(t, err)
		assert.Error(t, readAnswer(res).err)
	}
}

func TestAnNPHScriptThatDiesIsNotTakenForWhole(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/nph-dies", "out HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart", "sleep 50ms", "kill SIGKILL")
	s.script("cgi-bin/nph-dies-cooked", "out HTTP/1.1 200 OK\r\n\r\npart", "sleep 50ms", "kill SIGKILL")
	s.certificate("localhost")
	g := s.serve(scripts + "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
	for how, dial := range map[string]func() *rawClient{"HTTP": g.dial, "HTTPS": g.dialSecond} {
		c := dial().send("GET /cgi-bin/nph-dies HTTP/1.1\r\nHost: x\r\n\r\n")
		b, err := io.ReadAll(c.br)
		assert.Error(t, err, "%s: %q", how, b)
	}
	res, err := g.clientOf("HTTP/2.0").Do(g.request("GET", "/cgi-bin/nph-dies-cooked", nil))
	require.NoError(t, err)
	assert.Error(t, readAnswer(res).err)
	g.awaitMetric(3, "warmcgi_truncated_total")
}

// Before the head there can still be an error page.
func TestEveryFailureBeforeTheHeadHasItsStatusLogLineAndCounter(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/silent", "exit 0")
	s.script("cgi-bin/status", "err oops\n", "exit 3")
	s.script("cgi-bin/killed", "kill SIGKILL")
	s.script("cgi-bin/crashes", "kill SIGTERM")
	s.script("cgi-bin/half", "out Content-Type: text")
	s.script("cgi-bin/hangs", "hang")
	s.script("cgi-bin/stubborn", "ignore SIGTERM", "hang")
	s.script("cgi-bin/pauses", "out Content-Type: text", "hang")
	s.script("cgi-bin/drips", hello, "drip 10000 20ms x")
	s.script("cgi-bin/drips-head", "drip 10000 20ms X: y\n")
	s.write("cgi-bin/interpreter", "#!/no/such/interpreter\n")
	s.write("cgi-bin/crlf", "#!/bin/sh\r\necho\r\n")
	s.write("cgi-bin/nothing", "no hash bang\n")
	for _, name := range []string{"interpreter", "crlf", "nothing"} {
		require.NoError(t, chmod(s.path("cgi-bin/"+name)))
	}
	g := s.serve(scripts + "    timeout: {first_byte: 300ms, idle: 200ms, total: 600ms, grace: 100ms}\n")
	for _, c := range []struct {
		name, why string
		status    int
		log       string
	}{
		{"silent", "no_output", 502, "exit status 0"},
		{"status", "no_output", 502, "exit status 3"},
		{"killed", "no_output", 502, "died of SIGKILL"},
		{"crashes", "no_output", 502, "died of SIGTERM"},
		{"half", "bad_head", 502, "the output ends within it"},
		{"hangs", "timeout", 504, "first_byte"},
		{"stubborn", "timeout", 504, "first_byte"},
		{"pauses", "timeout", 504, "idle"},
		{"drips-head", "timeout", 504, "total"},
		{"interpreter", "start", 502, "/no/such/interpreter"},
		{"crlf", "start", 502, "CRLF"},
		{"nothing", "start", 502, "no #! line?"},
		{"none", "not_found", 404, "no such file"},
	} {
		before := g.metric("warmcgi_request_errors_total", "why="+c.why)
		a := g.get("/cgi-bin/" + c.name)
		assert.Equal(t, c.status, a.StatusCode, c.name)
		assert.Equal(t, "text/html; charset=utf-8", a.Header.Get("Content-Type"), c.name)
		g.awaitMetric(before+1, "warmcgi_request_errors_total", "why="+c.why)
		g.awaitLog("why="+c.why, fmt.Sprintf("status=%d ", c.status), "url=/cgi-bin/"+c.name+" ", c.log)
		assert.NotContains(t, a.body, s.path("cgi-bin"), c.name)
		if c.status != 404 {
			g.awaitMetric(1, "warmcgi_requests_total", "script=/cgi-bin/"+c.name, fmt.Sprintf("status=%d", c.status), "mode=spawn", "route=/cgi-bin/")
		}
	}
	assert.Error(t, g.get("/cgi-bin/drips").err, "total, behind the head")
	g.awaitMetric(1, "warmcgi_truncated_total")
	g.awaitMetric(0, "warmcgi_processes")
	for reason, n := range map[string]float64{"first_byte": 2, "idle": 1, "total": 2} {
		g.awaitMetric(n, "warmcgi_kills_total", "reason="+reason)
	}
	g.awaitMetric(7, "warmcgi_process_exits_total", "how=signal")
	g.awaitMetric(1, "warmcgi_process_exits_total", "how=status")
	g.awaitMetric(2, "warmcgi_process_exits_total", "how=ok")
	g.awaitLog("oops", "script=/cgi-bin/status")
}

func TestAScriptThatLeavesAProcessBehindIsCleanedUp(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/holds", hello+"done", child("hold", "touch child", "hang"))
	s.script("cgi-bin/free", hello+"done", child("free", "ignore SIGTERM", "touch child", "hang"), "await child")
	g := s.serve(scripts + "    timeout: {idle: 300ms, grace: 100ms}\n")
	a := g.get("/cgi-bin/free")
	assert.Equal(t, "done", a.body)
	require.NoError(t, a.err)
	awaitDeath(t, s.started("cgi-bin/child"))
	g.awaitMetric(1, "warmcgi_kills_total", "reason=left_behind")
	// One that holds the output may still have something to say, up to the time-out.
	a = g.get("/cgi-bin/holds")
	assert.Equal(t, "done", a.body)
	assert.Error(t, a.err)
	g.awaitMetric(0, "warmcgi_processes")
}

func TestTheScriptOfABrokenAnswerIsEnded(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/bad", "ignore SIGTERM", "touch up", "out no head\n\n", "hang")
	g := s.serve(scripts + "    timeout: {grace: 200ms}\n")
	began := time.Now()
	assert.Equal(t, 502, g.get("/cgi-bin/bad").StatusCode)
	assert.Less(t, time.Since(began), patience/2, "nobody waits for it")
	awaitDeath(t, s.started("cgi-bin/up"))
	g.awaitMetric(1, "warmcgi_kills_total", "reason=bad_head")
}
