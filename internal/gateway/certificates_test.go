package gateway

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheEndOfADoorsCertificateIsAMetric(t *testing.T) {
	s := newSite(t)
	s.certificate("one.example")
	g := s.serve(scripts + "listen:\n  - {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}\n  - {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}\n")
	end := func() float64 {
		return g.metric("warmcgi_certificate_expiry_timestamp_seconds", "file="+filepath.Join(s.dir, "cert.pem"))
	}
	pair, err := tls.LoadX509KeyPair(s.path("cert.pem"), s.path("key.pem"))
	require.NoError(t, err)
	require.Equal(t, float64(pair.Leaf.NotAfter.Unix()), end(), "one, for both doors")

	s.write("cert.pem", "no certificate")
	eventually(t, func() bool {
		assert.Equal(t, float64(pair.Leaf.NotAfter.Unix()), end(), "of the one in force")
		return strings.Contains(g.log.String(), "new certificate not taken")
	}, "a look at it sees the file")

	time.Sleep(time.Until(pair.Leaf.NotAfter.Add(-time.Hour).Add(time.Second))) // times in certificates are whole seconds
	s.certificate("two.example")
	assert.Eventually(t, func() bool { return end() > float64(pair.Leaf.NotAfter.Unix()) }, patience, 10*time.Millisecond)
}

func TestAReloadChangesWhichCertificatesAreMetrics(t *testing.T) {
	s := newSite(t)
	s.certificate("one.example")
	const servers = "  - {path: /app, fastcgi: {servers: ['tls:127.0.0.1:1'], tls: {cert: cert.pem, key: key.pem}}}\n"
	const door = "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n"
	g := s.serve(scripts + servers + door)
	ends := func() int { return len(g.certificates()) }
	assert.Equal(t, 2, ends())
	assert.NotZero(t, g.metric("warmcgi_certificate_expiry_timestamp_seconds"))
	g.mustReload(scripts + door)
	eventually(t, func() bool { return ends() == 1 }, "that of the servers goes with them")
	g.mustReload(scripts + servers)
	eventually(t, func() bool { return ends() == 1 }, "that of the door goes with it")
	g.mustReload(scripts)
	eventually(t, func() bool { return g.metric("warmcgi_certificate_expiry_timestamp_seconds") == 0 }, "none is left")
}
