package fcgi

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Applications are those that several upstreams may lead to: two routes, often, to one
// php-fpm. What one of them keeps is closed for a request of another, too.
type Applications struct {
	mu sync.Mutex
	at map[string]*application
}

// An application is what listens at one address, and what is known of it.
type application struct {
	key string
	in  *Applications // nil: nobody else's
	// fresh is how many requests on new connections may not have been taken yet.
	fresh atomic.Int64

	mu         sync.Mutex
	transports []*Transport         // those taken out of it leave a new list, as it is looked at without mu
	answers    map[*answer]struct{} // that have a connection
	learner    learner
}

// join finds what a Transport leads to. It is left with [application.leave]. All may be nil:
// then nobody else is looked at.
func (all *Applications) join(t *Transport) *application {
	a := &application{key: t.c.Network + ":" + t.c.Address, in: all, answers: map[*answer]struct{}{}}
	if all != nil {
		all.mu.Lock()
		defer all.mu.Unlock()
		if known := all.at[a.key]; known != nil {
			a = known
		} else {
			if all.at == nil {
				all.at = map[string]*application{}
			}
			all.at[a.key] = a
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.transports = append(a.transports, t)
	return a
}

// leave: the Transport has been closed.
func (p *application) leave(t *Transport) {
	if p.in != nil {
		p.in.mu.Lock()
		defer p.in.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.transports = slices.DeleteFunc(slices.Clone(p.transports), func(o *Transport) bool { return o == t })
	if p.in != nil && len(p.transports) == 0 {
		delete(p.in.at, p.key)
	}
}

// began: a request of a Transport's has a connection.
func (p *application) began(a *answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[a] = struct{}{}
}

// ended: it has none any more.
func (p *application) ended(a *answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.answers, a)
}

// breakOff closes the connections of those requests of a Transport's.
func (p *application) breakOff(t *Transport, which func(*answer) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a := range p.answers {
		if a.t == t && which(a) {
			a.l.c.Close()
		}
	}
}

// taken: the application has taken the request's connection, or never will.
func (p *application) taken(a *answer) {
	if a.fresh.CompareAndSwap(true, false) {
		p.fresh.Add(-1)
	}
}

// makeWayIdle closes an idle connection, whosever it is, where one is to be closed.
func (p *application) makeWayIdle() {
	if p.fresh.Load() == 0 {
		return
	}
	p.mu.Lock()
	transports := p.transports
	p.mu.Unlock()
	for _, t := range transports {
		if t.links.Stat().IdleResources() > 0 && t.makeWay() {
			t.closeOne()
			return
		}
	}
}

// claim takes note that a connection is closed for the request that has waited longest for
// the application to take its own, if there is one. room is how many requests the
// application takes, once that has been found out, or 0.
func (p *application) claim(now time.Time) (yes bool, room int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var oldest *answer
		for a := range p.answers {
			if a.fresh.Load() && !now.Before(a.nextClaim) && (oldest == nil || a.began.Before(oldest.began)) {
				oldest = a
			}
		}
		switch {
		case oldest == nil:
			return false, 0
		case oldest.isTaken():
			p.taken(oldest)
		default:
			oldest.nextClaim = now.Add(firstClaim << min(oldest.claims, 10))
			oldest.claims++
			if oldest.l.taken == nil { // TCP: nobody can tell
				return true, 0
			}
			return true, p.learner.claimed(now, func() int { return p.takenLocked() + 1 })
		}
	}
}

// takenLocked is how many requests the application has, but for the one whose connection is
// about to be closed. The caller must hold p.mu.
func (p *application) takenLocked() (n int) {
	for a := range p.answers {
		if !a.fresh.Load() || a.isTaken() {
			n++
		}
	}
	return n
}
