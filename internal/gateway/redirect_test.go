package gateway

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestARedirectKeepsTheRestOfThePathAndTheQuery(t *testing.T) {
	s := newSite(t)
	s.write("www/f", "f")
	g := s.serve(`
routes:
  - {path: /old, redirect: {to: "https://new.example.org/app"}}
  - {path: /dir/, redirect: {to: "/"}}
  - {path: /moved/, redirect: {to: "https://new.example.org", status: 308}}
  - {path: /query, redirect: {to: "/new?a=1#part", keep: query, status: 307}}
  - {path: /one, redirect: {to: "/new?a=1", keep: nothing, status: 303}}
  - {path: /, host: example.org, redirect: {to: "https://www.example.org/", status: 301}}
  - {path: /www/, files: {root: www}}
`)
	for _, c := range []struct {
		path, to string
		status   int
	}{
		{"/old", "https://new.example.org/app", 302},
		{"/old?x=1", "https://new.example.org/app?x=1", 302},
		{"/old/", "https://new.example.org/app/", 302},
		{"/old/a%2Fb/c%20d?x=%2F&y", "https://new.example.org/app/a%2Fb/c%20d?x=%2F&y", 302},
		{"/old/./a/../b", "https://new.example.org/app/b", 302},
		{"/old//a//b/", "https://new.example.org/app/a//b/", 302},
		{"/dir/a", "/a", 302},
		{"/dir//evil.example/x", "/evil.example/x", 302},
		{"/dir///evil.example", "/evil.example", 302},
		{"/dir/%2Fevil.example", "/%2Fevil.example", 302},
		{"/dir/%5Cevil.example", "/%5Cevil.example", 302},
		{"/dir/%0d%0aX: y", "/%0D%0AX:%20y", 302},
		{"/dir/", "/", 302},
		{"/dir", "/dir/", 301},
		{"/moved/.evil.example", "https://new.example.org/.evil.example", 308},
		{"/moved/@evil.example", "https://new.example.org/@evil.example", 308},
		{"/query/a?b=2", "/new?a=1&b=2#part", 307},
		{"/query", "/new?a=1#part", 307},
		{"/one/a?b=2", "/new?a=1", 303},
	} {
		a := http1(t, g.raw("GET "+c.path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
		if c.path == "/dir/%0d%0aX: y" {
			assert.Equal(t, 400, a.StatusCode, "a blank is no part of a URL")
			continue
		}
		assert.Equal(t, c.status, a.StatusCode, c.path)
		assert.Equal(t, c.to, a.Header.Get("Location"), c.path)
	}
	assert.Equal(t, "https://www.example.org/a?b", g.at("example.org", "/a?b").Header.Get("Location"))
	assert.Equal(t, 404, g.get("/a").StatusCode)
	assert.Equal(t, 302, g.post("/old", "body").StatusCode)
	assert.Empty(t, g.head("/old").body)
}

func TestAFolderWithoutItsSlashKeepsItsQueryAndHost(t *testing.T) {
	s := newSite(t)
	s.write("www/sub/index.html", "here")
	g := s.serve("routes: [{path: /, host: x.example, files: {root: www}}]\n")
	a := g.at("x.example", "/sub?a=%20b")
	assert.Equal(t, 301, a.StatusCode)
	assert.Equal(t, "/sub/?a=%20b", a.Header.Get("Location"), "no host: whatever the client calls us, it stays there")
	assert.Equal(t, "here", g.at("x.example", "/sub/?a=%20b").body)
}

func TestADoorSendsPlainHTTPToTLS(t *testing.T) {
	s := newSite(t)
	s.certificate("localhost")
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts + `
trusted_proxies: [127.0.0.1]
listen:
  - {http: 127.0.0.1:0, redirect: https}
  - {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}
  - {http: 127.0.0.1:0, redirect: https, redirect_port: 443}
`)
	port := strconv.Itoa(g.Listeners()[1].(*net.TCPAddr).Port)
	a := g.at("www.example.org:8080", "/cgi-bin/p?x=%20y")
	assert.Equal(t, 301, a.StatusCode)
	assert.Equal(t, "https://www.example.org:"+port+"/cgi-bin/p?x=%20y", a.Header.Get("Location"))
	a = g.post("/none//x", "body")
	assert.Equal(t, 308, a.StatusCode, "a POST stays one")
	assert.Equal(t, "https://127.0.0.1:"+port+"/none//x", a.Header.Get("Location"))
	assert.Equal(t, "on", g.get("/cgi-bin/p", "X-Forwarded-Proto", "https").variables(t)["HTTPS"], "it was by TLS already: no loop")
	third := g.dialAddr(g.Listeners()[2])
	assert.Equal(t, "https://[::1]/x", third.send("GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").answer("GET").Header.Get("Location"))
	for _, host := range []string{"", "a%0db", "a@b", "a..b"} {
		a := http1(t, g.raw("GET /x HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"))
		assert.Equal(t, 400, a.StatusCode, host)
		assert.Empty(t, a.Header.Get("Location"))
	}
	g.requireFailure("bad_host", 400)
}
