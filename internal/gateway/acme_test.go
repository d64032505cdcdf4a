package gateway

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/acme"
)

// noAuthority is a door whose authority is not there.
const noAuthority = `
listen:
  - {http: 127.0.0.1:0, redirect: https}
  - {https: 127.0.0.1:0, tls: {acme: {hosts: [a.test, b.test], accept_terms: true, directory: "https://127.0.0.1:1/dir", storage: acme}}}
`

// handshake tries one at the second door.
func (g *testGateway) handshake(name string) error {
	c, err := tls.Dial("tcp", g.Listeners()[1].String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err == nil {
		c.Close()
	}
	return err
}

func TestADoorWithoutItsCertificateRefusesHandshakesClearly(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts + noAuthority)
	for _, name := range []string{"a.test", "B.test", ""} {
		assert.ErrorContains(t, g.handshake(name), "unrecognized name", name)
	}
	assert.Equal(t, 3.0, g.metric("warmcgi_tls_handshakes_refused_total", "why=pending"))
	for range 2 {
		assert.ErrorContains(t, g.handshake("c.test"), "unrecognized name")
	}
	assert.Equal(t, 2.0, g.metric("warmcgi_tls_handshakes_refused_total", "why=unknown"))
	g.awaitLog("level=WARN", "a TLS handshake was refused", "host=b.test", "the certificate is not there yet")
	g.awaitMetric(2, "warmcgi_acme_certificates_total", "outcome=failed")
	g.awaitLog("level=ERROR", "no certificate", "host=a.test", "connection refused")

	assert.Equal(t, 301, g.get("/cgi-bin/p").StatusCode)
	assert.Equal(t, 301, g.get("/.well-known/acme-challenge/x", "Host", "a.test").StatusCode, "nobody has asked for that")
}

func TestAReloadKeepsWhoGetsCertificatesWhereNothingChanges(t *testing.T) {
	s := newSite(t)
	g := s.serve(scripts + noAuthority)
	managers := func() []*acme.Manager { return g.state.Load().acme }
	first := managers()
	require.Len(t, first, 1)
	g.mustReload(moreScripts + noAuthority)
	assert.Equal(t, first, managers())

	_, err := g.reload(scripts + "  - {path: /x, files: {root: .}, auth: {basic: {htpasswd: none}}}\n" + noAuthority)
	require.Error(t, err)
	assert.Equal(t, first, managers())
	_, err = g.reload(scripts + "  - {path: /x, files: {root: .}, auth: {basic: {htpasswd: none}}}\n" + strings.Replace(noAuthority, "b.test", "c.test", 1))
	require.Error(t, err)
	assert.Equal(t, first, managers())
	assert.ErrorContains(t, g.handshake("b.test"), "unrecognized name")
	assert.Equal(t, 1.0, g.metric("warmcgi_tls_handshakes_refused_total", "why=pending"), "b.test is still to come")

	g.mustReload(scripts + strings.Replace(noAuthority, "b.test", "c.test", 1))
	require.Len(t, managers(), 1)
	assert.NotSame(t, first[0], managers()[0])
	assert.Equal(t, []string{"a.test", "c.test"}, managers()[0].Hosts())
	g.awaitMetric(1, "warmcgi_acme_certificates_total", "host=c.test", "outcome=failed")

	g.mustReload(scripts)
	assert.Empty(t, managers())
}

func TestDoorsWithTheSameACMEShareWhoGetsTheirCertificates(t *testing.T) {
	s := newSite(t)
	door := strings.SplitAfter(noAuthority, "\n")[3]
	g := s.serve(scripts + noAuthority + door)
	assert.Len(t, g.Listeners(), 3)
	assert.Len(t, g.state.Load().acme, 1)
}

func TestAFolderForCertificatesThatIsOpenToOthersStopsTheStart(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.Mkdir(s.path("acme"), 0o755))
	_, err := New(s.config(scripts+noAuthority), Options{})
	require.ErrorIs(t, err, acme.ErrStorage)
	assert.ErrorContains(t, err, "door https 127.0.0.1:0: acme: ")
	assert.ErrorContains(t, err, "chmod 700")
}
