package fcgi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/puddle/v2"

	"warmcgi/internal/cgi"
	"warmcgi/internal/monotonic"
)

// TransportConfig says where an application is, and how it is spoken to.
type TransportConfig struct {
	// Network is unix, tcp or tls.
	Network string
	// Address is a path, or HOST:PORT.
	Address string
	// TLS is for the network tls.
	TLS *tls.Config
	// Authorizer: the application is to decide about requests (spec 6.3), not to answer them.
	Authorizer bool
	// MaxConns is the most connections at once. It must be positive.
	MaxConns int
	// Connect bounds how long a connection may take to be made. Default: 5 s.
	Connect time.Duration
	// Keep is how long a connection is kept that has nothing to do; 0 keeps none. A kept
	// connection holds one of php-fpm's children.
	Keep time.Duration
	// Applications are those that other transports lead to as well; nil is none.
	Applications *Applications
	// Stderr gets the lines that the application writes to FCGI_STDERR.
	Stderr func(req *cgi.Request, line string)
}

// A Transport is a [cgi.Backend]: it has requests answered by the FastCGI application at
// one address.
//
// A connection is used again only when the END_REQUEST of its request was read, nothing
// came behind it, and all of the request was sent. While a request waits for the application
// to take its connection, one is closed for it rather than kept: see makeWay.
type Transport struct {
	c     TransportConfig
	links *puddle.Pool[*link]
	app   *application
	// ample is set where the application takes as many connections as we make.
	ample atomic.Bool
	// heard is when something has come back, a [monotonic.Instant].
	heard atomic.Int64
	// late is about requests on kept connections that are not read in time.
	late lateness
	// asked tells keep that there is a fresh request.
	asked chan struct{}
	// stop ends keep.
	stop, stopped chan struct{}

	// full is told how many requests the application takes; nil is nobody.
	full func(room int)
}

// NewTransport makes no connection yet.
func NewTransport(c TransportConfig) (*Transport, error) {
	if c.Connect == 0 {
		c.Connect = 5 * time.Second
	}
	t := &Transport{c: c, asked: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
	var err error
	t.links, err = puddle.NewPool(&puddle.Config[*link]{
		Constructor: func(ctx context.Context) (*link, error) {
			ctx, cancel := context.WithTimeout(ctx, c.Connect)
			defer cancel()
			return dial(ctx, c.Network, c.Address, c.TLS)
		},
		Destructor: (*link).close,
		MaxSize:    int32(c.MaxConns),
	})
	if err != nil {
		return nil, err
	}
	t.app = c.Applications.join(t)
	go t.keep() // ends with Close
	return t, nil
}

// Close closes all connections: idle ones at once, the others when their requests have
// ended or ctx has. No request may come any more.
func (t *Transport) Close(ctx context.Context) {
	close(t.stop)
	<-t.stopped
	stop := context.AfterFunc(ctx, func() { t.app.breakOff(t, func(*answer) bool { return true }) })
	defer stop()
	t.links.Close()
	t.app.leave(t)
}

// breakOff closes the connections of those requests that nothing has come back for.
func (t *Transport) breakOff(which func(*cgi.Request) bool) {
	t.app.breakOff(t, func(a *answer) bool { return !a.got.Load() && which(a.req) })
}

// heardSince reports whether something has come back from the application since then.
func (t *Transport) heardSince(then time.Time) bool { return t.heard.Load() >= monotonic.At(then) }

// RoundTrip implements [cgi.Backend].
func (t *Transport) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	req.Mode = cgi.ModeFastCGI
	res, err := t.attempt(ctx, req)
	if err != nil {
		req.End(cgi.Exit{})
		return nil, fmt.Errorf("script %s: %w", req.Script.Name, err)
	}
	return res, nil
}

// attempt has a request answered; when it fails, the request has not ended. A kept
// connection that was closed before the application read the request, or whose application
// does not read it, is replaced by another one.
func (t *Transport) attempt(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	a, err := t.begin(ctx, req)
	if err != nil {
		return nil, err
	}
	began := a.began // the time-outs are the request's
	res, err := a.start(ctx)
	// The other one may be a kept one, too, that was given back meanwhile.
	for range t.c.MaxConns {
		switch {
		case errors.Is(err, errNotTaken):
		case errors.Is(err, errUnheard) && a.l.used > 1 && (t.safe(req) || resendable(req) && unread(err)):
			t.closeIdle(all) // they are as old
		default:
			return res, err
		}
		if a, err = t.begin(ctx, req); err != nil {
			return nil, err
		}
		a.began = began
		res, err = a.start(ctx)
	}
	if errors.Is(err, errNotTaken) {
		err = fmt.Errorf("%w: %w", cgi.ErrOverloaded, err)
	}
	return res, err
}

// begin gets a connection for a request.
func (t *Transport) begin(ctx context.Context, req *cgi.Request) (*answer, error) {
	for {
		res, err := t.links.Acquire(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, cgi.ErrGone
		case cgi.IsExhausted(err): // ours; the application may be well, and is not left out
			return nil, fmt.Errorf("%w: %s: %w", cgi.ErrExhausted, t.c.Address, err)
		case err != nil:
			return nil, fmt.Errorf("%w: %s: %w", cgi.ErrUnreachable, t.c.Address, err)
		}
		l := res.Value()
		if l.used > 0 && l.stale() {
			res.Destroy()
			continue
		}
		a := &answer{t: t, req: req, res: res, l: l, missing: -1, began: time.Now()}
		t.app.began(a)
		return a, nil
	}
}

// unread reports whether a connection was reset: that is how the application's kernel closes
// it with something in it that the application has not read, as when that ends between two
// requests. When it has read the request, and may have done what it asks, the end of the
// connection is an end of file.
func unread(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// resendable reports whether a request is there as a whole, to be sent once more.
func resendable(req *cgi.Request) bool {
	if req.Body == nil {
		return true
	}
	_, spooled := req.Body.(*cgi.Spooled)
	return spooled
}

// safe reports whether a request may be sent once more though the application may have
// seen it (RFC 9110, 9.2.1). An authorizer only looks at it.
func (t *Transport) safe(req *cgi.Request) bool {
	if !resendable(req) {
		return false
	}
	if t.c.Authorizer {
		return true
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

// errUnheard: the connection was lost before anything came back.
var errUnheard = errors.New("nothing has come back")
