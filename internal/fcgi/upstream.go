package fcgi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/jackc/puddle/v2"

	"warmcgi/internal/cgi"
)

// UpstreamConfig says which servers an [Upstream] has.
type UpstreamConfig struct {
	// Servers are those whose addresses are known.
	Servers []TransportConfig
	// Name is a HOST:PORT whose host has several addresses, or an SRV name (_app._tcp.HOST,
	// RFC 2782); each address is one server, set up like Each. It is looked up every Refresh.
	Name    string
	Each    TransportConfig
	Refresh time.Duration
	// Resolver is for tests; nil is the system's.
	Resolver Resolver
	// RoundRobin takes the servers in turn; otherwise the one with the fewest requests is
	// taken.
	RoundRobin bool
	// SlowStart is the time over which a server that has come, or come back, gets from a
	// tenth of its share of the requests to all of it; 0 gives it all at once.
	SlowStart time.Duration
	// Health says how servers are looked after; the zero value does not.
	Health Health
	// Log is told of servers that come and go. It must not be nil.
	Log *slog.Logger
	// Waiting and Waited are told of requests that wait for a server with a free
	// connection, as those of [cgi.QueueConfig] are. They may be nil.
	Waiting func(req *cgi.Request, delta int)
	Waited  func(req *cgi.Request, d time.Duration, err error)
	// LeftOut is told when a server is left out, and Retried when a request goes to another
	// server, with a word for why: see the Why constants. They may be nil.
	LeftOut func(server, why string)
	Retried func(req *cgi.Request, why string)
}

// Why a server is left out, or a request goes to another one.
const (
	WhyUnreachable = "unreachable" // no connection can be made
	WhyLost        = "lost"        // the connection ended before anything came back
	WhyOverloaded  = "overloaded"  // it says so (spec 5.5)
	WhyFailing     = "failing"     // several requests in a row have failed
	WhyUnhealthy   = "unhealthy"   // the health checks fail
)

// An Upstream is a [cgi.Backend]: several servers of the same application. A request goes
// to one of them, in order of arrival as there are free connections; it waits as long as
// [cgi.Request].Queue says.
//
// It goes to another server when its own can't be reached or is overloaded; and once, when
// its method is safe, after the connection was lost with nothing come back.
//
// A server that can't be reached is left out until a connection can be made, which is tried
// after a second, then two, four … and half a minute at most. One whose requests fail three
// times in a row is left out for such a time; one whose health checks fail, until they pass.
// When all are left out, all are tried.
type Upstream struct {
	c       UpstreamConfig
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup // goroutines: one for each server, and what looks the name up

	mu      sync.Mutex
	servers []*server
	turn    int
	line    []*waiter // requests that wait, in order of arrival
	pace    cgi.Pace  // of line
}

// NewUpstream makes no connection yet, but looks a name up.
func NewUpstream(c UpstreamConfig) (*Upstream, error) {
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	u := &Upstream{c: c}
	u.ctx, u.stop = context.WithCancel(context.Background())
	for _, tc := range c.Servers {
		s, err := u.newServer(tc, 1)
		if err != nil {
			u.Close(context.Background()) // none has a request
			return nil, err
		}
		u.servers = append(u.servers, s)
		u.start(s)
	}
	if c.Name != "" {
		u.lookUp()
		u.running.Go(u.refresh) // ends with Close
	}
	return u, nil
}

// Close closes the connections of all servers, see [Transport.Close].
func (u *Upstream) Close(ctx context.Context) {
	u.stop()
	u.running.Wait()
	u.mu.Lock()
	servers := u.servers
	u.servers = nil
	u.serveLine() // there is none
	u.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() { s.Close(ctx) })
	}
	wg.Wait()
}

// RoundTrip implements [cgi.Backend].
func (u *Upstream) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	req.Mode = cgi.ModeFastCGI
	var tried attempts
	for {
		s, err := u.place(ctx, req, &tried)
		if err != nil {
			return nil, u.give(req, err)
		}
		res, err := s.attempt(ctx, req)
		if err == nil {
			u.answered(s)
			req.AtEnd(func(cgi.Exit) { u.done(s) })
			return res, nil
		}
		u.judge(s, err)
		u.done(s)
		why := s.again(req, err, &tried)
		if why == "" {
			return nil, u.give(req, err)
		}
		tried.note(s, err)
		if u.c.Retried != nil {
			u.c.Retried(req, why)
		}
	}
}

func (u *Upstream) give(req *cgi.Request, err error) error {
	req.End(cgi.Exit{})
	return fmt.Errorf("script %s: %w", req.Script.Name, err)
}

// attempts are the servers that one request was sent to without success.
type attempts struct {
	// failed servers are not asked again: they can't be reached, or want no more requests.
	failed []*server
	// lost is the server whose connection was lost; it is asked again only if there is no
	// other.
	lost *server
	err  error // the last failure
}

func (a *attempts) note(s *server, err error) {
	a.err = err
	if errors.Is(err, errUnheard) {
		a.lost = s
	} else {
		a.failed = append(a.failed, s)
	}
}

// again tells why a request goes to another server after a failure; "" is that it doesn't.
func (s *server) again(req *cgi.Request, err error, tried *attempts) string {
	switch {
	case errors.Is(err, cgi.ErrGone):
		return ""
	case errors.Is(err, cgi.ErrUnreachable):
		return WhyUnreachable
	case errors.Is(err, cgi.ErrOverloaded) && resendable(req):
		return WhyOverloaded
	case errors.Is(err, errUnheard) && s.safe(req) && tried.lost == nil:
		return WhyLost
	}
	return ""
}

// judge learns from the failure of a request.
func (u *Upstream) judge(s *server, err error) {
	switch {
	case errors.Is(err, puddle.ErrClosedPool): // it is no server of the name's any more
	case errors.Is(err, cgi.ErrUnreachable):
		u.leaveOut(s, WhyUnreachable, err)
	case errors.Is(err, errUnheard), errors.Is(err, cgi.ErrTimeout), errors.Is(err, ErrProtocol):
		u.strike(s, err)
	}
}
