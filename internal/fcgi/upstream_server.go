package fcgi

import (
	"context"
	"slices"
	"time"
)

// server is one address of an [Upstream]. All fields below mu's line belong to the lock of
// the Upstream.
type server struct {
	*Transport
	name   string
	weight float64            // its share of the requests against others'
	stop   context.CancelFunc // of its goroutine
	wake   chan struct{}      // tells the goroutine that a connection should be tried

	// The lock is the Upstream's.
	running      int       // requests it has
	room         int       // requests it may have: max_conns, or less where its status page says so
	learned      int       // requests that it was seen to take
	learnedUntil time.Time // how long that holds
	since        time.Time // it came, or came back; zero: before the first request
	strikes      int       // requests that have failed in a row
	pauses       int       // times it was left out in a row
	until        time.Time // it is left out
	unreachable  bool      // it is left out until a connection was made
	unhealthy    bool      // it is left out until a check has passed
	why          string    // it is left out
	credit       float64   // of the turns that it may have while it starts slowly
}

const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
	// strikesOut is how many requests in a row must fail. One alone may be a bad script.
	strikesOut = 3
	// firstShare is what a server begins with that starts slowly.
	firstShare = 0.1
)

func (u *Upstream) newServer(c TransportConfig, weight float64) (*server, error) {
	t, err := NewTransport(c)
	if err != nil {
		return nil, err
	}
	s := &server{Transport: t, name: c.Network + ":" + c.Address, weight: weight, room: c.MaxConns, wake: make(chan struct{}, 1)}
	t.full = func(room int) { u.full(s, room) }
	return s, nil
}

// start starts the goroutine that looks after a server. It ends with the server.
func (u *Upstream) start(s *server) {
	ctx, stop := context.WithCancel(u.ctx)
	s.stop = stop
	u.running.Go(func() { u.lookAfter(ctx, s) })
}

// isOut reports whether a server is left out. The caller must hold the lock.
func (s *server) isOut(now time.Time) bool {
	return s.unreachable || s.unhealthy || now.Before(s.until)
}

// share is the server's part of the requests against others of its weight. The caller must
// hold the lock.
func (s *server) share(now time.Time, slow time.Duration) float64 {
	if age := now.Sub(s.since); !s.since.IsZero() && age < slow {
		return s.weight * (firstShare + (1-firstShare)*float64(age)/float64(slow))
	}
	return s.weight
}

// choose takes a server with room, and counts the request. It returns nil and true when
// there is none at all, and nil and false when one is to be waited for. The caller must
// hold u.mu.
func (u *Upstream) choose(tried *attempts) (best *server, none bool) {
	now := time.Now()
	var in, out, fallback []*server
	for _, s := range u.servers {
		switch {
		case slices.Contains(tried.failed, s):
		case s == tried.lost:
			fallback = append(fallback, s)
		case s.isOut(now):
			out = append(out, s)
		default:
			in = append(in, s)
		}
	}
	for _, list := range [][]*server{in, fallback, out} {
		if len(list) == 0 {
			continue
		}
		if best = u.best(list, now); best != nil {
			best.running++
			return best, false
		}
		return nil, false
	}
	return nil, true
}

// best is the one of the servers with room whose turn it is, or that has the fewest
// requests for its share.
func (u *Upstream) best(list []*server, now time.Time) *server {
	u.turn++
	var best *server
	var least float64
	for i := range list {
		s := list[(u.turn+i)%len(list)]
		if s.running >= s.roomNow(now) {
			continue
		}
		share := s.share(now, u.c.SlowStart)
		load := float64(s.running+1) / share
		if u.c.RoundRobin { // smooth weighted round-robin, as nginx does it
			s.credit += share
			load = -s.credit
		}
		if best == nil || load < least {
			best, least = s, load
		}
	}
	if best != nil && u.c.RoundRobin {
		for _, s := range list {
			if s.running < s.roomNow(now) {
				best.credit -= s.share(now, u.c.SlowStart)
			}
		}
	}
	return best
}

// done: a request of a server's has ended.
func (u *Upstream) done(s *server) {
	u.mu.Lock()
	s.running--
	u.serveLine()
	u.mu.Unlock()
}

// answered: a request of a server's has begun to be answered.
func (u *Upstream) answered(s *server) {
	u.mu.Lock()
	back := s.strikes > 0 && s.pauses > 0 || s.unreachable
	s.strikes, s.pauses, s.unreachable = 0, 0, false
	if back {
		u.backLocked(s)
	}
	u.mu.Unlock()
	if back {
		u.c.Log.Info("a FastCGI server is back", "server", s.name)
	}
}

// backLocked lets a server in again. The caller must hold u.mu.
func (u *Upstream) backLocked(s *server) {
	s.until, s.why = time.Time{}, ""
	s.since = time.Now()
	u.serveLine()
}

// strike counts a failure, and leaves the server out after some of them in a row; after
// the first, if it has just been let in again.
func (u *Upstream) strike(s *server, err error) {
	u.mu.Lock()
	s.strikes++
	over := s.strikes >= strikesOut || s.pauses > 0
	u.mu.Unlock()
	if over {
		u.leaveOut(s, WhyFailing, err)
	}
}

// leaveOut leaves a server out for a while.
func (u *Upstream) leaveOut(s *server, why string, err error) {
	now := time.Now()
	u.mu.Lock()
	if now.Before(s.until) || s.unreachable && why != WhyUnreachable { // requests that were on their way
		u.mu.Unlock()
		return
	}
	pause := min(firstPause<<min(s.pauses, 10), maxPause)
	s.pauses++
	s.until, s.why = now.Add(pause), why
	s.unreachable = why == WhyUnreachable
	u.mu.Unlock()
	u.c.Log.Warn("a FastCGI server is left out", "server", s.name, "why", why, "err", err, "again_in", pause)
	if u.c.LeftOut != nil {
		u.c.LeftOut(s.name, why)
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

// setHealth takes the outcome of a check; nil is that it has passed. A server that can be
// asked again may have requests; one that can't loses those that nothing has come back for
// and that another server may have.
func (u *Upstream) setHealth(s *server, is Condition, failed error) {
	u.mu.Lock()
	was := s.unhealthy
	s.unhealthy = failed != nil
	if failed == nil && is.Room > 0 {
		s.room = min(is.Room, s.c.MaxConns)
		s.ample.Store(is.Ours)
	}
	others := false
	now := time.Now()
	switch {
	case s.unhealthy:
		s.why = WhyUnhealthy
		others = slices.ContainsFunc(u.servers, func(o *server) bool { return !o.isOut(now) })
	case was:
		s.unreachable, s.strikes, s.pauses = false, 0, 0
		u.backLocked(s)
	}
	u.serveLine() // room may have changed, or all be left out
	u.mu.Unlock()
	if others { // also those that were on their way when it was left out
		s.breakOff(s.safe)
	}
	switch {
	case failed != nil && !was:
		u.c.Log.Warn("a FastCGI server is left out until its checks pass", "server", s.name, "err", failed)
		if u.c.LeftOut != nil {
			u.c.LeftOut(s.name, WhyUnhealthy)
		}
	case failed == nil && was:
		u.c.Log.Info("a FastCGI server is back: its checks pass", "server", s.name)
	}
}
