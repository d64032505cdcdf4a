package fcgi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// drainSize and drainTime are how much of a body that nobody wants is still taken
	// in after the answer, to keep the connection.
	drainSize = 256 << 10
	drainTime = time.Second
	// goneGrace is how long an answer that nobody waits for may block in a write.
	goneGrace = 5 * time.Second
)

// past is a deadline that wakes a reader.
var past = time.Unix(1, 0)

// A phase is how far the reader is with a request.
type phase uint8

const (
	phaseParams  phase = iota // PARAMS are coming
	phaseWait                 // for the first STDIN: is there a body?
	phaseRunning              // the handler has been started
)

// An exchange is one request and its answer.
type exchange struct {
	c     *conn
	id    uint16
	phase phase // reader only

	// Set before the handler is started.
	handler http.Handler
	req     *http.Request
	res     response
	body    body
	params  Params
	ctx     requestContext
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed when END_REQUEST has been written, or won't be

	aborted atomic.Bool // set with c.mu held, before ending

	// Guarded by c.mu.
	keep      bool // FCGI_KEEP_CONN; after done: the connection goes on
	ending    bool // the handler has returned: END_REQUEST may be on the wire
	stdinDone bool
	timed     bool // the connection has a write deadline
	givenUp   bool // the write deadline is no longer the handler's

	broken bool // after done: no END_REQUEST was sent
}

// A requestContext has the variables.
type requestContext struct {
	context.Context
	ex *exchange
}

func (c *requestContext) Value(key any) any {
	if key == (paramsKey{}) {
		return &c.ex.params
	}
	return c.Context.Value(key)
}

// start runs the handler. The body is known to be there, or not to be.
func (c *conn) start(ex *exchange, req *http.Request, h http.Handler) {
	ex.ctx.Context, ex.cancel = context.WithCancelCause(c.base)
	ex.handler = h
	ex.req = req
	ex.res.ex = ex
	ex.done = make(chan struct{})
	ex.phase = phaseRunning
	c.srv.handlers.run(ex)
}

func (c *conn) run(ex *exchange) {
	ok := false
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			c.srv.log().Error("fcgi: handler panicked", "panic", v, "uri", ex.req.RequestURI, "stack", string(debug.Stack()))
		}
		c.finish(ex, ok)
	}()
	ex.handler.ServeHTTP(&ex.res, ex.req)
	ok = true
}

// finish sends the end of the answer and tells the reader what becomes of the
// connection. It runs when the handler has returned.
func (c *conn) finish(ex *exchange, ok bool) {
	ex.cancel(nil)
	ex.body.Close() // the reader may wait for room in it
	c.mu.Lock()
	ex.ending = true // before END_REQUEST, as the next BEGIN_REQUEST may follow at once
	c.mu.Unlock()

	var err error
	switch {
	case ex.aborted.Load():
		// What is left of the output is of no use to anyone (spec 5.4).
		ex.res.release()
		c.allowWrite(ex)
		err = c.write(endRecord(ex.id, statusRequestComplete))
	case ok:
		err = ex.res.finish()
	default:
		err = http.ErrAbortHandler
	}
	if err != nil {
		c.spoil(ex)
	}
	ex.res.release()
	if errors.Is(err, errShortAnswer) {
		c.srv.log().Error(err.Error(), "uri", ex.req.RequestURI)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(ex.done)
	ex.broken = err != nil
	now := time.Now()
	c.busy, c.since = false, now
	ex.keep = ex.keep && err == nil
	c.closing = !ex.keep || c.draining
	ex.req, ex.handler = nil, nil // an idle connection need not hold them
	if ex.stdinDone {
		ex.body.release()
	}
	if err != nil {
		c.rwc.SetWriteDeadline(past) // the reader may be in a write
	} else if ex.timed {
		c.rwc.SetWriteDeadline(time.Time{})
	}
	switch {
	case c.closing: // a request that the reader has taken already is answered all the same
		c.rwc.SetReadDeadline(past)
	case ex.stdinDone:
		c.rwc.SetReadDeadline(untilFrom(now, c.srv.IdleTimeout, DefaultIdleTimeout))
	default:
		c.rwc.SetReadDeadline(now.Add(drainTime))
	}
}

// spoil makes sure that an answer which broke off is seen to be broken. That END_REQUEST
// is missing is not enough: without fastcgi_keep_conn, or without buffering, nginx takes
// the end of the connection for the end of the answer. A record of no version is an error
// to it. When nothing has been sent, the bare end of the connection does.
func (c *conn) spoil(ex *exchange) {
	if !ex.res.hasSent() {
		return
	}
	c.allowWrite(ex)
	if err := c.write(zeros[:headerLen]); err == nil {
		return
	}
	// After a piece of a record only a reset helps, which a Unix socket can't send.
	if t, ok := c.rwc.under().(*net.TCPConn); ok {
		t.SetLinger(0)
	}
}

// allowWrite gives a last record its own time.
func (c *conn) allowWrite(ex *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ex.timed = true
	c.rwc.SetWriteDeadline(time.Now().Add(goneGrace))
}

// abort gives the request up; END_REQUEST follows when the handler has returned. It
// reports false when it already has.
func (c *conn) abort(ex *exchange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ex.stdinDone = true // whatever still comes is not for this request
	if ex.ending {
		return false
	}
	ex.aborted.Store(true)
	c.giveUp(ex, ErrAborted)
	ex.body.fail(ErrAborted)
	return true
}

// gone is the end of the connection as the reader sees it.
func (c *conn) gone(ex *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.giveUp(ex, ErrGone)
	ex.body.fail(io.ErrUnexpectedEOF)
}

// giveUp ends the context, and soon any write. The caller must hold c.mu.
func (c *conn) giveUp(ex *exchange, cause error) {
	ex.cancel(cause)
	switch {
	case ex.givenUp || ex.ending:
	case cause == ErrAborted:
		c.srv.count(EventAborted)
	default:
		c.srv.count(EventGone)
	}
	ex.timed, ex.givenUp = true, true
	c.rwc.SetWriteDeadline(time.Now().Add(goneGrace))
}

func (c *conn) setWriteDeadline(ex *exchange, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ex.ending || ex.givenUp {
		return nil
	}
	ex.timed = true
	return c.rwc.SetWriteDeadline(t)
}

// refusal answers a request that can't become one.
type refusal int

func (code refusal) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, http.StatusText(int(code)), int(code))
}
