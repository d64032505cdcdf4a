package fcgi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"time"
)

// begin is BEGIN_REQUEST (spec 5.1).
func (c *conn) begin(h header) error {
	var content [beginLen]byte
	if h.length != beginLen || h.id == 0 {
		return protocolError("BEGIN_REQUEST of %d octets for request %d", h.length, h.id)
	}
	if _, err := io.ReadFull(c.br, content[:]); err != nil {
		return err
	}
	role, flags, err := parseBegin(content[:])
	if err != nil {
		return err
	}
	keep := flags&flagKeepConn != 0
	if ex := c.ex; ex != nil {
		switch {
		case ex.phase == phaseRunning && c.ended(ex):
			if err := c.settle(ex); err != nil {
				return err
			}
		case ex.id == h.id:
			return protocolError("request %d begins twice", h.id)
		default:
			c.refused(EventMultiplexed, "fcgi: a request before the answer to another one")
			return c.reply(endRecord(h.id, statusCantMultiplex))
		}
	}
	if role != roleResponder {
		c.refused(EventUnknownRole, "fcgi: a request to another role than the responder's", "role", int(role))
		return c.dismiss(h.id, keep, statusUnknownRole)
	}
	c.mu.Lock()
	c.busy, c.used = true, true
	c.rwc.SetReadDeadline(until(c.srv.ReadTimeout, DefaultReadTimeout))
	c.mu.Unlock()
	c.wasted = 0
	c.raw = c.raw[:0]
	c.ex = &exchange{c: c, id: h.id, keep: keep}
	c.ex.ctx.ex = c.ex
	c.ex.body.init(&c.srv.in, 0)
	return nil
}

// settle waits for the end of an answer that is being sent, and clears its request
// away. It fails when the connection does not go on.
func (c *conn) settle(ex *exchange) error {
	<-ex.done
	if !ex.keep {
		return errDone
	}
	ex.body.release()
	c.ex = nil
	return nil
}

// dismiss ends a request that no handler has seen.
func (c *conn) dismiss(id uint16, keep bool, status protocolStatus) error {
	if err := c.reply(endRecord(id, status)); err != nil {
		return err
	}
	if !keep {
		c.ex = nil
		return errDone
	}
	return nil
}

// idle waits for the next request.
func (c *conn) idle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.since = false, time.Now()
	if c.draining {
		c.rwc.SetReadDeadline(past)
		return
	}
	c.rwc.SetReadDeadline(until(c.srv.IdleTimeout, DefaultIdleTimeout))
}

// readParams is a record of PARAMS (spec 5.2). A pair may go over from one to the next,
// so they are decoded when all have come.
func (c *conn) readParams(ex *exchange, h header) error {
	switch {
	case ex.phase != phaseParams:
		return c.skip(h.length)
	case h.length == 0:
		c.begun(ex)
		return nil
	case len(c.raw)+h.length > c.srv.maxParams():
		c.refused(EventTooLong, "fcgi: too many variables", "limit", c.srv.maxParams())
		c.refuse(ex, http.StatusRequestHeaderFieldsTooLarge)
		return c.skip(h.length)
	}
	n := len(c.raw)
	c.raw = slices.Grow(c.raw, h.length)[:n+h.length]
	_, err := io.ReadFull(c.br, c.raw[n:])
	return unexpected(err)
}

// begun makes a request of the variables.
func (c *conn) begun(ex *exchange) {
	raw := string(c.raw)
	if cap(c.raw) > keepParams {
		c.raw = nil
	}
	var err error
	if ex.params, err = decodeParams(raw); err == nil {
		ex.req, err = newRequest(&ex.ctx, ex.params)
	}
	switch {
	case errors.Is(err, errTooManyPairs):
		c.refused(EventTooLong, err.Error())
		c.refuse(ex, http.StatusRequestHeaderFieldsTooLarge)
		return
	case err != nil:
		c.refused(EventBadParams, err.Error())
		c.refuse(ex, http.StatusBadRequest)
		return
	}
	if ex.phase = phaseWait; ex.req.ContentLength > 0 {
		c.patient()
		c.startBody(ex)
		return
	}
	c.mu.Lock()
	c.rwc.SetReadDeadline(until(c.srv.ReadTimeout, DefaultReadTimeout))
	c.mu.Unlock()
}

// startsLate reports whether an error is only that the first STDIN does not come: then it is
// for the handler to say how long to wait for a body.
func (c *conn) startsLate(err error) bool {
	ex := c.ex
	if ex == nil || ex.phase != phaseWait || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.patient()
	if ex.req.ContentLength == 0 {
		c.startBare(ex)
	} else {
		c.startBody(ex)
	}
	return true
}

// patient: from now on it is the client that the front server waits for.
func (c *conn) patient() {
	c.mu.Lock()
	c.rwc.SetReadDeadline(time.Time{})
	c.mu.Unlock()
}

func (c *conn) refuse(ex *exchange, code int) {
	c.patient()
	ex.params = nil
	r := emptyRequest(&ex.ctx)
	r.Header, r.Body = http.Header{}, http.NoBody
	c.start(ex, r, refusal(code))
}

// startBare starts a request that has no body.
func (c *conn) startBare(ex *exchange) {
	ex.req.ContentLength = 0
	ex.req.Body = http.NoBody
	c.srv.count(EventRequest)
	c.start(ex, ex.req, c.srv.Handler)
}

// startBody starts a request that has a body.
func (c *conn) startBody(ex *exchange) {
	ex.body.left = ex.req.ContentLength
	ex.req.Body = &ex.body
	c.srv.count(EventRequest)
	c.start(ex, ex.req, c.srv.Handler)
}

// readStdin is a record of STDIN (spec 5.3).
func (c *conn) readStdin(ex *exchange, h header) error {
	switch ex.phase {
	case phaseParams:
		return protocolError("STDIN before the end of PARAMS")
	case phaseWait:
		c.patient()
		if h.length == 0 || ex.req.ContentLength == 0 {
			ex.stdinDone = h.length == 0
			c.startBare(ex)
			return c.skip(h.length)
		}
		c.startBody(ex)
	}
	if h.length > 0 {
		return c.feed(ex, h.length)
	}
	ex.body.finish()
	c.mu.Lock()
	ex.stdinDone = true
	ending := ex.ending
	c.mu.Unlock()
	if ending {
		return c.settleIdle(ex)
	}
	return nil
}

// readAbort is ABORT_REQUEST (spec 5.4).
func (c *conn) readAbort(ex *exchange) error {
	if ex.phase == phaseRunning {
		if c.abort(ex) {
			return nil
		}
		return c.settleIdle(ex)
	}
	c.srv.count(EventAborted)
	if err := c.dismiss(ex.id, ex.keep, statusRequestComplete); err != nil {
		return err
	}
	c.ex = nil
	c.idle()
	return nil
}

// settleIdle is for when the rest of STDIN has come after the answer.
func (c *conn) settleIdle(ex *exchange) error {
	if err := c.settle(ex); err != nil {
		return err
	}
	c.idle()
	return nil
}

// feed passes content of STDIN on to the handler, as far as it wants it.
func (c *conn) feed(ex *exchange, n int) error {
	for n > 0 {
		p := ex.body.space(n, func() { c.watch(ex) })
		if p == nil {
			return c.skip(n)
		}
		m, err := c.br.Read(p)
		ex.body.add(m)
		if n -= m; err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// watch looks whether the front server has gone while we don't read from it.
func (c *conn) watch(ex *exchange) {
	if hungUp(c.rwc.under()) {
		c.mu.Lock()
		c.giveUp(ex, ErrGone)
		c.mu.Unlock()
	}
}
