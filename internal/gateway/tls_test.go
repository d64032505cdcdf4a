package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// https is a door with the certificate that certificate has made.
const https = "listen: [{https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n"

// certificate makes cert.pem and key.pem.
func (s *site) certificate(name string) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(s.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	s.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

func TestHTTPSIsToldToTheScript(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	s.certificate("localhost")
	g := s.serve(scripts + https)
	assert.Equal(t, "https", g.Addrs()[0][:5])
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		r, err := newURLRequest("https://" + g.addr() + "/cgi-bin/p")
		require.NoError(t, err)
		v := doWith(t, g.clientOf(proto), r).variables(t)
		assert.Equal(t, proto, v["SERVER_PROTOCOL"])
		assert.Equal(t, "on", v["HTTPS"], proto)
		assert.Equal(t, "https", v["REQUEST_SCHEME"], proto)
		assert.Equal(t, g.Listeners()[0].(*net.TCPAddr).AddrPort().Port(), uint16(number(v["SERVER_PORT"])), proto)
	}
}

func TestPlainHTTPAtAnHTTPSDoorIsToldSo(t *testing.T) {
	s := newSite(t)
	s.certificate("localhost")
	g := s.serve(scripts + https)
	assert.Contains(t, g.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.0 400 Bad Request")
	g.awaitLog("TLS handshake error", "level=DEBUG")
}

func TestOldTLSIsRefused(t *testing.T) {
	s := newSite(t)
	s.certificate("localhost")
	g := s.serve(scripts + https)
	_, err := tls.Dial("tcp", g.addr(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	assert.ErrorContains(t, err, "protocol version")
}

func TestACertificateIsReadAgainWhenItHasChanged(t *testing.T) {
	s := newSite(t)
	s.certificate("one.example")
	g := s.serve(scripts + https)
	name := func() string {
		c, err := tls.Dial("tcp", g.addr(), &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	assert.Equal(t, "one.example", name())
	s.certificate("two.example")
	eventually(t, func() bool { return name() == "two.example" }, "the new certificate is used")

	// One that can't be used leaves the old one in force.
	s.write("cert.pem", "nonsense")
	eventually(t, func() bool {
		assert.Equal(t, "two.example", name())
		return len(g.log.String()) > 0
	}, "the log says so")
	g.awaitLog("new certificate not taken")
	require.NoError(t, os.Remove(s.path("key.pem")))
	assert.Equal(t, "two.example", name())
	s.certificate("three.example")
	eventually(t, func() bool { return name() == "three.example" }, "the next certificate is used")
}

func TestACertificateThatCannotBeReadStopsTheStart(t *testing.T) {
	s := newSite(t)
	c := s.config(scripts + https)
	_, err := New(c, Options{})
	assert.ErrorIs(t, err, os.ErrNotExist)
	s.write("cert.pem", "nonsense")
	s.write("key.pem", "nonsense")
	_, err = New(c, Options{})
	assert.ErrorContains(t, err, "certificate "+s.path("cert.pem"))
}

// dialSecond is dialTLS at the second door.
func (g *testGateway) dialSecond() *rawClient {
	g.t.Helper()
	c, err := tls.Dial("tcp", g.Listeners()[1].String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	require.NoError(g.t, err)
	return newRawClient(g.t, c)
}
