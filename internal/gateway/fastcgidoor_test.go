package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An authority signs certificates.
type authority struct {
	site *site
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

// authority makes one, with its certificate in a file.
func (s *site) authority(file string) *authority {
	s.t.Helper()
	a := &authority{site: s}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: file}}
	der, key := a.sign(template)
	var err error
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(s.t, err)
	a.key = key
	s.write(file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return a
}

// sign signs a certificate with the authority's key, or as its own.
func (a *authority) sign(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.site.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.site.t, err)
	a.n++
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(a.n), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(a.site.t, err)
	return der, key
}

// issue makes a certificate and its key.
func (a *authority) issue(name string, use x509.ExtKeyUsage) tls.Certificate {
	a.site.t.Helper()
	der, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{use}})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// files writes a certificate and its key where the configurations of these tests have it.
func (a *authority) files(c tls.Certificate) {
	a.site.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(a.site.t, err)
	a.site.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})))
	a.site.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}

// asks sends a request over a connection.
func (g *testGateway) asks(c net.Conn, vars ...string) (*answer, error) {
	g.t.Helper()
	defer c.Close()
	f := &front{newRawClient(g.t, c), g.t}
	b := record(1, []byte{0, 1, 0, 0, 0, 0, 0, 0})
	b = append(b, record(4, params(append(vars, "REQUEST_METHOD=GET", "SERVER_PROTOCOL=HTTP/1.1")))...)
	if _, err := f.Write(append(append(b, record(4, nil)...), record(5, nil)...)); err != nil {
		return nil, err
	}
	return f.read()
}

func TestAFastCGIDoorOverTLSLetsInWhoHasACertificate(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	ca := s.authority("ca.pem")
	ca.files(ca.issue("localhost", x509.ExtKeyUsageServerAuth))
	g := s.serve(scripts + "listen: [{fastcgi: 'tls:127.0.0.1:0', tls: {cert: cert.pem, key: key.pem, client_ca: ca.pem}}]\n")
	assert.Regexp(t, `^fastcgi tls:127\.0\.0\.1:\d+$`, g.Addrs()[0])
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	dial := func(certs ...tls.Certificate) (net.Conn, error) {
		return tls.Dial("tcp", g.addr(), &tls.Config{RootCAs: roots, Certificates: certs})
	}
	for range 2 {
		c, err := dial(ca.issue("gateway", x509.ExtKeyUsageClientAuth))
		require.NoError(t, err)
		a, err := g.asks(c, "REQUEST_URI=/cgi-bin/p/x", "REMOTE_ADDR=203.0.113.7", "REMOTE_USER=anna")
		require.NoError(t, err)
		v := a.variables(t)
		assert.Equal(t, "/x", v["PATH_INFO"])
		assert.Equal(t, "anna", v["REMOTE_USER"])
		assert.NotContains(t, v, "HTTPS", "that is for the client's connection, not the front server's")
	}
	for name, certs := range map[string][]tls.Certificate{
		"none": nil, "of another authority": {s.authority("other.pem").issue("gateway", x509.ExtKeyUsageClientAuth)}, "of a server": {ca.issue("gateway", x509.ExtKeyUsageServerAuth)},
	} {
		c, err := dial(certs...)
		if err == nil { // in TLS 1.3 the client does not wait to be let in
			_, err = g.asks(c, "REQUEST_URI=/cgi-bin/p")
		}
		assert.Error(t, err, name)
	}
	plain := g.dial().send(string(record(1, []byte{0, 1, 0, 0, 0, 0, 0, 0})))
	plain.whatever()
	g.awaitMetric(4, "warmcgi_fastcgi_door_connections_refused_total", "why=tls")
	g.awaitLog("connection refused", "why=tls", "certificate")
	assert.Equal(t, 2.0, g.metric("warmcgi_requests_total"))
	assert.NotContains(t, g.log.String(), "pass for any user")
}

func TestAnHTTPSDoorCanAskForCertificatesToo(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	ca := s.authority("ca.pem")
	ca.files(ca.issue("localhost", x509.ExtKeyUsageServerAuth))
	g := s.serve(scripts + "listen: [{https: '127.0.0.1:0', tls: {cert: cert.pem, key: key.pem, client_ca: ca.pem}}]\n")
	dial := func(certs ...tls.Certificate) *rawClient {
		c, err := tls.Dial("tcp", g.addr(), &tls.Config{InsecureSkipVerify: true, Certificates: certs})
		require.NoError(t, err)
		return newRawClient(t, c)
	}
	assert.Equal(t, "hello, world\n", dial(ca.issue("client", x509.ExtKeyUsageClientAuth)).send("GET /cgi-bin/p HTTP/1.0\r\n\r\n").answer("GET").body)
	c := dial()
	io.WriteString(c.Conn, "GET /cgi-bin/p HTTP/1.0\r\n\r\n")
	assert.Empty(t, c.whatever())
}

func TestAClientAuthorityThatCannotBeReadStopsTheStart(t *testing.T) {
	s := newSite(t)
	s.certificate("localhost")
	s.write("ca.pem", "nonsense")
	for _, door := range []string{"fastcgi: 'tls:127.0.0.1:0'", "https: '127.0.0.1:0'"} {
		_, err := New(s.config(scripts+"listen: [{"+door+", tls: {cert: cert.pem, key: key.pem, client_ca: ca.pem}}]\n"), Options{})
		assert.ErrorContains(t, err, "ca.pem holds no certificate")
	}
}

func TestAFastCGIDoorClosesToThoseThatAreNotAllowed(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts + "listen: [{fastcgi: '127.0.0.1:0', allow: [10.0.0.0/8, '2001:db8::/32']}, {fastcgi: '127.0.0.1:0', allow: [127.0.0.0/8]}]\n")
	c := g.dial()
	assert.Empty(t, c.whatever(), "closed at once")
	g.awaitMetric(1, "warmcgi_fastcgi_door_connections_refused_total", "why=address")
	g.awaitLog("connection refused", "why=address", "remote=127.0.0.1")
	a, err := g.asks(g.dialAddr(g.Listeners()[1]).Conn, "REQUEST_URI=/cgi-bin/p")
	require.NoError(t, err)
	assert.Equal(t, "hello, world\n", a.body)
}

func TestAFastCGIDoorThatAnybodyReachesIsWarnedOf(t *testing.T) {
	s := newSite(t)
	s.certificate("localhost")
	for door, warned := range map[string]bool{
		"fastcgi: ':0'": true, "fastcgi: 'tcp:0.0.0.0:0'": true, "fastcgi: 'tls:0.0.0.0:0', tls: {cert: cert.pem, key: key.pem}": true,
		"fastcgi: 'tls:0.0.0.0:0', tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem}": false,
		"fastcgi: ':0', allow: [127.0.0.1]":                                                  false, "fastcgi: '127.0.0.1:0'": false, "fastcgi: '[::1]:0'": false, "fastcgi: 'unix:s'": false, "http: ':0'": false,
	} {
		g := s.serve(scripts + "listen: [{" + door + "}]\n")
		if warned {
			g.awaitLog("level=WARN", "pass for any user")
		} else {
			assert.NotContains(t, g.log.String(), "pass for any user", door)
		}
		g.shutdown()
	}
}
