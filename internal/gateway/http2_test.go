package gateway

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newURLRequest(url string) (*http.Request, error) { return http.NewRequest("GET", url, nil) }

// clientOf is a client that speaks one version of HTTP only.
func (g *testGateway) clientOf(proto string) *http.Client {
	return g.client(func(tr *http.Transport) {
		tr.Protocols = new(http.Protocols)
		if proto == "HTTP/2.0" {
			tr.Protocols.SetHTTP2(true)
			tr.Protocols.SetUnencryptedHTTP2(true)
		} else {
			tr.Protocols.SetHTTP1(true)
		}
	})
}

func TestCleartextHTTP2(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts)
	a := doWith(t, g.clientOf("HTTP/2.0"), g.request("GET", "/cgi-bin/p", nil, "Cookie", "a=1", "Cookie", "b=2", "Cookie", "c=3; d=4", "X-List", "1", "X-List", "2"))
	require.Equal(t, "HTTP/2.0", a.Proto)
	v := a.variables(t)
	assert.Equal(t, "HTTP/2.0", v["SERVER_PROTOCOL"])
	assert.Equal(t, "a=1; b=2; c=3; d=4", v["HTTP_COOKIE"])
	assert.Equal(t, "1, 2", v["HTTP_X_LIST"])
	assert.Equal(t, g.addr(), v["HTTP_HOST"])
	assert.NotContains(t, v, "HTTPS")
}
