// Package acme gets certificates from an authority that speaks ACME (RFC 8555), keeps them in a folder, and renews them. The
// work is certmagic's; this package gives it a life that ends, our log, and what the gateway wants to count.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	acmeapi "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// Outcomes that a Manager counts.
const (
	Obtained = "obtained"
	Renewed  = "renewed"
	Failed   = "failed"
)

var (
	// ErrUnknownName: a client wants a name that no certificate is for.
	ErrUnknownName = errors.New("no certificate is for this name")
	// ErrPending: a certificate is not there yet.
	ErrPending = errors.New("the certificate is not there yet")
)

const (
	// loadTime is how long reading what lies in the folder may take: a certificate with an OCSP responder asks that.
	loadTime = 5 * time.Second
	// again is when a host is tried again for which certmagic has given up.
	again = time.Hour
	// checkEvery is how often certificates are looked at whether they are to be renewed; those that don't live long,
	// checkShare times in their life.
	checkEvery = 10 * time.Minute
	checkShare = 20
)

// Config is all that makes a Manager what it is.
type Config struct {
	Hosts      []string // in the spelling of [config.Host]; at least one
	Email      string
	Directory  string
	CA         []byte // PEM of the certificates that the directory's must be signed by; nil: the system's
	Storage    string
	Profile    string
	AccountID  string // of the external account; "": none
	AccountKey string // its key
	HTTP       bool   // whether http-01 may be used
	TLSALPN    bool   // whether tls-alpn-01 may
}

// Same tells whether another one would do the same.
func (c Config) Same(o Config) bool { return reflect.DeepEqual(c, o) }

// A Manager has a certificate for each of its hosts, or is about to get it.
type Manager struct {
	config  Config
	log     *slog.Logger
	count   func(host, outcome string)
	magic   *certmagic.Config
	cache   *certmagic.Cache
	issuer  *certmagic.ACMEIssuer
	storage *storage
	nowhere net.Listener

	arrived chan struct{} // holds a token when there is a new certificate

	life    context.Context // ends with Stop, or Close
	endLife context.CancelFunc
	work    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	started bool
	closed  bool
}

// New makes the folder, and reads the certificates that are there. Nobody is asked for one before Start.
func New(c Config, log *slog.Logger, count func(host, outcome string)) (*Manager, error) {
	st, err := newStorage(c.Storage)
	if err != nil {
		return nil, err
	}
	var roots *x509.CertPool
	if c.CA != nil {
		if roots, err = Roots(c.CA); err != nil {
			return nil, err
		}
	}
	m := &Manager{config: c, log: log, count: count, storage: st, arrived: make(chan struct{}, 1)}
	if m.nowhere, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	m.life, m.endLife = context.WithCancel(context.Background())
	m.work.Go(m.acceptNobody)

	logger := zap.New(core{log: log, life: m.life})
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil },
		RenewCheckInterval: checkEvery,
		Logger:             logger,
	})
	m.magic = certmagic.New(m.cache, certmagic.Config{
		Storage: st, Logger: logger, OnEvent: m.event, DefaultServerName: c.Hosts[0],
		ShouldEmitFunc: func(event string) bool { return event != "tls_get_certificate" },
	})
	template := certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true, TrustedRoots: roots, Profile: c.Profile, Logger: logger,
		DisableHTTPChallenge: !c.HTTP, DisableTLSALPNChallenge: !c.TLSALPN,
	}
	if c.AccountID != "" {
		template.ExternalAccount = &acmeapi.EAB{KeyID: c.AccountID, MACKey: c.AccountKey}
	}
	at := m.nowhere.Addr().(*net.TCPAddr)
	template.ListenHost, template.AltHTTPPort, template.AltTLSALPNPort = at.IP.String(), at.Port, at.Port
	m.issuer = certmagic.NewACMEIssuer(m.magic, template)
	m.magic.Issuers = []certmagic.Issuer{m.issuer}

	m.load()
	return m, nil
}

// Roots are the certificates that a directory's must be signed by, of PEM.
func Roots(pem []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca holds no certificate in PEM")
	}
	return roots, nil
}

