package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A front is a front server on one connection to a FastCGI door.
type front struct {
	*rawClient
	t testing.TB
}

const fastcgiDoor = "listen: [{fastcgi: 'unix:fcgi.sock', scripts: [cgi-bin, other]}]\n"

func (g *testGateway) front() *front { return &front{g.dial(), g.t} }

// record is one record of request 1.
func record(kind byte, content []byte) []byte {
	b := []byte{1, kind, 0, 1, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[4:], uint16(len(content)))
	return append(b, content...)
}

// params is the PARAMS stream of variables, each NAME=value.
func params(vars []string) (b []byte) {
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		b = binary.BigEndian.AppendUint32(b, uint32(len(name))|1<<31)
		b = binary.BigEndian.AppendUint32(b, uint32(len(value))|1<<31)
		b = append(append(b, name...), value...)
	}
	return b
}

// begin sends a request up to its body.
func (f *front) begin(vars ...string) {
	f.t.Helper()
	b := record(1, []byte{0, 1, 0, 0, 0, 0, 0, 0}) // the responder; the connection is not kept
	for c := range slices.Chunk(params(vars), 65_535) {
		b = append(b, record(4, c)...)
	}
	b = append(b, record(4, nil)...)
	f.send(string(b))
}

// body sends a body, and its end.
func (f *front) body(b []byte) {
	f.t.Helper()
	for len(b) > 0 {
		n := min(len(b), 8000)
		f.send(string(record(5, b[:n])))
		b = b[n:]
	}
	f.send(string(record(5, nil)))
}

// read reads an answer to its end. Without one, the error is what a front server sees.
func (f *front) read() (*answer, error) {
	f.t.Helper()
	var out bytes.Buffer
	for {
		var h [8]byte
		if _, err := io.ReadFull(f.br, h[:]); err != nil {
			return nil, err
		}
		b := make([]byte, int(binary.BigEndian.Uint16(h[4:]))+int(h[6]))
		if _, err := io.ReadFull(f.br, b); err != nil {
			return nil, err
		}
		switch b = b[:len(b)-int(h[6])]; h[1] {
		case 6:
			out.Write(b)
		case 3:
			if b[4] != 0 {
				return nil, fmt.Errorf("protocol status %d", b[4])
			}
			return cgiAnswer(f.t, out.String()), nil
		default:
			return nil, fmt.Errorf("record %d", h[1])
		}
	}
}

