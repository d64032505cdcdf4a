package fcgi

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxIdleHandlers is how many goroutines wait for requests of any connection.
	maxIdleHandlers = 32
	// handlerIdle is how long one waits.
	handlerIdle = 5 * time.Second
)

// handlers are the goroutines that handlers run in. One that has answered takes the next
// request, of whatever connection: its stack has grown to what a handler needs, where that
// of a new one would have to grow again.
type handlers struct {
	mu     sync.Mutex
	idle   []chan *exchange
	closed bool
}

func (h *handlers) run(ex *exchange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.idle); n > 0 {
		h.idle[n-1] <- ex // it has room for one
		h.idle = h.idle[:n-1]
		return
	}
	go h.loop(ex) // ends when enough others are idle, or it has been for handlerIdle, or with close
}

func (h *handlers) loop(ex *exchange) {
	next := make(chan *exchange, 1)
	idle := time.NewTimer(handlerIdle)
	defer idle.Stop()
	for ok := true; ok; {
		ex.c.run(ex)
		ex = nil // an idle goroutine need not hold it
		if !h.wait(next) {
			return
		}
		idle.Reset(handlerIdle)
		select {
		case ex, ok = <-next:
		case <-idle.C:
			if h.leave(next) {
				return
			}
			ex, ok = <-next // in the same moment
		}
	}
}

// leave reports whether there will be nothing in next.
func (h *handlers) leave(next chan *exchange) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := slices.Index(h.idle, next)
	if at >= 0 {
		h.idle = slices.Delete(h.idle, at, at+1)
	}
	return at >= 0
}

// wait reports whether there will be something in next.
func (h *handlers) wait(next chan *exchange) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.idle) >= maxIdleHandlers {
		return false
	}
	h.idle = append(h.idle, next)
	return true
}

// close ends those that are idle, and the others when their handlers return.
func (h *handlers) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, next := range h.idle {
		close(next)
	}
	h.idle = nil
}
