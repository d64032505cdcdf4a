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

	mu      sync.Mutex
	idleNow chan struct{} // closed while no Read is under way
	stopped bool
	ended   bool // the body was read to its end, or can't be
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func newClientBody(w http.ResponseWriter, r *http.Request, idle time.Duration) *clientBody {
	return &clientBody{r: r.Body, rc: http.NewResponseController(w), idle: idle, idleNow: closedChan}
}

// Read fails with [cgi.ErrBodyTimeout] when the client pauses too long.
func (b *clientBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.stopped || b.ended {
		b.mu.Unlock()
		return 0, io.EOF
	}
	done := make(chan struct{})
	b.idleNow = done
	if b.idle > 0 {
		b.rc.SetReadDeadline(time.Now().Add(b.idle))
	}
	b.mu.Unlock()
	n, err := b.r.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	close(done)
	if err != nil {
		b.ended = true
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: nothing came for %v", cgi.ErrBodyTimeout, b.idle)
		}
	}
	return n, err
}

// atEnd reports whether all of the body was read.
func (b *clientBody) atEnd() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
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
