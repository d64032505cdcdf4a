package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What may be read as one field or as two, or as a line more or less, must be the same to
// the gateway's own reading and to its scripts, or nothing at all.
func TestAFoldedLineIsOneField(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts)
	for _, fold := range []string{"\r\n ", "\r\n\t", "\n \t ", "\r\n \r\n "} {
		v := http1(t, g.raw("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: b"+fold+"Transfer-Encoding: chunked\r\nX-C: d\r\n\r\n")).variables(t)
		assert.Equal(t, "b Transfer-Encoding: chunked", strings.Join(strings.Fields(v["HTTP_X_A"]), " "), "RFC 9112 section 5.2: %q", fold)
		assert.Equal(t, "d", v["HTTP_X_C"])
	}
	for _, head := range []string{
		"GET /cgi-bin/p HTTP/1.1\r\n Host: x\r\n\r\n",
		"GET /cgi-bin/p HTTP/1.1\r\n\tX-A: b\r\nHost: x\r\n\r\n",
		"GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
		"POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n 0\r\n\r\n0123456789",
		"POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n , identity\r\n\r\n0\r\n\r\n",
	} {
		assert.Contains(t, []int{400, 501}, http1(t, g.dial().send(head).whatever()).StatusCode, "%q", head)
	}
}

func TestABareLineFeedEndsALineAndABareCarriageReturnIsRefused(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	s.script("cgi-bin/smuggled", hello, "touch ran", "out SMUGGLED")
	g := s.serve(scripts)
	v := http1(t, g.raw("GET /cgi-bin/p HTTP/1.1\nHost: x\nConnection: close\nX-A: b\nX-C: d\n\n")).variables(t)
	assert.Equal(t, []string{"x", "b", "d"}, []string{v["HTTP_HOST"], v["HTTP_X_A"], v["HTTP_X_C"]}, "RFC 9112 section 2.2")
	const next = "GET /cgi-bin/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, request := range []string{
		// To who takes it for a part of the value before it, the length is another.
		"POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nX-A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nX-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		// A chunk's line ends in CRLF (CVE-2025-22871).
		"POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n",
		"POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
		"POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
		"POST /cgi-bin/p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\rabc\r\n0\r\n\r\n",
	} {
		text := g.dial().send(request + next).whatever()
		assert.NotContains(t, text, "SMUGGLED", "%q", request)
		assert.LessOrEqual(t, strings.Count(text, "HTTP/1.1 "), 1, "%q: %q", request, text)
	}
	assert.False(t, exists(s.path("cgi-bin/ran")))
	for _, head := range []string{
		"GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nX-A: b\rX-C: d\r\n\r\n",
		"GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nX-A: b\r\r\n\r\n",
		"GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nX-A\r: b\r\n\r\n",
		"GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\rX-A: b\r\n\r\n",
		"GET /cgi-bin/p\r HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /cgi-bin/p?a\rb HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET\r /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /cgi-bin/p HTTP/1.1\rHost: x\r\n\r\n",
	} {
		assert.Equal(t, 400, http1(t, g.dial().send(head).whatever()).StatusCode, "%q", head)
	}
}

// An extension of a chunk means nothing to anybody: a request that is nothing else would
// cost a client that sends little and us that read it for ever.
func TestAFloodOfChunkExtensionsIsRefused(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/sum", hello, "sum")
	g := s.serve(scripts)
	const head = "POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	a := g.dial().send(head + "3;some=\"extension\"\r\nabc\r\n0;last\r\n\r\n").answer("POST")
	assert.Equal(t, sum([]byte("abc")), a.body, "there may be some")
	many := strings.Repeat("1;"+strings.Repeat("x", 500)+"\r\na\r\n", 1000)
	long := "3;" + strings.Repeat("x", 1<<20) + "\r\nabc\r\n"
	for _, body := range []string{many, long} {
		c := g.dial()
		go func() { io.WriteString(c, head+body+"0\r\n\r\n") }() // ends with the connection
		a := c.answer("POST")
		assert.Equal(t, 400, a.StatusCode)
		assert.True(t, a.Close)
	}
	g.awaitMetric(2, "warmcgi_request_errors_total", "why=body")
}

// trickle sends a text octet by octet until the connection ends, over and over the last
// line, and reports how much was taken.
func trickle(c net.Conn, text string) (sent int) {
	for i := 0; ; i++ {
		if i == len(text) {
			i = strings.LastIndex(text[:len(text)-1], "\n") + 1
		}
		if _, err := c.Write([]byte{text[i]}); err != nil {
			return sent
		}
		sent++
		time.Sleep(5 * time.Millisecond)
	}
}