// cgiAnswer reads what a front server makes HTTP of.
func cgiAnswer(t testing.TB, text string) *answer {
	t.Helper()
	status := "200 OK"
	for line := range strings.Lines(text) {
		if s, ok := strings.CutPrefix(line, "Status: "); ok {
			status = strings.TrimSpace(s)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 "+status+"\r\n"+text)), nil)
	require.NoError(t, err, text)
	return readAnswer(res)
}

// ask sends a GET, or a POST of a body, through a FastCGI door.
func (g *testGateway) ask(body []byte, vars ...string) *answer {
	g.t.Helper()
	f := g.front()
	defer f.Close()
	method := []string{"REQUEST_METHOD=GET"}
	if body != nil {
		method = []string{"REQUEST_METHOD=POST", fmt.Sprintf("CONTENT_LENGTH=%d", len(body))}
	}
	f.begin(append(append(method, "SERVER_PROTOCOL=HTTP/1.1", "REMOTE_ADDR=203.0.113.7", "REMOTE_PORT=4711", "SERVER_NAME=www.example.org", "SERVER_PORT=443", "HTTPS=on", "GATEWAY_INTERFACE=CGI/1.1"), vars...)...)
	f.body(body)
	a, err := f.read()
	require.NoError(g.t, err)
	return a
}

func TestRoutesAnswerOverFastCGI(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	s.script("cgi-bin/sum", hello, "sum")
	s.script("cgi-bin/reason", "out Status: 404 Gone Fishing\nContent-Type: text/plain\n\n")
	s.script("cgi-bin/nph-p", "out HTTP/1.1 203 Odd\r\nContent-Type: text/plain\r\n\r\nraw")
	s.script("cgi-bin/local", "out Location: /a.txt\n\n")
	s.write("html/a.txt", "a file")
	g := s.serve(scripts + "  - {path: /, files: {root: html}}\nlisten: [{fastcgi: 'unix:fcgi.sock'}]\n")
	v := g.ask(nil, "REQUEST_URI=/cgi-bin/p/x%20y?a=b", "DOCUMENT_ROOT=/front", "HTTP_HOST=www.example.org", "HTTP_COOKIE=c=d", "SCRIPT_FILENAME=/etc/passwd", "SCRIPT_NAME=/lies", "PATH_INFO=/lies").variables(t)
	for name, want := range map[string]string{
		"SCRIPT_NAME": "/cgi-bin/p", "PATH_INFO": "/x y", "QUERY_STRING": "a=b", "REQUEST_URI": "/cgi-bin/p/x%20y?a=b", "SCRIPT_FILENAME": s.path("cgi-bin/p"),
		"DOCUMENT_ROOT": s.path("cgi-bin"), "REMOTE_ADDR": "203.0.113.7", "REMOTE_PORT": "4711", "SERVER_NAME": "www.example.org", "SERVER_PORT": "443", "HTTPS": "on",
		"HTTP_HOST": "www.example.org", "HTTP_COOKIE": "c=d", "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_METHOD": "GET",
	} {
		assert.Equal(t, want, v[name], name)
	}
	for _, n := range []int{0, 10, 100_000, 1_000_000} {
		assert.Equal(t, sum(pattern(n)), g.ask(append([]byte{}, pattern(n)...), "REQUEST_URI=/cgi-bin/sum").body, n)
	}
	a := g.ask(nil, "REQUEST_URI=/cgi-bin/reason")
	assert.Equal(t, "404 Gone Fishing", a.Status)
	a = g.ask(nil, "REQUEST_URI=/cgi-bin/nph-p")
	assert.Equal(t, 203, a.StatusCode)
	assert.Equal(t, "raw", a.body)
	assert.Equal(t, "a file", g.ask(nil, "REQUEST_URI=/a.txt").body)
	assert.Equal(t, "a file", g.ask(nil, "REQUEST_URI=/cgi-bin/local").body)
	assert.Equal(t, 404, g.ask(nil, "REQUEST_URI=/none").StatusCode)
	assert.Equal(t, 301, g.ask(nil, "REQUEST_URI=/cgi-bin").StatusCode)
	assert.Equal(t, "203.0.113.7", g.logged(11)[0].Client)
}

// As fcgiwrap does: nginx has done the routing.
func TestTheFrontServerNamesTheProgram(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p.cgi", hello, "env")
	s.script("cgi-bin/sub/q.cgi", hello, "env")
	s.script("other/r", hello, "env")
	s.script("outside/x.cgi", hello, "out OUTSIDE")
	s.script("cgi-bin-more/x.cgi", hello, "out OUTSIDE")
	s.script("cgi-bin/.hidden.cgi", hello, "out OUTSIDE")
	s.script("cgi-bin/back.cgi~", hello, "out OUTSIDE")
	s.write("cgi-bin/source", source)
	s.link("../outside/x.cgi", "cgi-bin/link.cgi")
	s.link("../other/r", "cgi-bin/between")
	g := s.serve(fastcgiDoor + "routes: []\nenv: {BASE: of the file}\n")
	for _, c := range []struct{ filename, name, info, wantName, wantInfo string }{
		{"cgi-bin/p.cgi", "/a/p.cgi", "", "/a/p.cgi", ""},
		{"cgi-bin/p.cgi/x/y", "/a/p.cgi/x/y", "", "/a/p.cgi", "/x/y"},
		{"cgi-bin/p.cgi/x y//z", "/a/p.cgi/x y//z", "", "/a/p.cgi", "/x y//z"},
		{"cgi-bin/p.cgi/", "/a/p.cgi/", "", "/a/p.cgi", "/"},
		{"cgi-bin/p.cgi", "/a/p.cgi/x", "/x", "/a/p.cgi", "/x"},
		{"cgi-bin/p.cgi", "/a/p.cgi", "/x", "/a/p.cgi", "/x"},
		{"cgi-bin/sub/q.cgi", "/q.cgi", "", "/q.cgi", ""},
		{"other/r", "/r", "", "/r", ""},
		{"cgi-bin/between", "/between", "", "/between", ""},
	} {
		v := g.ask(nil, "REQUEST_URI=/some/thing?q", "SCRIPT_FILENAME="+s.dir+"/"+c.filename, "SCRIPT_NAME="+c.name, "PATH_INFO="+c.info, "QUERY_STRING=q", "DOCUMENT_ROOT="+s.path("html")).variables(t)
		assert.Equal(t, c.wantName, v["SCRIPT_NAME"], c)
		assert.Equal(t, c.wantInfo, v["PATH_INFO"], c)
		assert.Equal(t, s.path("html"), v["DOCUMENT_ROOT"], c)
		assert.Equal(t, "of the file", v["BASE"])
		if c.wantInfo != "" {
			assert.Equal(t, s.path("html")+c.wantInfo, v["PATH_TRANSLATED"], c)
		} else {
			assert.NotContains(t, v, "PATH_INFO")
		}
	}
	// Without SCRIPT_FILENAME, as some configurations have it.
	v := g.ask(nil, "REQUEST_URI=/p.cgi", "DOCUMENT_ROOT="+s.path("cgi-bin"), "SCRIPT_NAME=/p.cgi").variables(t)
	assert.Equal(t, s.path("cgi-bin/p.cgi"), v["SCRIPT_FILENAME"])

	for file, status := range map[string]int{
		s.path("outside/x.cgi"): 403, s.path("cgi-bin-more/x.cgi"): 403, s.path("cgi-bin/link.cgi"): 403, s.path("cgi-bin"): 403, s.path("cgi-bin") + "/": 403,
		s.path("cgi-bin/sub"): 403, s.path("cgi-bin/source"): 403, "/etc/passwd": 403, "/bin/sh": 403, "/": 403,
		s.path("cgi-bin") + "/../outside/x.cgi": 400, s.path("cgi-bin") + "/sub/../../outside/x.cgi": 400, s.path("cgi-bin") + "/./p.cgi": 400,
		s.path("cgi-bin/none.cgi"): 404, s.path("cgi-bin/.hidden.cgi"): 404, s.path("cgi-bin/back.cgi~"): 404, "cgi-bin/p.cgi": 404, "": 403, "../outside/x.cgi": 404,
		strings.ToUpper(s.path("cgi-bin/p.cgi")): 403,
	} {
		a := g.ask(nil, "REQUEST_URI=/x", "SCRIPT_FILENAME="+file, "SCRIPT_NAME=/x")
		assert.Equal(t, status, a.StatusCode, file)
		assert.NotContains(t, a.body, "OUTSIDE", file)
		assert.NotContains(t, a.body, source, file)
	}
	g.requireFailure("forbidden", 403, "in none of the door's")
}

func TestTheVariablesOfTheFrontServerReachTheScript(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(fastcgiDoor + scripts + "env: {FIXED: by the file}\n")
	v := g.ask([]byte("abc"), "REQUEST_URI=/p", "SCRIPT_FILENAME="+s.path("cgi-bin/p"), "SCRIPT_NAME=/p", "DOCUMENT_ROOT=/front",
		"GIT_PROJECT_ROOT=/srv/git", "GIT_HTTP_EXPORT_ALL=", "REMOTE_USER=", "AUTH_TYPE=", "HTTPS=", "REMOTE_IDENT=", "REDIRECT_STATUS=200", "FIXED=by the front",
		"HTTP_PROXY=http://evil", "HTTP_X_A=b", "HTTP_AUTHORIZATION=Basic eDp5", "SERVER_SOFTWARE=nginx/1.0", "CONTENT_TYPE=text/x", "LATIN=\xe4",
		"GATEWAY_INTERFACE=CGI/9", "REQUEST_METHOD=GET", "FCGI_ROLE=RESPONDER", "LD_PRELOAD=/front/says.so").variables(t)
	for name, want := range map[string]string{
		"GIT_PROJECT_ROOT": "/srv/git", "GIT_HTTP_EXPORT_ALL": "", "REDIRECT_STATUS": "200", "FIXED": "by the file", "HTTP_X_A": "b", "SERVER_SOFTWARE": "nginx/1.0",
		"CONTENT_TYPE": "text/x", "CONTENT_LENGTH": "3", "LATIN": "\xe4", "GATEWAY_INTERFACE": "CGI/1.1", "DOCUMENT_ROOT": "/front",
	} {
		assert.Equal(t, want, v[name], name)
	}
	for _, name := range []string{"REMOTE_USER", "AUTH_TYPE", "HTTPS", "REMOTE_IDENT", "HTTP_PROXY", "HTTP_AUTHORIZATION", "FCGI_ROLE"} {
		assert.NotContains(t, v, name)
	}
	v = g.ask(nil, "REQUEST_URI=/p", "SCRIPT_FILENAME="+s.path("cgi-bin/p"), "SCRIPT_NAME=/p", "REMOTE_USER=somebody", "AUTH_TYPE=Basic").variables(t)
	assert.Equal(t, "somebody", v["REMOTE_USER"])
	assert.Equal(t, "Basic", v["AUTH_TYPE"])
}

func TestARouteWithAPasswordDoesNotBelieveTheFrontServersUser(t *testing.T) {
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(t, err)
	s := newSite(t)
	s.write("htpasswd", string(b))
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts + "    auth: {basic: {htpasswd: htpasswd}}\nlisten: [{fastcgi: 'unix:fcgi.sock'}]\n")
	assert.Equal(t, 401, g.ask(nil, "REQUEST_URI=/cgi-bin/p", "REMOTE_USER=root", "AUTH_TYPE=Basic").StatusCode)
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth("sha", "secret of sha")
	v := g.ask(nil, "REQUEST_URI=/cgi-bin/p", "REMOTE_USER=root", "HTTP_AUTHORIZATION="+r.Header.Get("Authorization")).variables(t)
	assert.Equal(t, "sha", v["REMOTE_USER"])
}

func TestABrokenAnswerIsBrokenOverFastCGI(t *testing.T) {
	s := newSite(t)
	scripts := brokenScripts(s)
	g := s.serve(fastcgiDoor + "routes: []\ndefaults: {timeout: {idle: 100ms}}\n")
	for name := range scripts {
		f := g.front()
		f.begin("REQUEST_METHOD=GET", "REQUEST_URI=/x", "SCRIPT_NAME=/x", "SCRIPT_FILENAME="+s.path("cgi-bin/"+name))
		f.body(nil)
		_, err := f.read()
		assert.Error(t, err, name)
	}
	g.awaitMetric(float64(len(scripts)), "warmcgi_truncated_total")
	assert.Equal(t, 404, g.ask(nil, "REQUEST_URI=/x", "SCRIPT_FILENAME="+s.path("cgi-bin/none")).StatusCode)
}

func TestAFrontServerThatLeavesEndsTheScript(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "touch up", "hang")
	for _, listen := range []string{fastcgiDoor, strings.Replace(fastcgiDoor, "'unix:fcgi.sock'", "127.0.0.1:0", 1)} {
		for _, abort := range []bool{false, true} {
			os.Remove(s.path("cgi-bin/up"))
			g := s.serve(listen + "routes: []\n")
			f := g.front()
			f.begin("REQUEST_METHOD=GET", "REQUEST_URI=/x", "SCRIPT_NAME=/x", "SCRIPT_FILENAME="+s.path("cgi-bin/p"))
			f.body(nil)
			pid := s.started("cgi-bin/up")
			if abort {
				f.send(string(record(2, nil)))
			} else {
				f.Close()
			}
			awaitDeath(t, pid)
			g.awaitMetric(1, "warmcgi_kills_total", "reason=disconnect")
			f.Close()
			g.shutdown()
		}
	}
}

