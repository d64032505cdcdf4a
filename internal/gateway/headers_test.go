package gateway

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestARouteChangesTheFieldsOfItsAnswers(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "out Content-Type: text/plain\nX-Powered-By: x\nX-One: script\nX-Two: script\nSet-Cookie: a=1\n\nhello")
	s.script("cgi-bin/reason", "out Status: 404 Nothing Here\nX-Powered-By: x\nContent-Type: text/plain\n\nhello")
	s.script("plain/p", hello, "out hello")
	s.write("files/f.txt", "f")
	g := s.serve(`
headers:
  set: {X-All: "all", X-One: "all"}
  remove: [X-Powered-By]
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
    headers:
      remove: [x-two]
      set: {x-one: one, Content-Security-Policy: "default-src 'self'", X-Number: 1}
      add: {Set-Cookie: b=2}
  - {path: /files/, files: {root: files}, headers: {set: {Cache-Control: max-age=60}, remove: [ETag, Content-Type]}}
  - {path: /plain/, cgi: {dir: plain}}
`)
	h := g.get("/cgi-bin/p").Header
	assert.Equal(t, []string{"one"}, h["X-One"], "the route has the last word")
	assert.Equal(t, []string{"all"}, h["X-All"])
	assert.Equal(t, []string{"1"}, h["X-Number"])
	assert.Equal(t, []string{"a=1", "b=2"}, h["Set-Cookie"])
	assert.NotContains(t, h, "X-Two")
	assert.NotContains(t, h, "X-Powered-By")
	a := g.get("/cgi-bin/reason")
	assert.Equal(t, "404 Nothing Here", a.Status)
	assert.Equal(t, "one", a.Header.Get("X-One"))
	assert.NotContains(t, a.Header, "X-Powered-By")
	assert.Equal(t, "one", g.head("/cgi-bin/p").Header.Get("X-One"))
	assert.Equal(t, "one", g.get("/cgi-bin/none").Header.Get("X-One"), "an error page of the route")
	assert.Equal(t, "all", g.get("/none").Header.Get("X-One"), "an error page of no route")

	f := g.get("/files/f.txt")
	assert.Equal(t, "f", f.body)
	assert.Equal(t, "max-age=60", f.Header.Get("Cache-Control"))
	assert.NotContains(t, f.Header, "Etag")
	assert.NotContains(t, f.Header, "Content-Type", "nor one that was guessed")
	assert.Equal(t, "max-age=60", g.get("/files/f.txt", "If-Modified-Since", f.Header.Get("Last-Modified")).Header.Get("Cache-Control"))
	assert.Equal(t, "all", g.get("/plain/p").Header.Get("X-One"))
}

func TestARouteChangesTheFieldsThatItsScriptsSee(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(`
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
    request_headers:
      remove: [X-Forwarded-For, Accept-Language, If-None-Match]
      set: {X-Real-IP: "%{REMOTE_ADDR}", X-Site: "100%%", X-Old: "was %{HTTP_X_OLD}", X-None: "%{HTTP_NONE}"}
`)
	r := g.request("POST", "/cgi-bin/p", nil, "X-Forwarded-For", "6.6.6.6", "Accept-Language", "de", "X-Real-IP", "6.6.6.6", "X-Old", "old", "X-Keep", "kept")
	v := g.do(r).variables(t)
	assert.NotContains(t, v, "HTTP_X_FORWARDED_FOR")
	assert.NotContains(t, v, "HTTP_ACCEPT_LANGUAGE")
	assert.Equal(t, "127.0.0.1", v["HTTP_X_REAL_IP"])
	assert.Equal(t, "100%", v["HTTP_X_SITE"])
	assert.Equal(t, "was old", v["HTTP_X_OLD"])
	assert.Equal(t, "kept", v["HTTP_X_KEEP"])
	assert.Empty(t, v["HTTP_X_NONE"])
}

func TestAFieldThatIsRemovedAndSetIsSet(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(`
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
    request_headers: {remove: [X-Real-IP, x-real-ip, X-Gone], set: {X-Real-IP: "%{REMOTE_ADDR}"}}
`)
	v := g.do(g.request("GET", "/cgi-bin/p", nil, "X-Real-IP", "6.6.6.6", "X-Gone", "a")).variables(t)
	assert.Equal(t, "127.0.0.1", v["HTTP_X_REAL_IP"], "however often it is removed")
	assert.NotContains(t, v, "HTTP_X_GONE")
}
