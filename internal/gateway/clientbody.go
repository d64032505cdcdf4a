package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"warmcgi/internal/cgi"
)

// clientBody reads a request's body from the client, with a limit on the pauses,
// until it is stopped: net/http forbids reading when the handler has returned, while
// the goroutine that feeds a script may still want to.
type clientBody struct {
	r    io.ReadCloser
	rc   *http.ResponseController
	idle time.Duration // longest pause; 0 is no limit

	one sync.Mutex // held while reading: drainBody may want to beside a script's feeder

	mu      sync.Mutex
	left    int64     // octets to come, where their number is known
	moved   time.Time // when the last of them came
	began   bool
	idleNow chan struct{} // closed while no Read is under way
	stopped bool
	ended   bool // the body was read to its end, or can't be
	whole   bool // it was
	timeout error
}

// brokenNews is how long the news that a body is broken may take to its script's reader.
const brokenNews = 100 * time.Millisecond

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func newClientBody(w http.ResponseWriter, r *http.Request, idle time.Duration) *clientBody {
	return &clientBody{r: r.Body, rc: http.NewResponseController(w), idle: idle, idleNow: closedChan, left: r.ContentLength, moved: time.Now()}
}

// Read fails with [cgi.ErrBodyTimeout] when the client pauses too long.
func (b *clientBody) Read(p []byte) (int, error) {
	b.one.Lock()
	defer b.one.Unlock()
	b.mu.Lock()
	if b.stopped || b.ended {
		b.mu.Unlock()
		return 0, io.EOF
	}
	done := make(chan struct{})
	b.began, b.idleNow = true, done
	var due time.Time
	if b.idle > 0 {
		due = time.Now().Add(b.idle)
		b.rc.SetReadDeadline(due)
	}
	b.mu.Unlock()
	n, err := b.r.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	close(done)
	b.left, b.moved = b.left-int64(n), time.Now()
	if err != nil {
		b.ended, b.whole = true, err == io.EOF
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: nothing came for %v", cgi.ErrBodyTimeout, b.idle)
			if !time.Now().Before(due) { // and it was not stop
				b.timeout = err
			}
		}
	}
	return n, err
}

// untouched reports whether nothing was ever read.
func (b *clientBody) untouched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.began
}

// atEnd reports whether all of the body was read.
func (b *clientBody) atEnd() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// isWhole reports whether the body was read to its end: what comes now is the next
// request.
func (b *clientBody) isWhole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.whole
}

// coming reports whether there is more to come of a body of known length, and comes
// without a long pause. While it is being read, it is Read that ends a pause.
func (b *clientBody) coming() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stopped || b.whole || b.left <= 0:
		return false
	case b.ended: // broken: whoever has read it will say so
		return time.Since(b.moved) < brokenNews
	}
	select {
	case <-b.idleNow:
		return b.idle == 0 || time.Since(b.moved) < b.idle
	default:
		return true
	}
}

// stop ends a Read that is under way and makes later ones fail.
func (b *clientBody) stop() {
	b.mu.Lock()
	b.stopped = true
	wait := b.idleNow
	if !b.ended {
		select {
		case <-wait:
		default:
			b.rc.SetReadDeadline(time.Unix(1, 0))
		}
	}
	b.mu.Unlock()
	<-wait
}

// timedOut stops the body, and returns the error if it was a pause that ended it: to
// net/http a client whose body times out has gone.
func (b *clientBody) timedOut() error {
	b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.timeout
}

const (
	// drainTime and drainMax bound what is taken of a body behind its answer.
	drainTime = 2 * time.Second
	drainMax  = 64 << 20
)

// drainBody takes what the client still sends of a body that nobody wants: many
// clients read the answer only when they have sent everything, and a connection that
// is closed before that is reset. A script that is still there is left its input.
func (x *exchange) drainBody() {
	if x.body.atEnd() || x.first.Context().Err() != nil {
		return
	}
	if x.body.untouched() && x.r.Header.Get("Expect") != "" {
		return // it waits for our word, and won't send
	}
	if x.flush() != nil {
		return
	}
	timer := time.AfterFunc(drainTime, x.body.stop)
	defer timer.Stop()
	if x.scriptEnded != nil {
		select {
		case <-x.scriptEnded:
		case <-time.After(drainTime):
		}
	}
	io.Copy(io.Discard, io.LimitReader(x.body, drainMax))
}
