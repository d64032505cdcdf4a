package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"warmcgi/internal/admin"
	"warmcgi/internal/config"
)

// openAdmin is the door for those who run the gateway. It never asks a script for
// anything, so it answers also when every script is stuck.
func (s *Server) openAdmin(c *config.Admin, spare Sockets) (*door, error) {
	d, err := s.listenAdmin(c, spare)
	if err != nil {
		return nil, fmt.Errorf("admin door %s: %w", c.Listen, err)
	}
	return d, nil
}

func (s *Server) listenAdmin(c *config.Admin, spare Sockets) (*door, error) {
	guard := admin.Guard{Hosts: c.AllowHosts}
	if c.HasToken() {
		var err error
		if guard.Token, err = admin.ReadToken(c.TokenFile, c.TokenEnv); err != nil {
			return nil, err
		}
	}
	var secret *tls.Config
	var shows *certFiles
	if c.TLS != nil {
		var err error
		if secret, shows, err = s.tlsConfig(c.TLS); err != nil {
			return nil, err
		}
		secret.NextProtos = []string{"h2", "http/1.1"}
	}
	inherited := spare.has(c.Listen)
	l, err := listen(c.Listen, 0o600, spare)
	if err != nil {
		return nil, err
	}
	isUnix := l.Addr().Network() == "unix"
	if guard.Private = isUnix || secret != nil; !guard.Private {
		if host, _, err := net.SplitHostPort(c.Listen.Addr()); err == nil && host != "" {
			guard.Hosts = append(guard.Hosts, host)
		}
	}
	// What the address came to: localhost may be anything, and a socket of systemd's, too.
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && !c.HasToken() && !c.WantsCertificate() {
		l.Close()
		return nil, fmt.Errorf("%s can be reached by other machines: it needs a token, or TLS with client certificates", a)
	}
	srv := &http.Server{
		ReadHeaderTimeout: headerTimeout, IdleTimeout: keepAlive, MaxHeaderBytes: maxHeader, ConnContext: admin.WithPeer,
		ErrorLog: slog.NewLogLogger(quietHandler{s.log.Handler()}, slog.LevelDebug),
	}
	leads := admin.New(adminView{s}, admin.Config{Guard: guard, Pprof: c.Pprof, Registry: s.metrics.registry, Log: s.log})
	srv.Handler = leads
	d := &door{kind: "http", key: doorKeyOf("admin", c.Listen), addr: c.Listen, listener: l, unix: isUnix, shows: shows}
	d.setOwned(!inherited)
	if secret != nil {
		d.kind, srv.TLSConfig = "https", secret
	}
	d.run = func(l net.Listener) error {
		leads.Start()
		if secret != nil {
			return srv.ServeTLS(l, "", "")
		}
		return srv.Serve(l)
	}
	d.kill = func() error {
		leads.Close()
		return srv.Close()
	}
	d.stop = func(ctx context.Context, _ ending) error {
		leads.Close()
		return srv.Shutdown(ctx)
	}
	return d, nil
}
