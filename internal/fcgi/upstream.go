package fcgi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/puddle/v2"

	"warmcgi/internal/cgi"
)

// UpstreamConfig says which servers an [Upstream] has.
type UpstreamConfig struct {
	// Servers are those whose addresses are known.
	Servers []TransportConfig
	// Name is a HOST:PORT whose host has several addresses; each is one server, set up like
	// Each. It is looked up every Refresh.
	Name    string
	Each    TransportConfig
	Refresh time.Duration
	// Lookup is for tests; nil is the system's resolver.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// RoundRobin takes the servers in turn; otherwise the one with the fewest requests is
	// taken.
	RoundRobin bool
	// Log is told of servers that come and go. It must not be nil.
	Log *slog.Logger
}

// An Upstream is a [cgi.Backend]: several servers of the same application. A request goes
// to one of them; to another one if that can't be reached. A server that can't be reached
// is left out for a second, then two, four … and half a minute at most; when all are left
// out, all are tried.
type Upstream struct {
	c        UpstreamConfig
	stop     context.CancelFunc // of what looks the name up
	watching sync.WaitGroup

	mu      sync.Mutex
	servers []*server
	turn    int
}

// server is one address. All fields but the first two belong to the lock of the Upstream.
type server struct {
	*Transport
	name     string
	running  int       // requests it has
	failures int       // in a row
	until    time.Time // left out
}

const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// NewUpstream makes no connection yet, but looks a name up.
func NewUpstream(c UpstreamConfig) (*Upstream, error) {
	u := &Upstream{c: c, stop: func() {}}
	for _, tc := range c.Servers {
		if err := u.add(tc); err != nil {
			u.Close(context.Background()) // none has a connection
			return nil, err
		}
	}
	if c.Name != "" {
		if err := u.watch(); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func (u *Upstream) add(c TransportConfig) error {
	t, err := NewTransport(c)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.servers = append(u.servers, &server{Transport: t, name: c.Network + ":" + c.Address})
	return nil
}

// Close closes the connections of all servers, see [Transport.Close].
func (u *Upstream) Close(ctx context.Context) {
	u.stop()
	u.watching.Wait()
	u.mu.Lock()
	servers := u.servers
	u.servers = nil
	u.mu.Unlock()
	closeAll(ctx, servers)
}

func closeAll(ctx context.Context, servers []*server) {
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() { s.Close(ctx) })
	}
	wg.Wait()
}

// RoundTrip implements [cgi.Backend].
func (u *Upstream) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	req.Mode = cgi.ModeFastCGI
	tried := map[*server]bool{}
	for {
		s := u.choose(tried)
		if s == nil {
			req.End(cgi.Exit{})
			return nil, fmt.Errorf("script %s: %w: none of its servers (%d were tried)", req.Script.Name, cgi.ErrUnreachable, len(tried))
		}
		a, err := s.begin(ctx, req)
		if err != nil {
			u.done(s)
			if !errors.Is(err, cgi.ErrUnreachable) {
				req.End(cgi.Exit{})
				return nil, fmt.Errorf("script %s: %w", req.Script.Name, err)
			}
			tried[s] = true
			if !errors.Is(err, puddle.ErrClosedPool) { // it is no server of the name's any more
				u.failed(s, err)
			}
			continue
		}
		u.reached(s)
		req.AtEnd(func(cgi.Exit) { u.done(s) })
		return s.answer(ctx, req, a)
	}
}

// choose takes a server that was not tried yet, and counts the request; nil: there is none.
func (u *Upstream) choose(tried map[*server]bool) *server {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	var best *server
	better := func(s *server) bool {
		out, bestOut := now.Before(s.until), best != nil && now.Before(best.until)
		return best == nil || !out && bestOut || out == bestOut && !u.c.RoundRobin && s.running < best.running
	}
	for i := range u.servers {
		if s := u.servers[(u.turn+i)%len(u.servers)]; !tried[s] && better(s) {
			best = s
		}
	}
	u.turn++
	if best != nil {
		best.running++
	}
	return best
}

func (u *Upstream) done(s *server) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.running--
}

// failed leaves a server out for a while.
func (u *Upstream) failed(s *server, err error) {
	u.mu.Lock()
	pause := min(firstPause<<min(s.failures, 10), maxPause)
	s.failures++
	s.until = time.Now().Add(pause)
	u.mu.Unlock()
	u.c.Log.Warn("a FastCGI server can't be reached", "server", s.name, "err", err, "again_in", pause)
}

func (u *Upstream) reached(s *server) {
	u.mu.Lock()
	back := s.failures > 0
	s.failures, s.until = 0, time.Time{}
	u.mu.Unlock()
	if back {
		u.c.Log.Info("a FastCGI server is back", "server", s.name)
	}
}
