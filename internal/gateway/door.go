package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"

	"warmcgi/internal/acme"
	"warmcgi/internal/config"
	"warmcgi/internal/fcgi"
)

const (
	// headerTimeout is how long a client may take for the head of a request.
	headerTimeout = 30 * time.Second
	// keepAlive is how long a connection may be idle.
	keepAlive = 75 * time.Second
	// maxHeader is the most that the head of a request may hold: what is beyond it
	// would not fit into the environment of a process with ease.
	maxHeader = 128 << 10
)

// door is one place where requests come in. What it lets in, and what answers there, is in the state: see doorRules.
type door struct {
	kind     string // http, https, fastcgi
	key      string // kind and address, as the configuration has them
	addr     config.Address
	listener net.Listener
	unix     bool
	tls      bool // of a FastCGI door
	run      func(net.Listener) error
	unlisten func(ctx context.Context, shared bool) // nobody comes in any more
	stop     func(context.Context, ending) error
	kill     func() error
	srv      *fcgi.Server // of a FastCGI door
	shows    *certFiles   // of an admin door; others have theirs in doorRules

	owned    atomic.Bool               // a Unix socket's file is ours to remove
	draining atomic.Bool               // whoever asks is told that the connection ends
	gone     atomic.Bool               // it is closed, or about to be
	last     atomic.Pointer[doorRules] // when no configuration has it any more
}

// ending says how a door ends.
type ending struct {
	// shared: another process has its socket, too, and accepts who waits there.
	shared bool
	// linger is how long a client with an idle connection may take for a last request.
	linger time.Duration
}

// doorRules are what a configuration says of a door besides its address.
type doorRules struct {
	scripts []string        // of a FastCGI door: folders whose programs the front server may name
	named   *route          // how those are run
	front   *route          // of a script host's door: what answers, wherever the front server has it
	allow   config.Prefixes // of a FastCGI door: who may connect; none is all
	tls     *tls.Config     // nil: plain
	shows   *certFiles      // the certificate of tls

	redirect     config.DoorRedirect // where it sends everybody, or ""
	redirectPort int                 // 0: where an https door is
}

// unlistener is unlisten for a door with a queue. It may be called again.
func (d *door) unlistener(queue *lastCall) func(context.Context, bool) {
	var once sync.Once
	return func(ctx context.Context, shared bool) {
		once.Do(func() {
			d.gone.Store(true)
			queue.end(ctx, shared)
		})
	}
}

func (d *door) isDraining() bool { return d.draining.Load() }
func (d *door) isClosing() bool  { return d.gone.Load() }

// own makes the file of a Unix socket ours, and disown leaves it to another process.
func (d *door) own()    { d.setOwned(true) }
func (d *door) disown() { d.setOwned(false) }

func (d *door) setOwned(ours bool) {
	d.owned.Store(ours && d.addr.Network() == "unix")
	if u, ok := d.listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(d.owned.Load())
	}
}

func (d *door) close() {
	d.gone.Store(true)
	d.kill()
	d.listener.Close()
}

// String is the door's address, as a URL where it has one.
func (d *door) String() string {
	a := d.listener.Addr()
	if d.unix || d.kind == "fastcgi" {
		network := a.Network()
		if d.tls {
			network = "tls"
		}
		return d.kind + " " + network + ":" + a.String()
	}
	host, port, _ := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return d.kind + "://" + net.JoinHostPort(host, port) + "/"
}

// doorKeyOf tells doors apart.
func doorKeyOf(kind string, a config.Address) string { return kind + " " + a.String() }

// openDoor opens a door of the configuration, at a listener that there is, or at a new one.
func (s *Server) openDoor(c *config.Listener, l net.Listener, spare Sockets) (*door, error) {
	kind, addr := c.Door()
	d := &door{kind: kind, key: doorKeyOf(kind, addr), addr: addr, listener: l}
	if l == nil {
		var err error
		inherited := spare.has(addr)
		if d.listener, err = listen(addr, fs.FileMode(c.SocketMode), spare); err != nil {
			return nil, fmt.Errorf("door %s: %w", d.key, err)
		}
		d.setOwned(!inherited)
	}
	d.unix = d.listener.Addr().Network() == "unix"
	if kind == "fastcgi" {
		s.fastcgiDoor(d)
	} else {
		s.httpDoor(d)
	}
	return d, nil
}

