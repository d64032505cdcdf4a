package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"warmcgi/internal/config"
)

// tlsConfig is that of a door, and the certificate that it shows. Whoever has no certificate of
// the client_ca does not get in, if there is one.
func (s *Server) tlsConfig(files *config.TLS) (c *tls.Config, shows *certFiles, err error) {
	if shows, err = s.readCertificate(files.Cert, files.Key); err != nil {
		return nil, nil, err
	}
	c = &tls.Config{GetCertificate: shows.get, MinVersion: tls.VersionTLS12}
	return c, shows, wantClientCertificate(c, files.ClientCA)
}

// wantClientCertificate wants one of those that ca has signed, if there is a ca.
func wantClientCertificate(c *tls.Config, ca string) error {
	if ca == "" {
		return nil
	}
	var err error
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.ClientCAs, err = authorities(ca)
	return err
}

// authorities are those whose certificates a file holds.
func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}

func (s *Server) readCertificate(cert, key string) (*certFiles, error) {
	c := &certFiles{cert: cert, key: key, log: s.log}
	return c, c.load()
}

// certFiles are a certificate and its key, read again when they change.
type certFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	stamps  [2]fileStamp
	checked time.Time
}

func (c *certFiles) load() error {
	var stamps [2]fileStamp
	for i, path := range []string{c.cert, c.key} {
		s, err := stampOf(path)
		if err != nil {
			return err
		}
		stamps[i] = s
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.cert, err)
	}
	c.pair, c.stamps, c.checked = &pair, stamps, time.Now()
	return nil
}

// get is for [tls.Config]. A new pair that can't be read leaves the old one in force.
func (c *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) > time.Second {
		c.checked = time.Now()
		certStamp, err1 := stampOf(c.cert)
		keyStamp, err2 := stampOf(c.key)
		if err1 == nil && err2 == nil && [2]fileStamp{certStamp, keyStamp} != c.stamps {
			if err := c.load(); err != nil {
				c.log.Error("new certificate not taken", "err", err)
			}
		}
	}
	return c.pair, nil
}
