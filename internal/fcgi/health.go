package fcgi

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"warmcgi/internal/cgi"
)

// Health says how an [Upstream] looks after its servers.
type Health struct {
	// Check asks a server how it is. An error is that it is not well. nil: there are no
	// checks.
	Check func(ctx context.Context, c TransportConfig) (Condition, error)
	// Every is the time between checks. It must be positive where there are any.
	Every time.Duration
	// Timeout bounds one check.
	Timeout time.Duration
	// Fails is how many checks in a row must fail. It must be positive.
	Fails int
}

// Condition is what a check tells of a server.
type Condition struct {
	// Room is how many requests it can have at once; 0 is not known.
	Room int
	// Ours is set where so many connections of ours are taken, whoever else there is; none
	// needs to be closed for another one then.
	Ours bool
}

// CheckConnect is a [Health].Check that makes a connection. A process that hangs passes
// it: the system makes connections on its behalf.
func CheckConnect(ctx context.Context, c TransportConfig) (Condition, error) {
	l, err := dial(ctx, c.Network, c.Address, c.TLS)
	if err == nil {
		l.close()
	}
	return Condition{}, err
}

// lookAfter checks a server's health, and tries to reach one that is unreachable. It ends
// with ctx.
func (u *Upstream) lookAfter(ctx context.Context, s *server) {
	h := u.c.Health
	var next time.Time // of the checks
	if h.Check != nil {
		next = time.Now()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	failed := 0
	for {
		at := u.reconnectAt(s)
		if !next.IsZero() && (at.IsZero() || next.Before(at)) {
			at = next
		}
		if at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			continue
		case <-timer.C:
		}
		if !next.IsZero() && !time.Now().Before(next) {
			next = time.Now().Add(h.Every)
			is, err := u.check(ctx, s)
			switch {
			case err == errPutOff || ctx.Err() != nil:
			case err == nil:
				failed = 0
				u.setHealth(s, is, nil)
			default:
				if failed++; failed >= h.Fails {
					u.setHealth(s, is, err)
				} else {
					next = time.Now() // be sure soon
				}
			}
			continue
		}
		u.reconnect(ctx, s)
	}
}

// errPutOff: a server is not to be checked now.
var errPutOff = fmt.Errorf("not now: all its connections are in use, or the gateway has nothing left to ask with")

// check asks a server how it is. One that has all the requests it can have may be unable to
// answer a check, and is left in peace; one that answers requests is well.
func (u *Upstream) check(ctx context.Context, s *server) (Condition, error) {
	u.mu.Lock()
	full := s.running >= s.roomNow(time.Now()) && !s.unhealthy
	u.mu.Unlock()
	if full {
		return Condition{}, errPutOff
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, u.c.Health.Timeout)
	defer cancel()
	is, err := u.c.Health.Check(ctx, s.c)
	if err != nil && s.heardSince(began) {
		return Condition{}, nil
	}
	if cgi.IsExhausted(err) { // that says nothing of the server
		return Condition{}, errPutOff
	}
	return is, err
}

// reconnectAt is when a server that is unreachable should be tried; zero is never.
func (u *Upstream) reconnectAt(s *server) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !s.unreachable {
		return time.Time{}
	}
	return s.until
}

// reconnect tries to reach a server, so that no request has to.
func (u *Upstream) reconnect(ctx context.Context, s *server) {
	dctx, cancel := context.WithTimeout(ctx, s.c.Connect)
	defer cancel()
	_, err := CheckConnect(dctx, s.c)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		u.leaveOut(s, WhyUnreachable, err)
		return
	}
	u.mu.Lock()
	back := s.unreachable
	if back {
		s.unreachable, s.pauses = false, 0
		u.backLocked(s)
	}
	u.mu.Unlock()
	if back {
		u.c.Log.Info("a FastCGI server is back: it can be reached", "server", s.name)
	}
}

// tlsFor is c with the name of the host that was asked for, where an address was found
// under it.
func tlsFor(c *tls.Config, host string) *tls.Config {
	if c == nil || c.ServerName != "" {
		return c
	}
	c = c.Clone()
	c.ServerName = host
	return c
}
