package gateway

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unknown hides how long a body is.
func unknown(b []byte) io.Reader { return io.MultiReader(strings.NewReader(string(b))) }

func TestABodyReachesTheScriptWhole(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/sum", hello, "stdin", "sum")
	g := s.serve(scripts + "    body: {memory: 4KiB}\n  - {path: /spool/, cgi: {dir: cgi-bin}, body: {buffer: spool, memory: 4KiB}}\n")
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		c := g.clientOf(proto)
		for _, n := range []int{0, 1, 4096, 4097, 65536, 65537, 3_000_000} {
			for _, path := range []string{"/cgi-bin/sum", "/spool/sum"} {
				for _, chunked := range []bool{false, true} {
					body := io.Reader(strings.NewReader(string(pattern(n))))
					if chunked {
						body = unknown(pattern(n))
					}
					a := doWith(t, c, g.request("PUT", path, body))
					want := fmt.Sprintf("%s, chunked %v, %d octets to %s", proto, chunked, n, path)
					require.NotEmpty(t, a.body, want)
					kind, got := a.body[:1], a.body[1:]
					assert.Equal(t, sum(pattern(n)), got, want)
					switch {
					case n == 0:
						assert.Contains(t, "Dp", kind, want) // /dev/null, or an empty pipe
					case n > 65536 && (chunked || path == "/spool/sum"), n > 4096 && chunked:
						assert.Equal(t, "-", kind, "%s: a file", want)
					default:
						assert.Equal(t, "p", kind, "%s: a pipe", want)
					}
				}
			}
		}
	}
}

func TestTheLengthOfABodyIsTrue(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/env", hello, "env")
	g := s.serve(scripts + "    body: {memory: 4KiB}\n")
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		c := g.clientOf(proto)
		for _, n := range []int{1, 5000, 100_000} {
			v := doWith(t, c, g.request("POST", "/cgi-bin/env", unknown(pattern(n)))).variables(t)
			assert.Equal(t, fmt.Sprint(n), v["CONTENT_LENGTH"], proto)
			v = doWith(t, c, g.request("POST", "/cgi-bin/env", strings.NewReader(string(pattern(n))))).variables(t)
			assert.Equal(t, fmt.Sprint(n), v["CONTENT_LENGTH"], proto)
		}
		assert.NotContains(t, doWith(t, c, g.request("GET", "/cgi-bin/env", nil)).variables(t), "CONTENT_LENGTH", proto)
		assert.Equal(t, "0", doWith(t, c, g.request("POST", "/cgi-bin/env", http.NoBody)).variables(t)["CONTENT_LENGTH"], proto)
	}
}

func TestASpooledBodyLeavesNoFile(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/sum", hello, "sum")
	require.NoError(t, os.Mkdir(s.path("tmp"), 0o755))
	t.Setenv("TMPDIR", s.path("tmp"))
	g := s.serve(scripts + "    body: {memory: 1KiB}\n")
	a := g.do(g.request("POST", "/cgi-bin/sum", unknown(pattern(100_000))))
	assert.Equal(t, sum(pattern(100_000)), a.body)
	left, err := os.ReadDir(s.path("tmp"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestABodyThatCannotBeSpooledAnswers507(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/sum", hello, "sum")
	t.Setenv("TMPDIR", s.path("none"))
	g := s.serve(scripts + "    body: {memory: 1KiB}\n")
	assert.Equal(t, 507, g.do(g.request("POST", "/cgi-bin/sum", unknown(pattern(100_000)))).StatusCode)
	g.requireFailure("spool", 507)
	assert.Equal(t, 200, g.post("/cgi-bin/sum", "small").StatusCode)
}

func TestABodyOverTheLimitAnswers413(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/sum", hello, "touch ran", "sum")
	g := s.serve(scripts + "    body: {max: 100000B}\n")
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		c := g.clientOf(proto)
		assert.Equal(t, 413, doWith(t, c, g.request("POST", "/cgi-bin/sum", strings.NewReader(string(pattern(100_001))))).StatusCode, proto)
		assert.Equal(t, 413, doWith(t, c, g.request("POST", "/cgi-bin/sum", unknown(pattern(100_001)))).StatusCode, proto)
		assert.False(t, exists(s.path("cgi-bin/ran")), "the script was not asked")
	}
	g.awaitMetric(4, "warmcgi_request_errors_total", "why=body_too_large")
	g.awaitLog("why=body_too_large", "status=413", "100001 octets, the limit is 100000")
	assert.Equal(t, sum(pattern(100_000)), g.do(g.request("POST", "/cgi-bin/sum", unknown(pattern(100_000)))).body)
}

func TestAnAnswerArrivesThoughItsScriptReadsNothing(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.script("cgi-bin/big", hello, "outn 500000")
	s.script("cgi-bin/fails", "exit 1")
	s.script("cgi-bin/local", "out Location: /cgi-bin/p\n\n")
	s.script("cgi-bin/nph-p", "out HTTP/1.1 200 Fine\r\nContent-Type: text/plain\r\n\r\nhello, world\n")
	s.script("cgi-bin/reason", "out Status: 200 My own\nContent-Type: text/plain\n\nhello, world\n")
	s.write("html/a.txt", "x")
	g := s.serve(scripts + "  - {path: /, files: {root: html}}\n")
	body := string(pattern(1 << 20))
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/cgi-bin/p", "hello, world\n", 200},
		{"/cgi-bin/big", string(pattern(500000)), 200},
		{"/cgi-bin/fails", "", 502},
		{"/cgi-bin/local", "hello, world\n", 200},
		{"/cgi-bin/nph-p", "hello, world\n", 200},
		{"/cgi-bin/reason", "hello, world\n", 200},
		{"/a.txt", "", 405},
		{"/none", "", 404},
	} {
		for range 10 {
			// A client that reads when it has sent everything.
			r := g.dial().send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", c.path, len(body))).send(body).answer("POST")
			require.NoError(t, r.err, c.path)
			assert.Equal(t, c.status, r.StatusCode, c.path)
			if c.body != "" {
				assert.True(t, c.body == r.body, "%s: %.100q", c.path, r.body)
			}
		}
	}
}

func TestABodyThatDoesNotComeAnswers408(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/sum", hello, "sum")
	g := s.serve(scripts + "    timeout: {idle: 300ms}\n")
	for i, head := range []string{
		"Content-Length: 10\r\n\r\nhalf",
		"Content-Length: 100000\r\n\r\nhalf",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		c := g.dial().send("POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\n" + head)
		a := c.answer("POST")
		assert.Equal(t, 408, a.StatusCode, head)
		c.ended()
		g.awaitMetric(float64(i+1), "warmcgi_request_errors_total", "why=body_timeout")
	}
	g.requireFailure("body_timeout", 408, "nothing came for 300ms")

	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "half")
	assert.Equal(t, 408, doWith(t, g.clientOf("HTTP/2.0"), g.request("POST", "/cgi-bin/sum", r)).StatusCode)
	g.awaitMetric(0, "warmcgi_processes")
}

