package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"strconv"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/fcgi"
	"warmcgi/internal/probe"
)

// newUpstream makes the servers of a route's FastCGI application. shows is the certificate that
// they see, or nil.
func (s *Server) newUpstream(route string, c *config.FastCGI, authorizer bool, stderr func(*cgi.Request, string)) (u *fcgi.Upstream, shows *certFiles, err error) {
	each := fcgi.TransportConfig{Network: "tcp", Applications: &s.behind, MaxConns: conns(c), Connect: time.Duration(c.Connect), Keep: time.Duration(c.Keep), Stderr: stderr, Authorizer: authorizer}
	if c.TLS != nil {
		if each.TLS, shows, err = s.clientTLS(c.TLS); err != nil {
			return nil, nil, fmt.Errorf("tls of route %s: %w", route, err)
		}
		each.Network = "tls" // of dns; other addresses say it themselves
	}
	uc := fcgi.UpstreamConfig{
		Name: c.DNS, Each: each, Refresh: time.Duration(c.Refresh),
		RoundRobin: c.Balance == config.BalanceRoundRobin, SlowStart: time.Duration(c.SlowStart), Health: health(c.Health),
		Log:     s.log.With("route", route),
		Waiting: s.metrics.waitingChanged,
		Waited:  s.metrics.waitedFor,
		LeftOut: func(server, why string) { s.metrics.leftOut.WithLabelValues(route, server, why).Inc() },
		Retried: func(_ *cgi.Request, why string) { s.metrics.retried.WithLabelValues(route, why).Inc() },
	}
	for _, a := range c.Servers {
		tc := each
		tc.Network, tc.Address = a.Network(), a.Addr()
		uc.Servers = append(uc.Servers, tc)
	}
	u, err = fcgi.NewUpstream(uc)
	return u, shows, err
}

// conns is max_conns, which may be no limit.
func conns(c *config.FastCGI) int {
	if c.MaxConns == 0 {
		return int(defaultProcesses())
	}
	return c.MaxConns
}

// health makes the checks of a configuration; without one there are none.
func health(c *config.Health) fcgi.Health {
	if c == nil {
		return fcgi.Health{}
	}
	h := fcgi.Health{Every: time.Duration(c.Every), Timeout: time.Duration(c.Timeout), Fails: c.Fails}
	path := c.Path
	switch c.Check {
	case config.CheckConnect:
		h.Check = fcgi.CheckConnect
	case config.CheckPing:
		if path == "" {
			path = "/ping"
		}
		h.Check = func(ctx context.Context, t fcgi.TransportConfig) (fcgi.Condition, error) {
			return fcgi.Condition{}, target(t).Ping(ctx, path)
		}
	case config.CheckStatus:
		if path == "" {
			path = "/status"
		}
		h.Check = func(ctx context.Context, t fcgi.TransportConfig) (fcgi.Condition, error) {
			s, err := target(t).FPMStatus(ctx, path)
			return fcgi.Condition{Room: children(s)}, err
		}
	default:
		h.Check = func(ctx context.Context, t fcgi.TransportConfig) (fcgi.Condition, error) {
			v, err := target(t).Values(ctx)
			return limits(v, t), err
		}
	}
	return h
}

func target(c fcgi.TransportConfig) probe.Target {
	return probe.Target{Network: c.Network, Address: c.Address, TLS: c.TLS}
}

// children is how many requests php-fpm can have at once: pm.max_children is not among what
// its status tells, but in a static pool it is all there are, and in others as many as were
// active when the limit was reached. 0 is not known.
func children(s probe.Status) int {
	switch {
	case s.Manager == "static":
		return s.Total
	case s.MaxChildrenReached > 0:
		return s.MaxActive
	}
	return 0
}

// limits is what an application says of itself (spec 4.1). One means nothing: libfcgi says
// it of each of its processes, however many share the socket.
func limits(values map[string]string, c fcgi.TransportConfig) fcgi.Condition {
	n, err := strconv.Atoi(values["FCGI_MAX_CONNS"])
	if err != nil || n <= 1 {
		return fcgi.Condition{}
	}
	return fcgi.Condition{Room: n, Ours: n >= c.MaxConns}
}

// clientTLS is how the gateway makes itself known to servers, and knows them.
func (s *Server) clientTLS(c *config.ClientTLS) (tc *tls.Config, shows *certFiles, err error) {
	tc = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.Name}
	if c.CA != "" {
		if tc.RootCAs, err = authorities(c.CA); err != nil {
			return nil, nil, err
		}
	}
	if c.Cert != "" {
		if shows, err = s.readCertificate(c.Cert, c.Key); err != nil {
			return nil, nil, err
		}
		tc.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shows.get(nil) }
	}
	return tc, shows, nil
}
