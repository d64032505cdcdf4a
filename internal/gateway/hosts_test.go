package gateway

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// at asks for a path at a host.
func (g *testGateway) at(host, path string, fields ...string) *answer {
	g.t.Helper()
	r := g.request("GET", path, nil, fields...)
	r.Host = host
	return g.do(r)
}

const sites = `
routes:
  - {path: /, host: www.example.org, files: {root: www}}
  - {path: /app/, host: [www.example.org, app.example.org], files: {root: app}}
  - {path: /, host: "*.example.org", files: {root: wild}}
  - {path: /, host: "*.deep.example.org", files: {root: deep}}
  - {path: /, host: [münchen.example, "::1", 192.0.2.1], files: {root: umlaut}}
`

func newSites(t *testing.T) *site {
	s := newSite(t)
	for _, root := range []string{"www", "app", "wild", "deep", "umlaut", "any", "shared"} {
		s.write(root+"/f", root)
	}
	return s
}

func TestTheHostChoosesTheSiteAndThenTheLongestPathWins(t *testing.T) {
	g := newSites(t).serve(sites + `
  - {path: /, files: {root: any}}
  - {path: /shared/, files: {root: shared}}
`)
	for _, c := range []struct{ host, path, body string }{
		{"www.example.org", "/f", "www"},
		{"www.example.org:8443", "/f", "www"},
		{"WWW.Example.ORG", "/f", "www"},
		{"www.example.org.", "/f", "www"},
		{"www.example.org.:80", "/f", "www"},
		{"www.example.org", "/app/f", "app"},
		{"app.example.org", "/app/f", "app"},
		{"app.example.org", "/f", "wild"}, // the name itself has no route for it
		{"x.example.org", "/f", "wild"},
		{"x.y.example.org", "/f", "wild"},
		{"x.deep.example.org", "/f", "deep"},
		{"deep.example.org", "/f", "wild"},
		{"example.org", "/f", "any"},
		{"evilexample.org", "/f", "any"},
		{"www.example.org.evil.example", "/f", "any"},
		{"xn--mnchen-3ya.example", "/f", "umlaut"},
		{"XN--MNCHEN-3YA.example", "/f", "umlaut"},
		{"[::1]:80", "/f", "umlaut"},
		{"[0:0:0:0:0:0:0:1]", "/f", "umlaut"},
		{"192.0.2.1:80", "/f", "umlaut"},
		{"unknown", "/f", "any"},
		{"unknown", "/shared/f", "shared"},
		{"example.org", "/shared/f", "shared"},
	} {
		a := g.at(c.host, c.path)
		assert.Equal(t, 200, a.StatusCode, c)
		assert.Equal(t, c.body, a.body, c)
	}
	assert.Equal(t, 404, g.at("www.example.org", "/shared/f").StatusCode, "the site has a route for /")
	assert.Equal(t, "/app/", g.at("app.example.org", "/app").Header.Get("Location"), "only the slash is missing")
	assert.Equal(t, "any", http1(t, g.raw("GET /f HTTP/1.0\r\n\r\n")).body, "HTTP/1.0 may have no host")
}

func TestAHostOfNoRouteIsMisdirected(t *testing.T) {
	g := newSites(t).serve(sites)
	for _, host := range []string{"example.org", "evilexample.org", "other", "1.2.3.4", "[::2]", "www.example.org:80:80"} {
		status := http1(t, g.raw("GET /f HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")).StatusCode
		assert.Contains(t, []int{421, 400}, status, host)
	}
	assert.Equal(t, 421, g.at("other", "/f").StatusCode)
	g.requireFailure("misdirected", 421, "other")
	assert.Equal(t, 404, g.at("app.example.org", "/none").StatusCode, "the host is known")
	assert.Equal(t, 421, http1(t, g.raw("GET /f HTTP/1.0\r\n\r\n")).StatusCode)
}

func TestTheHostIsATrustedProxysIfItSaysOne(t *testing.T) {
	s := newSites(t)
	g := s.serve(sites + "trusted_proxies: [127.0.0.1]\n")
	assert.Equal(t, "www", g.at("inner:8080", "/f", "X-Forwarded-Host", "www.example.org").body)
	g = s.serve(sites)
	assert.Equal(t, "wild", g.at("x.example.org", "/f", "X-Forwarded-Host", "www.example.org").body)
}

func TestSitesHaveTheirOwnNameInLogAndMetrics(t *testing.T) {
	s := newSite(t)
	s.script("one/p", hello, "out one ", "env")
	s.script("two/p", hello, "out two ", "env")
	g := s.serve(`
routes:
  - {path: /cgi-bin/, host: one.example, cgi: {dir: one}}
  - {path: /cgi-bin/, host: two.example, cgi: {dir: two}, env: {SITE: "2"}}
`)
	assert.Contains(t, g.at("one.example", "/cgi-bin/p").body, "SERVER_NAME=one.example")
	two := g.at("TWO.example:80", "/cgi-bin/p").body
	assert.Contains(t, two, "SITE=2")
	assert.Contains(t, two, "HTTP_HOST=TWO.example:80", "as the client has it")
	assert.Equal(t, "two.example/cgi-bin/", g.logged(2)[1].Route)
	assert.Equal(t, 1.0, g.metric("warmcgi_requests_total", "route=one.example/cgi-bin/", "status=200"))
}

func TestTheHostChoosesOverHTTP2(t *testing.T) {
	s := newSites(t)
	s.certificate("localhost")
	g := s.serve(sites + https)
	c := g.client(func(tr *http.Transport) { tr.ForceAttemptHTTP2 = true })
	for host, body := range map[string]string{"www.example.org": "www", "Y.EXAMPLE.ORG:443": "wild"} {
		r := g.request("GET", "/f", nil)
		r.URL.Scheme, r.Host = "https", host
		a := doWith(t, c, r)
		require.Equal(t, 2, a.ProtoMajor)
		assert.Equal(t, body, a.body, host)
	}
}
