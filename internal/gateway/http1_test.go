package gateway

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHTTP10GetsAnAnswerWithoutChunks(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/small", helloWorld, "close 1")
	s.script("cgi-bin/slow", hello, "drip 3 50ms piece\n")
	s.script("cgi-bin/env", hello, "env")
	g := s.serve(scripts)
	text := g.raw("GET /cgi-bin/slow HTTP/1.0\r\n\r\n")
	assert.Regexp(t, "^HTTP/1.0 200 OK\r\n", text)
	assert.NotContains(t, text, "Transfer-Encoding")
	assert.True(t, strings.HasSuffix(text, "\r\n\r\npiece\npiece\npiece\n"), text)
	v := http1(t, g.raw("GET /cgi-bin/env HTTP/1.0\r\nHost: old.example\r\n\r\n")).variables(t)
	assert.Equal(t, "HTTP/1.0", v["SERVER_PROTOCOL"])
	assert.Equal(t, "old.example", v["HTTP_HOST"])
	v = http1(t, g.raw("GET /cgi-bin/env HTTP/1.0\r\n\r\n")).variables(t)
	assert.NotContains(t, v, "HTTP_HOST")
	assert.Equal(t, "127.0.0.1", v["SERVER_NAME"])

	// With a length the connection can be kept, if the client asks for that.
	c := g.dial()
	for range 3 {
		a := c.send("GET /cgi-bin/small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer("GET")
		assert.Equal(t, "hello, world\n", a.body)
		assert.EqualValues(t, 13, a.ContentLength)
	}
	c.send("GET /cgi-bin/slow HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer("GET")
	c.ended()
}

func TestAConnectionIsKeptForTheNextRequest(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.script("cgi-bin/slow", hello, "drip 2 20ms piece\n")
	s.script("cgi-bin/sum", hello, "sum")
	s.script("cgi-bin/fails", "exit 3")
	s.script("cgi-bin/204", "out Status: 204 No Content\n\n")
	g := s.serve(scripts)
	c := g.dial()
	for range 2 {
		for _, r := range []struct{ request, body string }{
			{"GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n", "hello, world\n"},
			{"HEAD /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n", ""},
			{"GET /cgi-bin/slow HTTP/1.1\r\nHost: x\r\n\r\n", "piece\npiece\n"},
			{"POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", sum([]byte("body"))},
			{"POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nunread", "hello, world\n"},
			{"HEAD /cgi-bin/slow HTTP/1.1\r\nHost: x\r\n\r\n", ""},
			{"GET /cgi-bin/204 HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		} {
			method, _, _ := strings.Cut(r.request, " ")
			a := c.send(r.request).answer(method)
			require.NoError(t, a.err, r.request)
			assert.Equal(t, r.body, a.body, r.request)
			assert.False(t, a.Close, r.request)
		}
		for _, path := range []string{"/none", "/cgi-bin/fails", "/cgi-bin/", "/cgi-bin"} {
			assert.GreaterOrEqual(t, c.send("GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n").answer("GET").StatusCode, 300, path)
		}
	}
	c.send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").answer("GET")
	c.ended()
}

func TestPipelinedRequestsAreAnsweredInTheirOrder(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/slow", hello, "sleep 100ms", "args")
	s.script("cgi-bin/fast", hello, "args")
	s.script("cgi-bin/sum", hello, "sum")
	g := s.serve(scripts)
	var b strings.Builder
	for i := range 10 {
		name := "fast"
		if i%4 == 0 {
			name = "slow"
		}
		fmt.Fprintf(&b, "GET /cgi-bin/%s?%d HTTP/1.1\r\nHost: x\r\n\r\n", name, i)
		fmt.Fprintf(&b, "POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nbody %02d", i)
	}
	c := g.dial().send(b.String())
	for i := range 10 {
		assert.Equal(t, fmt.Sprint(i), c.answer("GET").body)
		assert.Equal(t, sum(fmt.Appendf(nil, "body %02d", i)), c.answer("POST").body)
	}
}

func TestHEADIsAnsweredAsGETWithoutTheBody(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "out Content-Type: text/x\nX-A: b\n\n", "outn 1000000", "touch whole")
	s.script("cgi-bin/length", "out Content-Type: text/x\nContent-Length: 13\n\nhello, world\n")
	s.script("cgi-bin/method", "out Content-Type: text/x\n\n", "env", "touch env")
	g := s.serve(scripts)
	a := g.head("/cgi-bin/p")
	assert.Equal(t, 200, a.StatusCode)
	assert.Equal(t, "b", a.Header.Get("X-A"))
	assert.NotContains(t, a.Header, "Content-Length")
	s.started("cgi-bin/whole") // it was not killed for what it wrote
	assert.EqualValues(t, 13, g.head("/cgi-bin/length").ContentLength)
	assert.Equal(t, 200, g.head("/cgi-bin/method").StatusCode)
	g.awaitMetric(0, "warmcgi_kills_total")
}

func TestExpect100ContinueIsAnsweredBeforeTheBody(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/sum", hello, "sum")
	s.script("cgi-bin/unread", helloWorld)
	g := s.serve(scripts + "    body: {max: 200000B}\n")
	for _, size := range []int{10, 150_000} {
		c := g.dial()
		c.send(fmt.Sprintf("POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", size))
		assert.Equal(t, "HTTP/1.1 100 Continue", c.line())
		assert.Equal(t, "", c.line())
		assert.Equal(t, sum(pattern(size)), c.send(string(pattern(size))).answer("POST").body)
		// The field is the connection's, not the script's, and the connection goes on.
		assert.Equal(t, sum(nil), c.send("GET /cgi-bin/sum HTTP/1.1\r\nHost: x\r\n\r\n").answer("GET").body)
	}
	c := g.dial().send("POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
	assert.Equal(t, "HTTP/1.1 100 Continue", c.line())
	assert.Equal(t, "", c.line())
	assert.Equal(t, sum([]byte("abc")), c.send("3\r\nabc\r\n0\r\n\r\n").answer("POST").body)

	// Too large: told so without a 100, and nothing is waited for.
	c = g.dial().send("POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 200001\r\n\r\n")
	assert.Equal(t, "HTTP/1.1 413 Request Entity Too Large", c.line())
	assert.Equal(t, 417, http1(t, g.raw("POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: something\r\nContent-Length: 0\r\n\r\n")).StatusCode)
}

// Requests that a front server may read as two, or whose end it may see elsewhere. The
// second one must not be answered.
func TestASmuggledRequestIsNotAnswered(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "copy")
	s.script("cgi-bin/smuggled", hello, "touch ran", "out SMUGGLED")
	g := s.serve(scripts)
	const next = "GET /cgi-bin/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, request := range []string{
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3;ext=\"\r\n\"\r\nabc\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello",
		"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
		"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello",
		"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nhello",
		"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5 5\r\n\r\nhello",
		"POST %s HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST %s HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"PUT %s HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000000000003\r\nabc\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n",
		"GET %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET %s HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"GET %s HTTP/1.1\r\n\r\n",
		"GET %s HTTP/2.0\r\nHost: x\r\n\r\n",
		"GET %s HTTP/1.1 \r\nHost: x\r\n\r\n",
		"GET %s\r\n\r\n",
		"GET %s HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
		"GET %s HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n",
		"GET %s HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
		"GET %s HTTP/1.1\r\nHost: a b\r\n\r\n",
	} {
		// Answered by a script, by a file's 404, by a redirect.
		for _, path := range []string{"/cgi-bin/p", "/none", "/cgi-bin"} {
			text := g.dial().send(fmt.Sprintf(request, path) + next).whatever()
			assert.NotContains(t, text, "SMUGGLED", request)
			assert.LessOrEqual(t, strings.Count(text, "HTTP/1.1 "), 1, "%q: %q", request, text)
		}
	}
	assert.False(t, exists(s.path("cgi-bin/ran")))
}

func TestTheConnectionOfAChunkedRequestSaysThatItCloses(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "copy")
	g := s.serve(scripts)
	for _, path := range []string{"/cgi-bin/p", "/none", "/cgi-bin"} {
		c := g.dial().send("POST " + path + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		assert.True(t, c.answer("POST").Close, path)
		c.ended()
	}
}

func TestTrailersOfARequestAreNotTakenForFields(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts)
	v := http1(t, g.raw("POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nTrailer: X-Trailed\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailed: a\r\nX-Other: b\r\n\r\n")).variables(t)
	assert.Equal(t, "3", v["CONTENT_LENGTH"])
	for _, name := range []string{"HTTP_X_TRAILED", "HTTP_X_OTHER", "HTTP_TRAILER", "HTTP_TRANSFER_ENCODING"} {
		assert.NotContains(t, v, name)
	}
}