func TestAHeadThatComesOctetByOctetOverHTTPIsGivenUp(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "touch ran")
	s.certificate("localhost")
	const yaml = scripts + "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n"
	const within = 200 * time.Millisecond
	const head = "GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nX-A: b\r\n"
	for how, c := range map[string]struct {
		trusted, text string
		door          int
		over          func(net.Conn) net.Conn
	}{
		"HTTP/1.1":                          {"", head, 0, nil},
		"HTTP/1.1, no end of a line":        {"", strings.Repeat("G", 1000), 0, nil},
		"HTTP/1.1 behind a PROXY header":    {"trusted_proxies: [127.0.0.1]\n", "PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n" + head, 0, nil},
		"a PROXY header":                    {"trusted_proxies: [127.0.0.1]\n", "PROXY TCP4 203.0.113.7 127.0.0.1 1 " + strings.Repeat("2", 1000), 0, nil},
		"the start of HTTP/2":               {"", "PRI * HTTP/2.0\r\n\r\nSM", 0, nil},
		"a TLS handshake":                   {"", "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + strings.Repeat("\n", 10000), 1, nil},
		"HTTP/1.1 over TLS":                 {"", head, 1, overTLS("http/1.1")},
		"HTTP/1.1 over TLS from a proxy":    {"trusted_proxies: [127.0.0.1]\n", head, 1, overTLS("http/1.1")},
		"HTTP/1.1, the next request's":      {"", "GET /none HTTP/1.1\r\nHost: x\r\n\r\n" + head, 0, nil},
		"HTTP/1.1 over TLS, the next one's": {"", "GET /none HTTP/1.1\r\nHost: x\r\n\r\n" + head, 1, overTLS("http/1.1")},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			g := s.serve(yaml+c.trusted, func(s *Server) { s.headTime = within })
			var conn net.Conn = g.dialAddr(g.Listeners()[c.door])
			if c.over != nil {
				conn = c.over(conn)
			}
			go io.Copy(io.Discard, conn) // ends with the connection
			ended := make(chan int, 1)
			go func() { ended <- trickle(conn, c.text) }() // ends with the connection
			select {
			case <-ended:
			case <-time.After(patience):
				assert.Fail(t, "it still sends")
			}
			assert.False(t, exists(s.path("cgi-bin/ran")))
			if !strings.HasPrefix(c.text, "PRI") { // which is answered, as no start of HTTP/2
				g.awaitMetric(1, "warmcgi_heads_refused_total")
				g.awaitLog("a request ended in its head")
			}
			g.shutdown()
		})
	}
}

func overTLS(proto string) func(net.Conn) net.Conn {
	return func(c net.Conn) net.Conn {
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}})
	}
}

// What a request has a thousand of is read once, and looked for in nothing that grows with it.
func TestManyFieldsAndParametersAreOnlyAsMuchAsTheyAreLong(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts)
	var query, fields strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&query, "a%d=b&a=%%&a[]=c;", i)
	}
	for i := range 4000 {
		fmt.Fprintf(&fields, "X-%d: v\r\n", i)
	}
	q := query.String()
	v := http1(t, g.dial().send("GET /cgi-bin/p?"+q+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").whatever()).variables(t)
	assert.Equal(t, q, v["QUERY_STRING"], "as it came: parameters are the script's")
	v = http1(t, g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+fields.String()+"\r\n").whatever()).variables(t)
	n := 0
	for name := range v {
		if strings.HasPrefix(name, "HTTP_X_") {
			n++
		}
	}
	assert.Equal(t, 4000, n)
	same := strings.Repeat("X-A: b\r\n", 10_000)
	v = http1(t, g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+same+"\r\n").whatever()).variables(t)
	assert.Equal(t, 10_000, strings.Count(v["HTTP_X_A"], "b"))
	require.Equal(t, 431, http1(t, g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+same+same+"\r\n").whatever()).StatusCode)
}

func TestARequestThatNoHandlerSeesIsCounted(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts)
	for _, head := range []string{"nonsense, and more of it\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /cgi-bin/p HTTP/1.1\r\nHost: a b\r\n\r\n"} {
		g.dial().send(head).whatever()
	}
	g.awaitMetric(3, "warmcgi_heads_refused_total", "why=refused")
	c := g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHo")
	c.closeWrite()
	c.whatever()
	g.awaitMetric(1, "warmcgi_heads_refused_total", "why=cut")
	// What is none of these is not counted: no request, one that is answered, one of HTTP/2.
	g.dial().Close()
	for range 3 {
		g.get("/cgi-bin/p")
		doWith(t, g.clientOf("HTTP/2.0"), g.request("GET", "/cgi-bin/p", nil))
		g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n").answer("GET")
		g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").whatever()
	}
	g.h2().fr.WriteGoAway(0, 0, nil)
	g.shutdown()
	assert.Equal(t, 4.0, g.metric("warmcgi_heads_refused_total"))
}
