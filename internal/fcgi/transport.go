package fcgi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"

	"warmcgi/internal/cgi"
)

// TransportConfig says where an application is, and how it is spoken to.
type TransportConfig struct {
	// Network is unix, tcp or tls.
	Network string
	// Address is a path, or HOST:PORT.
	Address string
	// TLS is for the network tls.
	TLS *tls.Config
	// MaxConns is the most connections at once. It must be positive.
	MaxConns int
	// Connect bounds how long a connection may take to be made. Default: 5 s.
	Connect time.Duration
	// Idle is how long a connection is kept that has nothing to do. A kept connection holds
	// one of php-fpm's children. Default: 2 s.
	Idle time.Duration
	// Stderr gets the lines that the application writes to FCGI_STDERR.
	Stderr func(req *cgi.Request, line string)
}

// A Transport is a [cgi.Backend]: it has requests answered by the FastCGI application at
// one address.
//
// A connection is used again only when the END_REQUEST of its request was read, nothing
// came behind it, and all of the request was sent. None is kept while a request waits for
// the application to take its connection: where it has fewer processes than there are
// connections, a kept one would hold the process that the other waits for.
type Transport struct {
	c     TransportConfig
	links *puddle.Pool[*link]
	// unanswered are the requests on new connections that nothing has come back for.
	unanswered atomic.Int64
	// stop ends the goroutine that closes idle connections.
	stop, stopped chan struct{}

	mu      sync.Mutex
	answers map[*answer]struct{} // that have a connection
}

// NewTransport makes no connection yet.
func NewTransport(c TransportConfig) (*Transport, error) {
	if c.Connect == 0 {
		c.Connect = 5 * time.Second
	}
	if c.Idle == 0 {
		c.Idle = 2 * time.Second
	}
	t := &Transport{c: c, stop: make(chan struct{}), stopped: make(chan struct{}), answers: map[*answer]struct{}{}}
	var err error
	t.links, err = puddle.NewPool(&puddle.Config[*link]{
		Constructor: func(ctx context.Context) (*link, error) {
			ctx, cancel := context.WithTimeout(ctx, c.Connect)
			defer cancel()
			return dial(ctx, c.Network, c.Address, c.TLS)
		},
		Destructor: func(l *link) { l.c.Close() },
		MaxSize:    int32(c.MaxConns),
	})
	if err != nil {
		return nil, err
	}
	go t.keep() // ends with Close
	return t, nil
}

// Close closes all connections: idle ones at once, the others when their requests have
// ended or ctx has. No request may come any more.
func (t *Transport) Close(ctx context.Context) {
	close(t.stop)
	<-t.stopped
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for a := range t.answers {
			a.l.c.Close()
		}
	})
	defer stop()
	t.links.Close()
}

// breakOff closes the connections of requests that nothing has come back for.
func (t *Transport) breakOff() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a := range t.answers {
		if !a.got.Load() {
			a.l.c.Close()
		}
	}
}

// keep closes what has been idle for too long.
func (t *Transport) keep() {
	defer close(t.stopped)
	tick := time.NewTicker(max(t.c.Idle/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case now := <-tick.C:
			t.closeIdle(func(l *link) bool { return now.Sub(l.since) >= t.c.Idle })
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

// RoundTrip implements [cgi.Backend].
func (t *Transport) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	req.Mode = cgi.ModeFastCGI
	a, err := t.begin(ctx, req)
	if err != nil {
		req.End(cgi.Exit{})
		return nil, fmt.Errorf("script %s: %w", req.Script.Name, err)
	}
	return t.answer(ctx, req, a)
}

// answer has a request answered on its connection. One that was kept, and was closed
// before the application saw the request, is replaced by a new one, once.
func (t *Transport) answer(ctx context.Context, req *cgi.Request, a *answer) (*cgi.Response, error) {
	res, err := a.start(ctx)
	if err != nil && a.wasStale(err) && replayable(req) {
		t.closeIdle(all) // they are as old
		if a, err = t.begin(ctx, req); err == nil {
			res, err = a.start(ctx)
		}
	}
	if err != nil {
		req.End(cgi.Exit{})
		return nil, fmt.Errorf("script %s: %w", req.Script.Name, err)
	}
	return res, nil
}

// begin gets a connection for a request.
func (t *Transport) begin(ctx context.Context, req *cgi.Request) (*answer, error) {
	for {
		res, err := t.links.Acquire(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, cgi.ErrGone
		case err != nil:
			return nil, fmt.Errorf("%w: %s: %w", cgi.ErrUnreachable, t.c.Address, err)
		}
		l := res.Value()
		if l.used > 0 && l.stale() {
			res.Destroy()
			continue
		}
		a := &answer{t: t, req: req, res: res, l: l, missing: -1, began: time.Now()}
		t.mu.Lock()
		t.answers[a] = struct{}{}
		t.mu.Unlock()
		return a, nil
	}
}

// release gives an answer's connection back, or closes it.
func (t *Transport) release(a *answer, clean bool) {
	t.mu.Lock()
	delete(t.answers, a)
	t.mu.Unlock()
	res := a.res
	if !clean || t.unanswered.Load() > 0 {
		res.Destroy()
		return
	}
	l := res.Value()
	l.since = time.Now()
	res.Release()
	if t.unanswered.Load() > 0 { // it has not seen this one; or we see it now
		t.closeIdle(all)
	}
}

// asked: a request is on a new connection, as none was idle. One may be by now.
func (t *Transport) asked() {
	t.unanswered.Add(1)
	t.closeIdle(all)
}

func all(*link) bool { return true }

// replayable reports whether a request can be sent once more. One whose connection was
// closed before anything came back has not been looked at, as a rule.
func replayable(req *cgi.Request) bool {
	if req.Body != nil {
		_, spooled := req.Body.(*cgi.Spooled)
		return spooled
	}
	for _, v := range req.Vars {
		if m, ok := strings.CutPrefix(v, "REQUEST_METHOD="); ok {
			return m == http.MethodGet || m == http.MethodHead || m == http.MethodOptions
		}
	}
	return false
}

// errEnded is the end of a connection in the midst of a request.
var errEnded = fmt.Errorf("closed by it: %w", io.ErrUnexpectedEOF)

// wasStale reports whether a kept connection was closed by the application before it saw
// the request.
func (a *answer) wasStale(err error) bool {
	return a.l.used > 1 && !a.got.Load() && errors.Is(err, cgi.ErrNoOutput)
}
