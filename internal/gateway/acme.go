package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"warmcgi/internal/acme"
	"warmcgi/internal/config"
)

func newACMEMetrics() (certificates, refused *prometheus.CounterVec) {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_acme_certificates_total",
			Help: "Certificates that were asked for by ACME, by host and outcome (obtained, renewed, failed).",
		}, []string{"host", "outcome"}), prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_tls_handshakes_refused_total",
			Help: "TLS handshakes at a door with acme that were refused for want of a certificate, by why (pending: it is not there yet, unknown: the name is none of the hosts).",
		}, []string{"why"})
}

// certify has somebody get the certificates of a door that has none of its own. Who does so already for the same
// configuration goes on.
func (b *build) certify(r *doorRules, l *config.Listener) error {
	if l.TLS == nil || l.TLS.ACME == nil {
		return nil
	}
	var m *acme.Manager
	c, err := acmeConfig(l.TLS.ACME)
	if err == nil {
		m, err = b.acmeManager(c)
	}
	if err != nil {
		return fmt.Errorf("door %s: acme: %w", doorKeyOf(l.Door()), err)
	}
	r.tls = &tls.Config{GetCertificate: b.s.acmeCertificate(m), MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if err := wantClientCertificate(r.tls, l.TLS.ClientCA); err != nil {
		return fmt.Errorf("door %s: %w", doorKeyOf(l.Door()), err)
	}
	return nil
}

func acmeConfig(a *config.ACME) (c acme.Config, err error) {
	c = acme.Config{
		Email: a.Email, Directory: a.Directory, Storage: a.Storage, Profile: a.Profile,
		HTTP: slices.Contains(a.Challenges, config.ChallengeHTTP), TLSALPN: slices.Contains(a.Challenges, config.ChallengeTLSALPN),
	}
	for _, h := range a.Hosts {
		c.Hosts = append(c.Hosts, string(h))
	}
	if e := a.ExternalAccount; e != nil {
		c.AccountID, c.AccountKey = e.ID, e.Key
	}
	if a.CA != "" {
		c.CA, err = os.ReadFile(a.CA)
	}
	return c, err
}

func (b *build) acmeManager(c acme.Config) (*acme.Manager, error) {
	same := func(m *acme.Manager) bool { return m.Config().Same(c) }
	if i := slices.IndexFunc(b.st.acme, same); i >= 0 {
		return b.st.acme[i], nil
	}
	if b.old != nil {
		if i := slices.IndexFunc(b.old.acme, same); i >= 0 {
			b.st.acme = append(b.st.acme, b.old.acme[i])
			return b.old.acme[i], nil
		}
	}
	for _, host := range c.Hosts { // a counter that begins with 1 has not increased
		for _, outcome := range []string{acme.Obtained, acme.Renewed, acme.Failed} {
			b.s.metrics.acme.WithLabelValues(host, outcome)
		}
	}
	m, err := acme.New(c, b.s.log, func(host, outcome string) { b.s.metrics.acme.WithLabelValues(host, outcome).Inc() })
	if err == nil {
		b.st.acme, b.acme = append(b.st.acme, m), append(b.acme, m)
	}
	return m, err
}

// startACME is for when the doors of a state let in: authorities come to them.
func startACME(st *state) {
	for _, m := range st.acme {
		m.Start()
	}
}

func stopACME(st *state) {
	for _, m := range st.acme {
		m.Stop()
	}
}

func closeACME(ctx context.Context, managers []*acme.Manager) {
	var wg sync.WaitGroup
	for _, m := range managers {
		wg.Go(func() { m.Close(ctx) })
	}
	wg.Wait()
}

// closeUnwanted ends the work for certificates that the new state does not want. Handshakes are the new state's already, so
// that nothing of it is needed until the old one's last request has ended.
func (s *Server) closeUnwanted(old, is *state) {
	var unwanted []*acme.Manager
	for _, m := range old.acme {
		if !slices.Contains(is.acme, m) {
			m.Stop()
			unwanted = append(unwanted, m)
		}
	}
	if len(unwanted) > 0 {
		s.leavers.Go(func() { closeACME(s.life, unwanted) })
	}
}

// acmeCertificate is for [tls.Config.GetCertificate]. With neither a certificate nor an error, the client is told that its name
// is not known (RFC 6066 section 3).
func (s *Server) acmeCertificate(m *acme.Manager) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		name := config.HostName(hello.ServerName)
		c, err := m.Get(hello, name)
		if err == nil {
			return c, nil
		}
		why := "unknown"
		if errors.Is(err, acme.ErrPending) {
			why = "pending"
			if name == "" {
				name = m.Hosts()[0]
			}
		}
		s.metrics.tlsRefused.WithLabelValues(why).Inc()
		if why == "pending" && s.pending.now(name) {
			s.log.Warn("a TLS handshake was refused", "host", name, "err", err)
		} else {
			s.log.Debug("a TLS handshake was refused", "host", hello.ServerName, "peer", hello.Conn.RemoteAddr().String(), "err", err)
		}
		if why == "pending" || errors.Is(err, acme.ErrUnknownName) {
			err = nil
		}
		return nil, err
	}
}

// newChallengeTLS answers authorities by tls-alpn-01 (RFC 8737), at whichever door they come.
func (s *Server) newChallengeTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{acme.ChallengeProtocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			name := config.HostName(hello.ServerName)
			for _, m := range s.state.Load().acme {
				if c, err := m.Get(hello, name); name != "" && err == nil {
					return c, nil
				}
			}
			return nil, nil
		},
	}
}

// answerAuthority answers one that asks whether a host is ours, by http-01 (RFC 8555 section 8.3). What it asks for that
// nobody here knows of is a request as any other: another program may answer it behind a route.
func (x *exchange) answerAuthority() bool {
	if len(x.st.acme) == 0 {
		return false
	}
	host := config.HostName(x.r.Host)
	return slices.ContainsFunc(x.st.acme, func(m *acme.Manager) bool { return m.Answer(x, x.r, host) })
}

// acmeCertificates are those that were got by ACME.
func (s *Server) acmeCertificates() (list []acme.Shown) {
	for _, m := range s.state.Load().acme {
		list = append(list, m.Shown()...)
	}
	return list
}

// seldom says when something is worth saying again.
type seldom struct {
	every time.Duration

	mu   sync.Mutex
	last map[string]time.Time // bounded by the hosts of configurations
}

func newSeldom(every time.Duration) *seldom {
	return &seldom{every: every, last: map[string]time.Time{}}
}

func (s *seldom) now(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.last[what]) < s.every {
		return false
	}
	s.last[what] = time.Now()
	return true
}
