package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lastCallPause without a new connection is the end of the queue.
	lastCallPause = 2 * time.Millisecond
	// lastCallTime is the most that the queue is worked off before a door is closed.
	lastCallTime = 500 * time.Millisecond
)

// A lastCall is a listener that can be closed without a loss. Who has connected waits in the
// system's queue, with a request sent already, and to close a listener resets them.
type lastCall struct {
	net.Listener
	owned *atomic.Bool // the socket's file is ours

	used    atomic.Bool
	shared  atomic.Bool   // another process has the queue, too: nobody in it is lost
	calling chan struct{} // closed when no more are to come
	closed  chan struct{} // closed when the listener is
	closing sync.Once
}

func newLastCall(l net.Listener, owned *atomic.Bool) *lastCall {
	return &lastCall{Listener: l, owned: owned, calling: make(chan struct{}), closed: make(chan struct{})}
}

// Accept must only be called by one goroutine, which has taken care of a connection before
// it calls again.
func (l *lastCall) Accept() (net.Conn, error) {
	l.used.Store(true)
	for last := false; ; {
		select {
		case <-l.calling:
			if l.shared.Load() {
				l.Close()
				return nil, net.ErrClosed
			}
			last = true
			l.setDeadline(time.Now().Add(lastCallPause))
		default:
		}
		c, err := l.Listener.Accept()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
		if last {
			l.Close()
			return nil, net.ErrClosed
		}
		select {
		case <-l.calling:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// end closes the listener, and returns when nobody is on the way in any more. If another process accepts those that
// wait, they are left to it.
func (l *lastCall) end(ctx context.Context, shared bool) {
	l.shared.Store(shared)
	l.call(ctx)
}

// call lets those in that have connected already, and closes the listener. At a Unix socket
// nobody can connect any more by then; at TCP, those are lost who come in the microseconds
// between the last look and the close. It may be called once.
func (l *lastCall) call(ctx context.Context) {
	if u, ok := l.Listener.(*net.UnixListener); ok && l.owned.Load() {
		os.Remove(u.Addr().String())
		u.SetUnlinkOnClose(false) // by then it may be the next server's
	}
	l.setDeadline(time.Unix(1, 0)) // wakes Accept, before calling lets it look once more
	close(l.calling)
	if !l.used.Load() {
		return
	}
	t := time.NewTimer(lastCallTime)
	defer t.Stop()
	select {
	case <-l.closed:
	case <-ctx.Done():
	case <-t.C:
	}
}

// Close closes the listener at once.
func (l *lastCall) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *lastCall) setDeadline(t time.Time) {
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(t)
	}
}