// Where nginx sends all of a site to one program, the URL is in SCRIPT_NAME.
func TestAFrontServersURLsAreNotMetrics(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/gitweb.cgi", hello, "env")
	g := s.serve(fastcgiDoor + "routes: []\n")
	for _, url := range []string{"/a", "/b/c", "/d/e/f"} {
		v := g.ask(nil, "REQUEST_URI="+url, "SCRIPT_NAME="+url, "SCRIPT_FILENAME="+s.path("cgi-bin/gitweb.cgi")).variables(t)
		assert.Equal(t, url, v["SCRIPT_NAME"])
	}
	g.awaitMetric(3, "warmcgi_requests_total", "script="+s.path("cgi-bin/gitweb.cgi"))
}

func TestStreamingOverFastCGI(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello+"first\n", "await go", "out second\n")
	g := s.serve(fastcgiDoor + "routes: []\n")
	f := g.front()
	f.begin("REQUEST_METHOD=GET", "REQUEST_URI=/x", "SCRIPT_NAME=/x", "SCRIPT_FILENAME="+s.path("cgi-bin/p"))
	f.body(nil)
	for !strings.Contains(f.line(), "first") {
	}
	s.touch("cgi-bin/go")
	for !strings.Contains(f.line(), "second") {
	}
}

// Shutdown waits for a front server's requests as for any others.
func TestShutdownLetsRequestsOfAFrontServerEnd(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello+"hello", "touch up", "await go", "out , world\n")
	g := s.serve(fastcgiDoor + "routes: []\n")
	f := g.front()
	f.begin("REQUEST_METHOD=GET", "REQUEST_URI=/x", "SCRIPT_NAME=/x", "SCRIPT_FILENAME="+s.path("cgi-bin/p"))
	f.body(nil)
	s.started("cgi-bin/up")
	down := g.shutdownWithin(patience)
	s.touch("cgi-bin/go")
	a, err := f.read()
	require.NoError(t, err)
	assert.Equal(t, "hello, world\n", a.body)
	assert.NoError(t, <-down)
	assert.NoError(t, <-g.served)
}
