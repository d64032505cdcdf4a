package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"warmcgi/internal/config"
	"warmcgi/internal/fcgi"
)

// frontPath is the path of a route that is wherever the front server has it.
const frontPath = "(front)"

func (s *Server) fastcgiDoor(d *door) {
	d.tls = d.addr.Network() == "tls"
	srv := &fcgi.Server{
		Handler:     s.track(s),
		ErrorLog:    s.log,
		MaxConns:    maxFronts(),
		BaseContext: func(net.Listener) context.Context { return context.WithValue(context.Background(), doorKey{}, d) },
	}
	d.srv = srv
	queue := newLastCall(d.listener, &d.owned)
	d.run = func(net.Listener) error {
		srv.WriteTimeout = s.stall
		return srv.Serve(&guard{Listener: queue, s: s, door: d})
	}
	d.unlisten = d.unlistener(queue)
	d.stop = func(ctx context.Context, how ending) error {
		d.unlisten(ctx, how.shared)
		return srv.Leave(ctx, how.linger)
	}
	d.kill = srv.Close
}

func (s *Server) fastcgiRules(c *config.Config, l *config.Listener) (r *doorRules, err error) {
	r = &doorRules{scripts: l.Scripts, allow: l.Allow}
	if l.FastCGI.Network() == "tls" && l.TLS == nil { // not from a file
		return nil, errors.New("a tls: address needs a certificate and a key")
	}
	if r.named, err = namedRoute(c, l.Scripts); err != nil {
		return nil, err
	}
	if l.Front != nil {
		r.front, err = frontRoute(c, *l.Front)
	}
	return r, err
}

// warnOfOpenDoor: who can connect can run programs.
func (s *Server) warnOfOpenDoor(d *door, l *config.Listener) {
	if isOpen(d.listener.Addr()) && len(l.Allow) == 0 && (l.TLS == nil || l.TLS.ClientCA == "") {
		s.log.Warn("whoever reaches this FastCGI door can run programs here, and pass for any user: give it a client_ca, allow only some networks, or keep others out by a firewall", "door", d.String())
	}
}

// namedRoute holds the settings of programs that a front server names: those of
// defaults. DOCUMENT_ROOT is the front server's.
func namedRoute(conf *config.Config, folders []string) (*route, error) {
	c := *conf
	c.DocumentRoot = ""
	rt, err := newRoute(&c, config.Route{Path: frontPath, Settings: c.Defaults})
	if err == nil {
		rt.folders = folders
	}
	return rt, err
}

// frontRoute is what answers at a script host's door. DOCUMENT_ROOT is the front server's,
// if it has one.
func frontRoute(c *config.Config, r config.Route) (*route, error) {
	if r.Path == "" {
		r.Path = frontPath
	}
	rt, err := newRoute(c, r)
	if err == nil {
		rt.ownRoot, rt.docRoot = rt.docRoot, ""
	}
	return rt, err
}

// isOpen tells whether others than this machine can reach an address.
func isOpen(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}

// A guard lets in whom a FastCGI door is for.
type guard struct {
	net.Listener
	s    *Server
	door *door
}

// Accept closes the connections of peers that are not allowed. It does not wait for a TLS
// handshake: that is begun by the first Read.
func (g *guard) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		rules := g.s.rules(g.door)
		if len(rules.allow) > 0 && !isTrusted(c.RemoteAddr().String(), rules.allow, false) {
			c.Close()
			g.refused(c, "address", errors.New("not one of `allow`"))
			continue
		}
		if rules.tls == nil {
			return c, nil
		}
		return &tlsConn{Conn: tls.Server(c, rules.tls), g: g}, nil
	}
}

// refused tells of a peer that was not let in.
func (g *guard) refused(c net.Conn, why string, err error) {
	g.s.metrics.refused.WithLabelValues(g.door.metricName(), why).Inc()
	g.s.log.Warn("connection refused", "door", g.door.String(), "remote", c.RemoteAddr().String(), "why", why, "err", err)
}

// A tlsConn tells the guard of a handshake that fails. Only one goroutine may read.
type tlsConn struct {
	*tls.Conn
	g     *guard
	shook bool
	err   error
}

// Read does the handshake first, within the read deadline.
func (c *tlsConn) Read(b []byte) (int, error) {
	if !c.shook {
		c.shook = true
		if err := c.Handshake(); err != nil {
			c.err = fmt.Errorf("TLS handshake: %w", err)
			c.g.refused(c, "tls", c.err)
		}
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(b)
}