func TestMethodsThatNoScriptMayBeAskedWith(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "touch ran")
	g := s.serve(scripts)
	for _, request := range []string{
		"TRACE /cgi-bin/p HTTP/1.1\r\nHost: x\r\nCookie: secret\r\nConnection: close\r\n\r\n",
		"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"CONNECT /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	} {
		text := g.raw(request)
		assert.Equal(t, 405, http1(t, text).StatusCode, request)
		assert.Contains(t, http1(t, text).Header.Get("Allow"), "GET, HEAD, POST")
		assert.NotContains(t, text, "secret")
	}
	g.awaitMetric(3, "warmcgi_request_errors_total", "why=method")
	a := http1(t, g.raw("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	assert.Equal(t, 200, a.StatusCode)
	assert.Empty(t, a.body)
	assert.Equal(t, 400, http1(t, g.raw("GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).StatusCode)
	assert.False(t, exists(s.path("cgi-bin/ran")))
}

func TestAScriptIsAskedWithAnyOtherMethod(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts)
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "MKCOL", "REPORT", "get", "X-Y.Z"} {
		assert.Equal(t, method, http1(t, g.raw(method+" /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).variables(t)["REQUEST_METHOD"])
	}
}

func TestAHeadThatIsTooLargeIsRefused(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts)
	big := strings.Repeat("x", 100_000)
	assert.Equal(t, big, g.get("/cgi-bin/p", "X-Big", big).variables(t)["HTTP_X_BIG"], "what fits reaches the script")
	assert.Equal(t, 431, g.get("/cgi-bin/p", "X-Big", big, "X-Bigger", big).StatusCode)
	g.awaitMetric(1, "warmcgi_heads_refused_total", "why=refused")
	assert.Contains(t, []int{414, 431}, http1(t, g.dial().send("GET /cgi-bin/p?"+big+big+" HTTP/1.1\r\nHost: x\r\n\r\n").whatever()).StatusCode)
	assert.Equal(t, 200, g.get("/cgi-bin/p").StatusCode)
}

// A field must not reach a script under the name of another, or of a variable.
func TestFieldsThatCouldPoseAsSomethingElseStayBehind(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts)
	v := http1(t, g.raw("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nProxy: http://evil\r\nX_Real_IP: 6.6.6.6\r\nX.Real: 1\r\nContent_Length: 5\r\nAuthorization: Basic eDp5\r\n"+
		"Connection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nX-Kept: \xe4\xff\r\n\r\n")).variables(t)
	for name := range v {
		if strings.HasPrefix(name, "HTTP_") {
			assert.Contains(t, []string{"HTTP_HOST", "HTTP_X_KEPT"}, name)
		}
	}
	assert.Equal(t, "\xe4\xff", v["HTTP_X_KEPT"])
	assert.NotContains(t, v, "CONTENT_LENGTH")
}

func TestTheVariablesOfARequest(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve("server_admin: web@example.org\ndocument_root: /srv\nenv: {A: of the file, B: of the file, SERVER_NAME: fixed.example}\n" + scripts + "    env: {B: of the route}\n")
	host, port, _ := net.SplitHostPort(g.addr())
	a := g.post("/cgi-bin/p/x%20y?q=%41&r", "12345", "Content-Type", "text/x", "User-Agent", "test")
	v := a.variables(t)
	assert.Regexp(t, `^[0-9]+$`, v["REMOTE_PORT"])
	assert.Equal(t, g.logged(1)[0].ID, v["UNIQUE_ID"])
	delete(v, "REMOTE_PORT")
	delete(v, "UNIQUE_ID")
	delete(v, "REQUEST_ID")
	assert.Equal(t, map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "warmcgi/0.1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "fixed.example", "SERVER_PORT": port,
		"SERVER_ADDR": host, "SERVER_ADMIN": "web@example.org", "REQUEST_METHOD": "POST", "REQUEST_URI": "/cgi-bin/p/x%20y?q=%41&r", "REQUEST_SCHEME": "http",
		"SCRIPT_NAME": "/cgi-bin/p", "SCRIPT_FILENAME": s.path("cgi-bin/p"), "PATH_INFO": "/x y", "PATH_TRANSLATED": "/srv/x y", "DOCUMENT_ROOT": "/srv",
		"QUERY_STRING": "q=%41&r", "CONTENT_LENGTH": "5", "CONTENT_TYPE": "text/x", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": g.addr(), "HTTP_USER_AGENT": "test",
		"PATH": "/usr/local/bin:/usr/bin:/bin", "A": "of the file", "B": "of the route",
	}, v)
}