func TestABodyThatBreaksOffDoesNotLookWholeToTheScript(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/sum", hello, "sum", "touch whole")
	g := s.serve(scripts)
	for _, head := range []string{
		"Content-Length: 10\r\n\r\nhalf",
		"Content-Length: 100000\r\n\r\nhalf",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n",
	} {
		c := g.dial().send("POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\n" + head)
		c.closeWrite()
		if text := c.whatever(); text != "" {
			assert.Contains(t, text, "HTTP/1.1 400", head)
		}
	}
	g.awaitMetric(0, "warmcgi_processes")
	assert.False(t, exists(s.path("cgi-bin/whole")))
	g.awaitMetric(4, "warmcgi_requests_total")
}

// The time-out for pauses in the body ends with the body.
func TestAScriptMayTakeItsTimeWhenTheBodyHasCome(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "sleep 700ms", hello, "sum")
	g := s.serve(scripts + "    timeout: {idle: 200ms}\n")
	var wg sync.WaitGroup
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, n := range []int{10, 100_000} {
			wg.Go(func() {
				a := doWith(t, g.clientOf(proto), g.request("POST", "/cgi-bin/p", strings.NewReader(string(pattern(n)))))
				assert.Equal(t, sum(pattern(n)), a.body, "%s, %d octets", proto, n)
			})
		}
	}
	wg.Wait()
	g.awaitMetric(0, "warmcgi_kills_total")
}

func TestASlowClientIsNotTheFaultOfTheScript(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/sum", "read 1", hello, "sum")
	g := s.serve(scripts + "    timeout: {first_byte: 400ms, idle: 5s}\n")
	body := string(pattern(100_000))
	c := g.dial().send(fmt.Sprintf("POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body)))
	for i := 0; i < len(body); i += 20_000 {
		time.Sleep(150 * time.Millisecond)
		c.send(body[i : i+20_000])
	}
	assert.Equal(t, sum([]byte(body[1:])), c.answer("POST").body)
}

func TestTheAnswerToAnUploadMayComeBeforeItsEndOverHTTP2(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/echo", hello, "copy")
	g := s.serve(scripts)
	r, w := io.Pipe()
	req := g.request("POST", "/cgi-bin/echo", r)
	req.ContentLength = 100_000
	res, err := g.clientOf("HTTP/2.0").Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b := make([]byte, 20_000)
	for i := range 5 {
		_, err := w.Write(pattern(len(b)))
		require.NoError(t, err)
		if i == 4 {
			w.Close() // net/http sends the last octets when it knows that they are
		}
		_, err = io.ReadFull(res.Body, b)
		require.NoError(t, err)
		require.Equal(t, pattern(len(b)), b)
	}
	_, err = res.Body.Read(b)
	assert.ErrorIs(t, err, io.EOF)
}

// net/http would take what still comes of a body that it has given up for a request.
func TestTheRestOfABodyIsNotTakenForARequest(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/unread", helloWorld)
	s.script("cgi-bin/sum", "read 100000", helloWorld) // no head before the body is there
	s.script("cgi-bin/early", "out Content-Type: text/plain\nContent-Length: 13\n\nhello, world\n", "sleep 4s")
	s.script("cgi-bin/smuggled", hello, "touch ran", "out SMUGGLED")
	s.certificate("localhost")
	g := s.serve(scripts + "    timeout: {idle: 3s}\nlisten: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
	rest := "GET /cgi-bin/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	var wg sync.WaitGroup
	for name, dial := range map[string]func() *rawClient{"HTTP": g.dial, "HTTPS": g.dialSecond} {
		for path, status := range map[string]int{"/cgi-bin/unread": 200, "/cgi-bin/sum": 408, "/cgi-bin/early": 200} {
			wg.Go(func() {
				c := dial().send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhalf", path))
				assert.Equal(t, status, c.answer("POST").StatusCode, "%s %s", name, path)
				io.WriteString(c, rest)
				assert.Empty(t, c.whatever(), "%s %s", name, path)
			})
		}
	}
	wg.Wait()
	assert.False(t, exists(s.path("cgi-bin/ran")))
}
