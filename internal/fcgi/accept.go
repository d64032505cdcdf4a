package fcgi

import (
	"net"
	"time"
)

const (
	// evictAfter is how long a connection must have been idle before it can be closed in
	// favour of another one: a request on the way to it is lost, or is sent again by the front.
	evictAfter = time.Second
	// evictEvery is how often a connection that waits looks for an idle one.
	evictEvery = 50 * time.Millisecond
	// warnEvery is how often the log says that there are too many connections.
	warnEvery = 10 * time.Second
)

// accept is l.Accept. Out of descriptors, say, it waits for some to come back, as net/http does.
func (s *Server) accept(l net.Listener, stop chan struct{}) (net.Conn, error) {
	for delay := time.Duration(0); ; {
		c, err := l.Accept()
		select {
		case <-stop:
			if err == nil {
				c.Close()
			}
			return nil, ErrServerClosed
		default:
		}
		if err == nil {
			s.count(EventAccepted)
			return c, nil
		}
		//lint:ignore SA1019 nothing else tells
		if ne, ok := err.(net.Error); !ok || !ne.Temporary() {
			return nil, err
		}
		s.count(EventAcceptFailed)
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.log().Error("fcgi: can't accept", "error", err, "retry_in", delay)
		s.evict()
		select {
		case <-time.After(delay):
		case <-stop:
		}
	}
}

// slot waits until there may be one more connection. While it does, idle ones are closed. It
// reports false when the server ends.
func (s *Server) slot(stop chan struct{}) bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	s.count(EventFull)
	if s.warned.before(time.Now()) {
		s.log().Warn("fcgi: too many connections, more have to wait", "limit", s.maxConns())
	}
	t := time.NewTicker(evictEvery)
	defer t.Stop()
	for {
		s.evict()
		select {
		case s.slots <- struct{}{}:
			return true
		case <-stop:
			return false
		case <-t.C:
		}
	}
}

// evict closes the connection that has been idle for the longest time.
func (s *Server) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest *conn
	var since time.Time
	for c := range s.conns {
		if t, idle := c.idleSince(); idle && (oldest == nil || t.Before(since)) {
			oldest, since = c, t
		}
	}
	if oldest != nil && time.Since(since) >= evictAfter && oldest.evict() {
		s.count(EventEvicted)
	}
}
