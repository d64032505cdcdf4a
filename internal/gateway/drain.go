package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"warmcgi/internal/monotonic"
)

const (
	// lastRequest is how long a client may take for one more request on a connection that it keeps, when another
	// process has taken the doors over. To close it at once would lose the request that is on its way.
	lastRequest = 2 * time.Second
	// drainLook is how often the connections are looked at meanwhile.
	drainLook = 20 * time.Millisecond
)

// clientConns are the connections of an HTTP door.
type clientConns struct {
	mu  sync.Mutex
	all map[*conn]struct{}

	unheard func(c net.Conn, why string) // is told of requests that no handler has seen
}

// idleness is the part of a conn that tells for how long it has had no request.
type idleness struct {
	idle        atomic.Int64 // a [monotonic.Instant], since when; 0 is that it has a request
	multiplexed atomic.Bool  // HTTP/2: it says by itself that it ends
}

// changed is for [http.Server.ConnState].
func (cc *clientConns) changed(c net.Conn, is http.ConnState) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	client, ok := c.(*conn)
	if !ok {
		return
	}
	if why := client.hearing.changed(is); why != "" {
		cc.unheard(client, why)
	}
	switch is {
	case http.StateNew:
		client.idle.Store(monotonic.Now())
		cc.mu.Lock()
		if cc.all == nil {
			cc.all = map[*conn]struct{}{}
		}
		cc.all[client] = struct{}{}
		cc.mu.Unlock()
	case http.StateActive:
		client.idle.Store(0)
	case http.StateIdle:
		client.idle.Store(monotonic.Now())
	case http.StateClosed, http.StateHijacked:
		cc.mu.Lock()
		delete(cc.all, client)
		cc.mu.Unlock()
	}
}

// drain waits until the connections of HTTP/1 have ended, as their next answers say that they do, and closes those that
// stay without a request for as long as linger. It returns when ctx ends, too.
func (cc *clientConns) drain(ctx context.Context, linger time.Duration) {
	t := time.NewTicker(drainLook)
	defer t.Stop()
	for cc.closeIdle(time.Now().Add(-linger)) > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// closeIdle closes those that are idle since before then, and have not sent anything. It returns how many are left.
func (cc *clientConns) closeIdle(then time.Time) (left int) {
	var old []*conn
	cc.mu.Lock()
	for c := range cc.all {
		if c.multiplexed.Load() {
			continue
		}
		left++
		if since := c.idle.Load(); since != 0 && since < monotonic.At(then) {
			old = append(old, c)
		}
	}
	cc.mu.Unlock()
	for _, c := range old {
		if !c.hasMore() {
			c.Close()
		}
	}
	return left
}

// hasMore reports whether the client has sent something that nobody has read yet.
func (c *conn) hasMore() bool {
	more := false
	if c.out != nil {
		c.out.Raw().Control(func(fd uintptr) { more = readable(fd) })
	}
	return more
}
