package fcgi

import "time"

// keep closes what has been idle for too long, and what should make way. It ends with Close.
func (t *Transport) keep() {
	defer close(t.stopped)
	period := max(t.c.Keep/4, 10*time.Millisecond)
	if t.c.Keep == 0 {
		period = time.Hour // there is nothing to close
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	soon := time.NewTimer(time.Hour)
	defer soon.Stop()
	looks := false // soon
	for {
		select {
		case <-t.stop:
			return
		case now := <-tick.C:
			t.closeIdle(func(l *link) bool { return now.Sub(l.since) >= t.c.Keep })
		case <-t.asked:
			if !looks {
				looks = true
				soon.Reset(firstClaim)
			}
		case <-soon.C:
			t.app.makeWayIdle()
			if looks = t.app.fresh.Load() > 0; looks {
				soon.Reset(firstClaim)
			}
		}
	}
}

func (t *Transport) closeIdle(which func(*link) bool) {
	for _, res := range t.links.AcquireAllIdle() {
		if which(res.Value()) {
			res.Destroy()
		} else {
			res.ReleaseUnused()
		}
	}
}

func all(*link) bool { return true }

// closeOne closes an idle connection, if there is any.
func (t *Transport) closeOne() {
	closed := false
	t.closeIdle(func(*link) bool {
		first := !closed
		closed = true
		return first
	})
}

// release gives an answer's connection back, or closes it.
func (t *Transport) release(a *answer, clean bool) {
	t.app.ended(a)
	res := a.res
	if !clean || t.c.Keep == 0 || t.makeWay() {
		res.Destroy()
		return
	}
	l := res.Value()
	l.since = time.Now()
	res.Release()
	t.app.makeWayIdle() // for one that has not seen this connection idle, and that we see now
}

// asks: a request is on a new connection, as none was idle. One may be by now.
func (t *Transport) asks(a *answer) {
	a.fresh.Store(true)
	t.app.fresh.Add(1)
	select {
	case t.asked <- struct{}{}:
	default:
	}
	t.app.makeWayIdle()
}

// firstClaim is how long a request waits for the application to take it, when a connection
// was closed for it, until another one is.
const firstClaim = 50 * time.Millisecond

// makeWay reports whether a connection is to be closed rather than kept, since a request
// waits for the application to take its connection.
//
// An application that has one request at a time, as each of php-fpm's children does, waits
// for the next one on the connection that it has. Where it has fewer processes than there
// are connections, a kept one holds the process that another request waits for, as long as
// we use it. So one connection is closed for each request that waits, oldest first, as the
// system has them taken. If that does not help, the processes may be somebody else's or too
// few: another one is closed after some time, then after twice that time, and so on.
func (t *Transport) makeWay() bool {
	if t.app.fresh.Load() == 0 || t.ample.Load() {
		return false
	}
	yes, room := t.app.claim(time.Now())
	if room > 0 && t.full != nil {
		t.full(room)
	}
	return yes
}

// isTaken reports whether the application has read all of what was sent, as far as that
// can be known.
func (a *answer) isTaken() bool {
	return a.written.Load() && a.l.taken != nil && a.l.taken()
}