// newRules reads what belongs to a door, certificates too.
func (s *Server) newRules(c *config.Config, l *config.Listener) (r *doorRules, err error) {
	kind, addr := l.Door()
	if kind == "fastcgi" {
		r, err = s.fastcgiRules(c, l)
	} else {
		r = &doorRules{}
	}
	if err == nil {
		r.redirect, r.redirectPort = l.Redirect, l.RedirectPort
	}
	if t := l.TLS; err == nil && t != nil && t.ACME == nil {
		r.tls, r.shows, err = s.tlsConfig(&config.TLS{Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA})
		if err == nil && kind == "https" {
			r.tls.NextProtos = []string{"h2", "http/1.1"}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("door %s: %w", doorKeyOf(kind, addr), err)
	}
	return r, nil
}

// rules are those of a door now.
func (s *Server) rules(d *door) *doorRules { return s.state.Load().rules(d) }

func (s *Server) httpDoor(d *door) {
	conns := &clientConns{unheard: s.unheard}
	srv := &http.Server{
		Handler:        s.track(s),
		IdleTimeout:    keepAlive,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(quietHandler{s.log.Handler()}, slog.LevelDebug),
		ConnContext:    withConn,
		ConnState:      conns.changed,
		BaseContext:    func(net.Listener) context.Context { return context.WithValue(context.Background(), doorKey{}, d) },
		Protocols:      new(http.Protocols),
	}
	secret := d.kind == "https"
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(secret)
	srv.Protocols.SetUnencryptedHTTP2(!secret)
	queue := newLastCall(d.listener, &d.owned)
	wrap := func() net.Listener {
		srv.ReadHeaderTimeout = s.headTime // of a TLS handshake, too
		return connListener{&proxyproto.Listener{Listener: queue, ConnPolicy: s.proxyPolicy(d), ReadHeaderTimeout: s.headTime}, s.stall}
	}
	d.run = func(net.Listener) error { return srv.Serve(wrap()) }
	if secret {
		srv.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				if acme.IsChallenge(hello) && len(s.state.Load().acme) > 0 {
					return s.challengeTLS, nil
				}
				return s.rules(d).tls, nil
			},
		}
		d.run = func(net.Listener) error { return srv.ServeTLS(wrap(), "", "") }
	}
	d.unlisten = d.unlistener(queue)
	d.stop = func(ctx context.Context, how ending) error {
		d.unlisten(ctx, how.shared)
		if how.linger > 0 {
			d.draining.Store(true)
			conns.drain(ctx, how.linger)
		}
		return srv.Shutdown(ctx)
	}
	d.kill = srv.Close
}

// proxyPolicy believes a PROXY protocol header from a trusted proxy only; from
// anybody else it is what it looks like, a broken request.
func (s *Server) proxyPolicy(d *door) proxyproto.ConnPolicyFunc {
	return func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		trusted := s.state.Load().config.TrustedProxies
		if len(trusted) > 0 && isTrusted(o.Upstream.String(), trusted, d.unix) {
			return proxyproto.USE, nil
		}
		return proxyproto.SKIP, nil
	}
}

// track counts the requests under way.
func (s *Server) track(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer s.busy.Add(-1)
		h.ServeHTTP(w, r)
	})
}

type doorKey struct{}

// doorOf is the door of a request.
func doorOf(ctx context.Context) *door {
	d, _ := ctx.Value(doorKey{}).(*door)
	return d
}

// listen opens an address, unless somebody has: then that socket is taken. A Unix socket that nobody listens at any more is
// in the way and removed; one that somebody does is an error.
func listen(addr config.Address, mode fs.FileMode, spare Sockets) (net.Listener, error) {
	if l := spare.take(addr); l != nil {
		return l, nil
	}
	switch addr.Network() {
	case "systemd":
		return nil, fmt.Errorf("systemd has passed no socket named %q (see FileDescriptorName= of the .socket unit)", addr.Addr())
	case "unix":
		return listenUnix(addr.Addr(), mode)
	case "tcp", "tls":
		return net.Listen("tcp", addr.Addr())
	}
	return nil, fmt.Errorf("can't listen at %s", addr)
}

func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		if c, derr := net.DialTimeout("unix", path, time.Second); derr == nil {
			c.Close()
			return nil, fmt.Errorf("somebody listens there already: %w", err)
		}
		if info, serr := os.Lstat(path); serr != nil || info.Mode()&fs.ModeSocket == 0 {
			return nil, err
		}
		if rerr := os.Remove(path); rerr != nil {
			return nil, errors.Join(err, rerr)
		}
		if l, err = net.Listen("unix", path); err != nil {
			return nil, err
		}
	}
	if err := setMode(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// setMode sets the permissions of a Unix socket.
func setMode(path string, mode fs.FileMode) error {
	if mode == 0 {
		mode = 0o660
	}
	return os.Chmod(path, mode)
}

// quietHandler sends net/http's own messages (a client's bad TLS handshake and the
// like) to the debug level.
type quietHandler struct{ slog.Handler }
