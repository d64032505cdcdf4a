package gateway

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestARequestHasOneIDInTheAnswerTheLogAndTheScript(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	s.script("cgi-bin/own", "out Content-Type: text/plain\nX-Request-Id: the-scripts\n\n")
	g := s.serve(scripts)
	for i, field := range []string{"", "forged", strings.Repeat("x", 5000), "a b", "<script>"} {
		var fields []string
		if field != "" {
			fields = []string{"X-Request-Id", field}
		}
		a := g.get("/cgi-bin/p", fields...)
		id := a.Header.Get("X-Request-Id")
		assert.Regexp(t, `^[0-9a-f]{10}-[0-9a-z]+$`, id, "nobody's word but ours")
		v := a.variables(t)
		assert.Equal(t, id, v["REQUEST_ID"])
		assert.Equal(t, id, v["UNIQUE_ID"])
		if field != "" {
			assert.Equal(t, id, v["HTTP_X_REQUEST_ID"], "scripts see no other one")
		} else {
			assert.NotContains(t, v, "HTTP_X_REQUEST_ID")
		}
		assert.Equal(t, id, g.logged(i + 1)[i].ID)
	}
	a := g.get("/none")
	assert.Contains(t, a.body, a.Header.Get("X-Request-Id"), "an error page")
	g.awaitLog("id=" + a.Header.Get("X-Request-Id"))
	assert.Equal(t, "the-scripts", g.get("/cgi-bin/own").Header.Get("X-Request-Id"), "a script may have its own")
}

func TestATrustedProxyGivesARequestItsID(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts + "trusted_proxies: [127.0.0.1]\n")
	for _, id := range []string{"7b0a2f6e-3c1d-4a53-9f4e-0123456789ab", "a", "Root=1-67891233-abcdef012345678912345678", strings.Repeat("x", 128)} {
		a := g.get("/cgi-bin/p", "X-Request-Id", id)
		assert.Equal(t, id, a.variables(t)["REQUEST_ID"])
		assert.Equal(t, id, a.Header.Get("X-Request-Id"))
	}
	for _, id := range []string{"a b", "a\"b", "ü", "<b>", strings.Repeat("x", 129), "a,b", "{}"} {
		v := g.get("/cgi-bin/p", "X-Request-Id", id).variables(t)
		assert.NotEqual(t, id, v["REQUEST_ID"])
		assert.Equal(t, v["REQUEST_ID"], v["HTTP_X_REQUEST_ID"])
	}
	v := g.get("/cgi-bin/p", "X-Request-Id", "one", "X-Request-Id", "two").variables(t)
	assert.NotContains(t, []string{"one", "two"}, v["REQUEST_ID"])
}
