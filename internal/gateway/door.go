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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

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

// door is one place where requests come in.
type door struct {
	kind     string // http, https, fastcgi
	listener net.Listener
	unix     bool
	scripts  []string // of a FastCGI door: folders whose programs the front server may name
	named    *route   // how those are run
	run      func(net.Listener) error
	stop     func(context.Context) error
	kill     func() error
}

func (d *door) serve() error                       { return d.run(d.listener) }
func (d *door) shutdown(ctx context.Context) error { return d.stop(ctx) }

func (d *door) close() {
	d.kill()
	d.listener.Close()
}

// String is the door's address, as a URL where it has one.
func (d *door) String() string {
	a := d.listener.Addr()
	if d.unix || d.kind == "fastcgi" {
		return d.kind + " " + a.Network() + ":" + a.String()
	}
	host, port, _ := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return d.kind + "://" + net.JoinHostPort(host, port) + "/"
}

// openDoor listens at one door of the configuration.
func (s *Server) openDoor(c *config.Listener, inherited map[string][]net.Listener) (*door, error) {
	kind, addr := c.Door()
	l, err := listen(addr, fs.FileMode(c.SocketMode), inherited)
	if err != nil {
		return nil, fmt.Errorf("door %s %s: %w", kind, addr, err)
	}
	d := &door{kind: kind, listener: l, unix: l.Addr().Network() == "unix", scripts: c.Scripts}
	if kind == "fastcgi" {
		if d.named, err = s.namedRoute(); err != nil {
			l.Close()
			return nil, err
		}
		s.fastcgiDoor(d)
		return d, nil
	}
	if err := s.httpDoor(d, c.TLS); err != nil {
		l.Close()
		return nil, fmt.Errorf("door %s %s: %w", kind, addr, err)
	}
	return d, nil
}

func (s *Server) httpDoor(d *door, files *config.TLS) error {
	srv := &http.Server{
		Handler:           s.track(s),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(quietHandler{s.log.Handler()}, slog.LevelDebug),
		ConnContext:       withConn,
		BaseContext:       func(net.Listener) context.Context { return context.WithValue(context.Background(), doorKey{}, d) },
		Protocols:         new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(files != nil)
	srv.Protocols.SetUnencryptedHTTP2(files == nil)
	d.stop, d.kill = srv.Shutdown, srv.Close
	wrap := func(l net.Listener) net.Listener {
		if len(s.trusted) > 0 {
			l = &proxyproto.Listener{Listener: l, ConnPolicy: s.proxyPolicy(d), ReadHeaderTimeout: headerTimeout}
		}
		return connListener{l, s.stall}
	}
	if files == nil {
		d.run = func(l net.Listener) error { return srv.Serve(wrap(l)) }
		return nil
	}
	certs := &certFiles{cert: files.Cert, key: files.Key, log: s.log}
	if err := certs.load(); err != nil {
		return err
	}
	srv.TLSConfig = &tls.Config{GetCertificate: certs.get, MinVersion: tls.VersionTLS12}
	d.run = func(l net.Listener) error { return srv.ServeTLS(wrap(l), "", "") }
	return nil
}

// proxyPolicy believes a PROXY protocol header from a trusted proxy only; from
// anybody else it is what it looks like, a broken request.
func (s *Server) proxyPolicy(d *door) proxyproto.ConnPolicyFunc {
	return func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		if isTrusted(o.Upstream.String(), s.trusted, d.unix) {
			return proxyproto.USE, nil
		}
		return proxyproto.SKIP, nil
	}
}

// namedRoute holds the settings of programs that a front server names: those of
// defaults. DOCUMENT_ROOT is the front server's.
func (s *Server) namedRoute() (*route, error) {
	c := *s.config
	c.DocumentRoot = ""
	return newRoute(&c, config.Route{Path: "(front)", Settings: c.Defaults})
}

func (s *Server) fastcgiDoor(d *door) {
	srv := &fcgi.Server{
		Handler:     s.track(s),
		ErrorLog:    s.log,
		BaseContext: func(net.Listener) context.Context { return context.WithValue(context.Background(), doorKey{}, d) },
	}
	d.run, d.stop, d.kill = srv.Serve, srv.Shutdown, srv.Close
}

// track counts the requests under way.
func (s *Server) track(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer s.busy.Done()
		h.ServeHTTP(w, r)
	})
}

type doorKey struct{}

// doorOf is the door of a request.
func doorOf(ctx context.Context) *door {
	d, _ := ctx.Value(doorKey{}).(*door)
	return d
}

// listen opens an address. A Unix socket that nobody listens at any more is in the
// way and removed; one that somebody does is an error.
func listen(addr config.Address, mode fs.FileMode, inherited map[string][]net.Listener) (net.Listener, error) {
	switch addr.Network() {
	case "systemd":
		ls := inherited[addr.Addr()]
		if len(ls) == 0 {
			return nil, fmt.Errorf("systemd has passed no socket named %q (see FileDescriptorName= of the .socket unit)", addr.Addr())
		}
		inherited[addr.Addr()] = ls[1:]
		return ls[0], nil
	case "unix":
		return listenUnix(addr.Addr(), mode)
	case "tcp":
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
	if mode == 0 {
		mode = 0o660
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// inheritedSockets are those that systemd has passed (sd_listen_fds(3)), by name.
// The variables are taken away, so that no child believes they are meant for it.
func inheritedSockets() (map[string][]net.Listener, error) {
	defer func() {
		for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
			os.Unsetenv(v)
		}
	}()
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if n <= 0 || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	sockets := map[string][]net.Listener{}
	for i := range n {
		f := os.NewFile(uintptr(3+i), "LISTEN_FD")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("socket %d of systemd: %w", i, err)
		}
		name := "unknown"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		sockets[name] = append(sockets[name], l)
	}
	return sockets, nil
}

// certFiles are the certificate of a door, read again when they change.
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

// quietHandler sends net/http's own messages (a client's bad TLS handshake and the
// like) to the debug level.
type quietHandler struct{ slog.Handler }
