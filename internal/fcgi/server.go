// Package fcgi is FastCGI 1.0: the records, and the server side for a front server
// (nginx, Apache, lighttpd) that passes its requests to an [http.Handler].
//
// Unlike net/http/fcgi it ends a request's context when the front server gives up,
// holds a body back without a pipe, bounds what it reads, and never passes a broken
// answer for a whole one.
package fcgi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"warmcgi/internal/monotonic"
)

var (
	// ErrServerClosed is returned by Serve after Shutdown or Close. It is also
	// [http.ErrServerClosed].
	ErrServerClosed = fmt.Errorf("fcgi: %w", http.ErrServerClosed)
	// ErrAborted is why a context ends, and a body breaks, when the front server has
	// sent ABORT_REQUEST.
	ErrAborted = errors.New("fcgi: request aborted by the front server")
	// ErrGone is why a context ends when the connection has.
	ErrGone = errors.New("fcgi: the front server has gone")
)

// Defaults of [Server].
const (
	DefaultMaxParams   = 1 << 20
	DefaultMaxConns    = 1024
	DefaultIdleTimeout = 2 * time.Minute
	DefaultReadTimeout = 30 * time.Second
	// DefaultWriteTimeout is that of the HTTP doors.
	DefaultWriteTimeout = time.Minute
)

// newGrace is how long a connection that has not sent anything yet may still do so
// after Shutdown: its request may be on the way.
const newGrace = time.Second

// A Server answers the responder requests of front servers. Its fields must not be
// changed once Serve is called.
//
// The handler's context ends when the front server aborts the request or closes the
// connection, in whatever way; [context.Cause] says which. Its ResponseWriter is a
// [StatusWriter] and does all that [http.ResponseController] offers but Hijack. A
// handler that panics leaves its request without END_REQUEST, and so does one that
// writes less than the Content-Length it has set: the front server sees that the
// answer is broken.
type Server struct {
	// Handler answers. It must not be nil.
	Handler http.Handler
	// ErrorLog is told of protocol errors and panics; nil is [slog.Default].
	ErrorLog *slog.Logger
	// MaxParams is the most octets of variables that a request may have; 0 is
	// DefaultMaxParams. One that has more is answered with status 431.
	MaxParams int
	// MaxConns is the most connections at a time; 0 is DefaultMaxConns. More wait in
	// the listener's queue, and idle ones are closed to make room.
	MaxConns int
	// IdleTimeout is how long a kept connection may wait for a request; 0 is
	// DefaultIdleTimeout, less is no limit. It should be longer than the front
	// server's, so that this is the side that closes.
	IdleTimeout time.Duration
	// ReadTimeout is how long a request's variables may take to come; 0 is
	// DefaultReadTimeout, less is no limit. One that takes longer is answered with status
	// 408. The body is the handler's to bound, see [http.ResponseController.SetReadDeadline].
	ReadTimeout time.Duration
	// WriteTimeout is how long the front server may take nothing of what is written; 0 is
	// DefaultWriteTimeout, less is no limit. What is written is bounded by
	// [http.ResponseController.SetWriteDeadline], too.
	WriteTimeout time.Duration
	// BaseContext is the parent of the requests' contexts; nil is
	// [context.Background].
	BaseContext func(net.Listener) context.Context

	pools
	handlers handlers
	counts   counts
	warned   seldom

	mu        sync.Mutex
	closing   bool
	stop      chan struct{} // closed when closing
	slots     chan struct{} // holds one for each connection
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	empty     chan struct{} // when not nil, closed as soon as there are no conns
}

// pools are the memory that requests share.
type pools struct{ out, in, bulk sync.Pool }

func (p *pools) init() {
	p.out.New = func() any { return new([outCap]byte) }
	p.bulk.New = func() any { return new([bulkContent]byte) }
	p.in.New = func() any { return new([bodySize]byte) }
}

// Serve accepts connections until Shutdown or Close, and then returns ErrServerClosed.
// It closes l. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	stop, ok := s.open(l)
	if !ok {
		return ErrServerClosed
	}
	defer s.forgetListener(l)
	ctx := context.Background()
	if s.BaseContext != nil {
		ctx = s.BaseContext(l)
	}

	for {
		rwc, err := s.accept(l, stop)
		if err != nil {
			return err
		}
		if !s.slot(stop) {
			rwc.Close()
			return ErrServerClosed
		}
		c := newConn(s, rwc, ctx)
		if !s.track(c) {
			rwc.Close()
			<-s.slots
			return ErrServerClosed
		}
		// Ends when the front server or this side closes the connection, and the
		// handler has returned.
		go func() {
			defer func() { <-s.slots }()
			c.serve()
		}()
	}
}

// Shutdown stops accepting, closes the connections that have no request, and waits for
// the others; those that are left when ctx ends are closed.
func (s *Server) Shutdown(ctx context.Context) error { return s.Leave(ctx, 0) }

// Leave is Shutdown where there is no hurry, as another server takes the listener over: on a connection that has no
// request one more may come, for as long as linger. The connection is closed behind it.
func (s *Server) Leave(ctx context.Context, linger time.Duration) error {
	s.mu.Lock()
	s.closeListeners()
	for c := range s.conns {
		c.drain(linger)
	}
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()

	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		s.Close()
		return context.Cause(ctx)
	}
}

// Close closes all listeners and connections. It does not wait for handlers; their
// contexts end.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeListeners()
	for c := range s.conns {
		c.rwc.Close()
	}
	return nil
}

// closeListeners begins the end. The caller must hold mu.
func (s *Server) closeListeners() {
	s.init()
	if !s.closing {
		s.closing = true
		close(s.stop)
		s.handlers.close()
	}
	for l := range s.listeners {
		l.Close()
	}
}

// init makes what the zero Server has not. The caller must hold mu.
func (s *Server) init() {
	if s.stop == nil {
		s.stop = make(chan struct{})
		s.slots = make(chan struct{}, s.maxConns())
		s.listeners = make(map[net.Listener]struct{})
		s.conns = make(map[*conn]struct{})
		s.pools.init()
	}
}

func (s *Server) open(l net.Listener) (stop chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.init()
	if s.closing {
		return nil, false
	}
	s.listeners[l] = struct{}{}
	return s.stop, true
}

func (s *Server) forgetListener(l net.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
}

func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// seldom is for what is logged now and then only.
type seldom struct{ next atomic.Int64 } // a [monotonic.Instant]

// before reports whether it is time again.
func (l *seldom) before(now time.Time) bool {
	next := l.next.Load()
	return monotonic.At(now) >= next && l.next.CompareAndSwap(next, monotonic.At(now.Add(warnEvery)))
}

func (s *Server) log() *slog.Logger {
	if s.ErrorLog != nil {
		return s.ErrorLog
	}
	return slog.Default()
}

func (s *Server) maxParams() int {
	if s.MaxParams > 0 {
		return s.MaxParams
	}
	return DefaultMaxParams
}

func (s *Server) maxConns() int {
	if s.MaxConns > 0 {
		return s.MaxConns
	}
	return DefaultMaxConns
}

func (s *Server) writeTimeout() time.Duration {
	if s.WriteTimeout == 0 {
		return DefaultWriteTimeout
	}
	return max(s.WriteTimeout, 0)
}

// until is when a timeout ends: the zero time when there is none.
func until(d, standard time.Duration) time.Time { return untilFrom(time.Now(), d, standard) }

func untilFrom(now time.Time, d, standard time.Duration) time.Time {
	switch {
	case d < 0:
		return time.Time{}
	case d == 0:
		d = standard
	}
	return now.Add(d)
}
