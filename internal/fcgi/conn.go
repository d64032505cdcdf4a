package fcgi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	readSize   = 8 << 10         // of the connection's read buffer
	keepParams = 32 << 10        // of the memory for PARAMS that a kept connection keeps
	maxValues  = 4 << 10         // of a FCGI_GET_VALUES that is taken for one
	lingerTime = 5 * time.Second // for the front server to read the answer
	lingerMax  = 16 << 20        // of what it still sends meanwhile
)

// errDone: the connection has served its purpose.
var errDone = errors.New("fcgi: done")

// A conn serves one connection, one request at a time: front servers don't multiplex.
//
// The reader is the goroutine that runs serve. It alone reads, and it alone closes the
// connection, but for the server's Close. A handler runs in a goroutine of its own, so
// that the reader sees the front server abort or go.
type conn struct {
	srv  *Server
	rwc  *wire
	base context.Context
	br   *bufio.Reader

	// Of the reader.
	ex     *exchange // until the next one begins
	raw    []byte    // its PARAMS
	wasted int       // octets of a body that came after the answer
	rest   int       // octets to discard before the next record

	wmu  sync.Mutex // held for the writing of whole records
	werr error      // guarded by wmu

	mu       sync.Mutex // guards which read deadline is set, too
	busy     bool       // a request is being received or answered
	used     bool       // there has been a request
	since    time.Time  // when it became idle
	draining bool       // no more requests than this, as the server shuts down, or others wait
	closing  bool       // its last answer was sent
}

func newConn(s *Server, rwc net.Conn, base context.Context) *conn {
	w := newWire(rwc, s.writeTimeout())
	w.SetReadDeadline(until(s.ReadTimeout, DefaultReadTimeout))
	return &conn{srv: s, rwc: w, base: base, since: time.Now(), br: bufio.NewReaderSize(w, readSize)}
}

func (c *conn) serve() {
	defer c.srv.forget(c)
	defer c.rwc.Close()
	err := c.readRecords()
	ex := c.ex
	switch {
	case errors.Is(err, ErrProtocol):
		c.refused(EventProtocol, err.Error())
	case c.isLate(err):
		c.refused(EventTooSlow, "fcgi: the request took too long to come")
		if ex != nil && ex.phase == phaseParams {
			ex.keep = false
			c.refuse(ex, http.StatusRequestTimeout)
		}
	}
	if ex == nil || ex.phase != phaseRunning {
		if err == errDone {
			c.linger()
		}
		return
	}
	select {
	case <-ex.done:
	default:
		if !errors.Is(err, os.ErrDeadlineExceeded) { // not our own wake-up
			c.gone(ex)
		}
		<-ex.done
	}
	ex.body.release()
	if !ex.broken && !ex.stdinDone && (err == errDone || errors.Is(err, os.ErrDeadlineExceeded)) {
		c.linger()
	}
}

// refused counts and logs what the front server did wrong.
func (c *conn) refused(why Event, text string, args ...any) {
	c.srv.count(why)
	c.srv.log().Warn(text, append(args, "remote", c.rwc.RemoteAddr().String())...)
}

// isLate reports whether it is the front server that was to send, and began to.
func (c *conn) isLate(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining || c.closing {
		return false // we have woken the reader ourselves
	}
	return c.br.Buffered() > 0 || c.ex != nil && c.ex.phase == phaseParams
}

// linger lets the front server read the answer: closing a socket that has unread data
// resets the other side, and can destroy what it has not read yet.
func (c *conn) linger() {
	w, ok := c.rwc.Conn.(interface{ CloseWrite() error })
	if !ok || w.CloseWrite() != nil {
		return
	}
	c.rwc.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c.rwc, lingerMax)
}

// drain lets the request under way be the last. The server calls it.
func (c *conn) drain(linger time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	switch {
	case c.busy, c.closing:
	case !c.used:
		c.rwc.SetReadDeadline(time.Now().Add(max(linger, newGrace)))
	case linger > 0:
		c.rwc.SetReadDeadline(time.Now().Add(linger))
	default:
		c.rwc.SetReadDeadline(past)
	}
}

// idleSince reports whether the connection waits for a request, and since when.
func (c *conn) idleSince() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since, !c.busy && !c.closing && !c.draining
}

// evict closes the connection if it is still idle.
func (c *conn) evict() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy || c.closing || c.draining {
		return false
	}
	c.draining = true
	c.rwc.SetReadDeadline(past)
	return true
}

// readRecords returns when no further record can or should be read.
func (c *conn) readRecords() error {
	for {
		err := c.readRecord()
		if err != nil && !c.startsLate(err) && !c.oneMore(err) {
			return err
		}
	}
}

// oneMore reports whether a connection that is to be closed has another request in it: one
// that was sent before the front server could know. To close it would be a reset. It is asked
// behind each last answer, as the front server may be quicker than we are again and again; the
// end of Shutdown's time is what ends that.
func (c *conn) oneMore(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining || c.busy || c.ex != nil && !c.ex.keep {
		return false
	}
	if c.ex == nil || c.ex.stdinDone { // or the front server still sends, and is to be let end, see linger
		if !c.rwc.endUnlessMore() {
			return false
		}
	} else if !c.rwc.hasMore() {
		return false
	}
	c.rwc.SetReadDeadline(until(c.srv.ReadTimeout, DefaultReadTimeout))
	return true
}

// readRecord can go on where a deadline has stopped it, unless it was within the content
// that it wants.
func (c *conn) readRecord() error {
	n, err := c.br.Discard(c.rest)
	if c.rest -= n; err != nil {
		return err
	}
	h, err := readHeader(c.br)
	if err != nil {
		return err
	}
	c.rest = h.padding
	return c.record(h)
}

// record takes one record in, but for its padding.
func (c *conn) record(h header) error {
	switch {
	case h.typ == typeBeginRequest:
		return c.begin(h)
	case h.id == 0:
		return c.management(h)
	case c.ex == nil || c.ex.id != h.id:
		return c.skip(h.length) // spec 3.3: not active
	}
	switch h.typ {
	case typeParams:
		return c.readParams(c.ex, h)
	case typeStdin:
		return c.readStdin(c.ex, h)
	case typeAbortRequest:
		if err := c.readAbort(c.ex); err != nil {
			return err
		}
	}
	return c.skip(h.length)
}

// skip has content discarded. It fails when too much comes of a body that nobody wants.
func (c *conn) skip(n int) error {
	c.rest += n
	if ex := c.ex; ex != nil && c.ended(ex) {
		if c.wasted += n; c.wasted > drainSize {
			return errDone
		}
	}
	return nil
}

// ended reports whether the handler has returned.
func (c *conn) ended(ex *exchange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ex.ending
}

// reply is write for the reader, whose other errors are those of reading.
func (c *conn) reply(b []byte) error {
	if c.write(b) != nil {
		return ErrGone
	}
	return nil
}

func endRecord(id uint16, status protocolStatus) []byte {
	return appendEnd(make([]byte, 0, headerLen+endLen), id, 0, status)
}

// write writes whole records. After an error there may be a piece of one on the wire,
// and nothing can follow it.
func (c *conn) write(b []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.werr == nil {
		_, c.werr = c.rwc.Write(b)
	}
	return c.werr
}

// unexpected is the error for an end within a record.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
