package fcgi

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"warmcgi/internal/monotonic"
)

// An application may work on behind its END_REQUEST, as PHP does after
// fastcgi_finish_request (php-src issue 10335). What is sent on its connection then waits for
// the end of that, while other processes of it are idle. So whether a kept connection's
// request is read is looked at, where that can be known (a Unix socket on Linux), and the
// request goes to another connection if it is not read soon.
//
// What was sent can't be taken back: the application reads it when it comes to it, though
// the connection is closed. That does no harm if the method is safe, but costs it some time.
// Another request is held back until its variables have been read: without their end it is
// none. So is any request for some time after one was not read in time: for some seconds at
// first, as the reason may be that the system has too much to do, and twice as long each time
// that it comes again.
//
// To wait for that costs some 50 µs, so where one request follows another at once it is not
// done before it is known that the application works on. Until then, such a one may wait.

const (
	// takeTime is how long an application that waits for a request may take to read one that
	// is held back.
	takeTime = 25 * time.Millisecond
	// takeAllTime is how long it may take to read one that is not, and that it will answer,
	// too, if another is asked.
	takeAllTime = 100 * time.Millisecond
	// atOnce is how long a connection has been idle at most on which one request follows
	// another at once.
	atOnce = time.Millisecond
	// firstLate is how long an application that was late is one that may be late, at first,
	// and maxLate at most.
	firstLate = 5 * time.Second
	maxLate   = 10 * time.Minute
)

var errNotTaken = errors.New("it does not read the request")

// mayBeBusy reports whether the application may work on behind an answer, and it can be
// known.
func (a *answer) mayBeBusy() bool { return a.l.used > 1 && a.l.taken != nil }

// isOffered reports whether the request is held back until its variables have been read.
func (a *answer) isOffered() bool {
	return a.t.hasLate() || !a.t.safe(a.req) && time.Since(a.l.since) > atOnce
}

// hasLate reports whether some request was not read in time of late.
func (t *Transport) hasLate() bool { return monotonic.Now() < t.late.until.Load() }

// lateness is how long an application is one that may be late.
type lateness struct {
	until atomic.Int64 // a [monotonic.Instant]

	mu    sync.Mutex
	times time.Duration // guarded by mu
}

// again: a request was not read in time.
func (l *lateness) again(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch until := monotonic.Time(l.until.Load()); {
	case now.After(until.Add(l.times)): // it has been in time for long
		l.times = firstLate
	case now.After(until):
		l.times = min(2*l.times, maxLate)
	}
	l.until.Store(monotonic.At(now.Add(l.times)))
}

func (a *answer) notTaken() error {
	a.t.late.again(time.Now())
	return errNotTaken
}

// offer sends variables without their end, and waits until they have been read.
func (a *answer) offer(b []byte) error {
	by := time.Now().Add(takeTime)
	a.l.c.SetWriteDeadline(by)
	if _, err := a.l.c.Write(b); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) && !a.gone.Load() {
			return a.notTaken()
		}
		return a.noOutput(a.broken(err))
	}
	for pause := 10 * time.Microsecond; !a.l.taken(); pause = min(2*pause, time.Millisecond) {
		if time.Now().After(by) {
			return a.notTaken()
		}
		time.Sleep(pause)
	}
	return nil
}
