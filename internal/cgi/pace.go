package cgi

import (
	"fmt"
	"time"
)

const (
	// paceTurns is how many turns have to be seen until a pace is believed. Of twice paceMemory
	// the older half is forgotten.
	paceTurns, paceMemory = 8, 64
	// paceShare is the part of the longest wait up to which who comes is let in: a forecast is
	// not exact, and who is let in is to have a turn.
	paceShare = 0.8
)

// A Pace is how fast turns come to those who wait in a line. By it a request that would wait
// in vain is refused when it comes: it is answered at once, and takes nobody's place. Whoever
// has the line guards it.
type Pace struct {
	// Least is the shortest time between two turns that can be, where that is known.
	Least time.Duration

	since, last time.Time // the first wait, and the last turn; zero: there is none
	turns       int       // between both
}

// Wait says that somebody waits from now on.
func (p *Pace) Wait(now time.Time) {
	if p.since.IsZero() {
		p.since = now
	}
}

// Turn says that one of those who waited has its turn.
func (p *Pace) Turn(now time.Time) {
	p.last = now
	if p.turns++; p.turns >= 2*paceMemory {
		p.turns /= 2
		p.since = now.Add(-now.Sub(p.since) / 2)
	}
}

// Rest says that nobody waits any more: what comes next may be another load.
func (p *Pace) Rest() { p.since, p.last, p.turns = time.Time{}, time.Time{}, 0 }

// Refuse is an error of kind [ErrQueueWait] where so many wait before a request that it would
// not have its turn in time, and else nil.
func (p *Pace) Refuse(waiting int, wait time.Duration) error {
	each := p.Least
	if p.turns >= paceTurns {
		each = max(each, p.last.Sub(p.since)/time.Duration(p.turns))
	}
	if d := time.Duration(waiting+1) * each; float64(d) > paceShare*float64(wait) {
		return fmt.Errorf("%w: it would be about %s, as %d wait", ErrQueueWait, d.Round(time.Millisecond), waiting)
	}
	return nil
}