// acceptNobody stands in for the doors: certmagic opens a listener of its own where it finds none, to answer challenges, and
// the gateway's doors come and go. It ends with Close.
func (m *Manager) acceptNobody() {
	for {
		c, err := m.nowhere.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

// load reads what the folder has.
func (m *Manager) load() {
	ctx, cancel := context.WithTimeout(m.life, loadTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, host := range m.config.Hosts {
		wg.Go(func() {
			if _, err := m.magic.CacheManagedCertificate(ctx, host); err != nil && !errors.Is(err, fs.ErrNotExist) {
				m.log.Debug("a certificate was not read", "host", host, "err", err) // Start deals with it
			}
		})
	}
	wg.Wait()
}

// Start has certificates obtained and renewed from now on. The doors must let the authority in.
func (m *Manager) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started || m.closed {
		return
	}
	m.started = true
	for _, host := range m.config.Hosts {
		m.work.Go(func() { m.obtain(host) })
	}
	m.work.Go(m.renew)
}

// obtain ends when there is a certificate for a host, or with Close.
func (m *Manager) obtain(host string) {
	for !m.has(host) {
		err := m.tryObtain(host)
		if m.life.Err() != nil {
			return
		}
		if err != nil {
			m.failed(host, err)
			select {
			case <-time.After(again):
			case <-m.life.Done():
				return
			}
		}
	}
	select {
	case m.arrived <- struct{}{}:
	default:
	}
}

// tryObtain tries again by itself, for 30 days. It returns at once where a certificate is in the folder already.
func (m *Manager) tryObtain(host string) error {
	if err := m.magic.ObtainCertAsync(m.life, host); err != nil {
		return err
	}
	_, err := m.magic.CacheManagedCertificate(m.life, host)
	if err == nil || m.life.Err() != nil {
		return err
	}
	m.log.Warn("what lies in the folder is no certificate with its key: another one is asked for", "host", host, "folder", m.config.Storage, "err", err)
	if err = m.magic.RenewCertAsync(m.life, host, true); err == nil {
		_, err = m.magic.CacheManagedCertificate(m.life, host)
	}
	return err
}

// renew looks for certificates that end soon. certmagic does so too, but not more often than checkEvery, which is too late for
// those that live for minutes. It ends with Close.
func (m *Manager) renew() {
	for every := time.Duration(0); ; {
		select {
		case <-time.After(every):
		case <-m.arrived: // how long it lives is known now
		case <-m.life.Done():
			return
		}
		every = m.interval()
		m.cache.SetOptions(certmagic.CacheOptions{
			GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil },
			RenewCheckInterval: every,
			Logger:             m.magic.Logger,
		})
		if err := m.cache.RenewManagedCertificates(m.life); err != nil && m.life.Err() == nil {
			m.log.Error("certificates could not be looked at", "err", err)
		}
	}
}

// interval is how often certificates are to be looked at.
func (m *Manager) interval() time.Duration {
	every := checkEvery
	for _, host := range m.config.Hosts {
		if cert, ok := m.certificate(host); ok {
			every = min(every, max(cert.Lifetime()/checkShare, time.Second/2))
		}
	}
	return every
}

// event is certmagic's.
func (m *Manager) event(_ context.Context, event string, data map[string]any) error {
	host, _ := data["identifier"].(string)
	renewal, _ := data["renewal"].(bool)
	switch event {
	case "cert_obtained":
		outcome := Obtained
		if renewal {
			outcome = Renewed
		}
		m.log.Info("certificate "+outcome, "host", host, "directory", m.config.Directory)
		m.count(host, outcome)
	case "cert_failed":
		err, _ := data["error"].(error)
		if m.life.Err() == nil { // else it is the end that it failed by
			m.failed(host, err)
		}
	}
	return nil
}

func (m *Manager) failed(host string, err error) {
	m.log.Error("no certificate", "host", host, "directory", m.config.Directory, "err", err)
	m.count(host, Failed)
}

func (m *Manager) certificate(host string) (certmagic.Certificate, bool) {
	var best certmagic.Certificate
	for _, c := range m.cache.AllMatchingCertificates(host) {
		if c.Leaf != nil && (best.Leaf == nil || c.Leaf.NotAfter.After(best.Leaf.NotAfter)) {
			best = c
		}
	}
	return best, best.Leaf != nil
}

func (m *Manager) has(host string) bool {
	_, ok := m.certificate(host)
	return ok
}

// Hosts are those that the manager has certificates for, or will have.
func (m *Manager) Hosts() []string { return m.config.Hosts }

// Config is what it was made of.
func (m *Manager) Config() Config { return m.config }

// Get is for [tls.Config.GetCertificate]; name is what the client wants, in the spelling of the hosts, or "" if it does not say.
func (m *Manager) Get(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	if name != "" && !slices.Contains(m.config.Hosts, name) {
		return nil, ErrUnknownName
	}
	if IsChallenge(hello) {
		return m.magic.GetCertificate(hello)
	}
	if name == "" {
		name = m.config.Hosts[0]
	}
	if !m.has(name) {
		return nil, ErrPending
	}
	return m.magic.GetCertificate(hello)
}

// IsChallenge tells whether it is an authority that asks, by tls-alpn-01 (RFC 8737).
func IsChallenge(hello *tls.ClientHelloInfo) bool {
	return slices.Equal(hello.SupportedProtos, []string{acmez.ACMETLS1Protocol})
}

// ChallengeProtocol is what a door must offer for that.
const ChallengeProtocol = acmez.ACMETLS1Protocol

// Answer answers an authority's request by http-01, for one of the hosts. It reports whether it was one.
func (m *Manager) Answer(w http.ResponseWriter, r *http.Request, host string) bool {
	return certmagic.LooksLikeHTTPChallenge(r) && slices.Contains(m.config.Hosts, host) && m.issuer.HandleHTTPChallenge(w, r)
}

// Shown is a certificate that is there.
type Shown struct {
	Host string
	File string
	Ends time.Time
}

// Shown are those that are shown to clients now.
func (m *Manager) Shown() (list []Shown) {
	for _, host := range m.config.Hosts {
		if c, ok := m.certificate(host); ok {
			file := filepath.Join(m.config.Storage, filepath.FromSlash(certmagic.StorageKeys.SiteCert(m.issuer.IssuerKey(), host)))
			list = append(list, Shown{host, file, c.Leaf.NotAfter})
		}
	}
	return list
}

// Stop begins the end: what is under way is given up.
func (m *Manager) Stop() { m.endLife() }

// Close ends it, and returns when nobody works for it any more, or with ctx. Certificates that were there can still be had.
func (m *Manager) Close(ctx context.Context) {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return
	}
	m.endLife()
	m.nowhere.Close()
	m.work.Wait()
	stopped := make(chan struct{})
	go func() { // ends with certmagic's own look at certificates, which may just ask an authority
		m.cache.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
	}
	m.storage.close(ctx)
}
