package fcgi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	readSize   = 8 << 10         // of the connection's read buffer
	keepParams = 32 << 10        // of the memory for PARAMS that a kept connection keeps
	maxValues  = 4 << 10         // of a FCGI_GET_VALUES that is taken for one
	lingerTime = 5 * time.Second // for the front server to read the answer
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
	rwc  net.Conn
	base context.Context
	br   *bufio.Reader

	// Of the reader.
	ex     *exchange // until the next one begins
	raw    []byte    // its PARAMS
	wasted int       // octets of a body that came after the answer

	wmu  sync.Mutex // held for the writing of whole records
	werr error      // guarded by wmu

	mu       sync.Mutex // guards all read deadlines, too
	busy     bool       // a request is being received or answered
	used     bool       // there has been a request
	draining bool       // the server shuts down: no more requests than this
}

func newConn(s *Server, rwc net.Conn, base context.Context) *conn {
	rwc.SetReadDeadline(until(s.ReadTimeout, DefaultReadTimeout))
	return &conn{srv: s, rwc: rwc, base: base, br: bufio.NewReaderSize(rwc, readSize)}
}

func (c *conn) serve() {
	defer c.srv.forget(c)
	defer c.rwc.Close()
	err := c.readRecords()
	if errors.Is(err, ErrProtocol) {
		c.srv.log().Warn(err.Error(), "remote", c.rwc.RemoteAddr().String())
	}
	ex := c.ex
	if ex == nil || ex.phase != phaseRunning {
		if errors.Is(err, os.ErrDeadlineExceeded) && ex != nil && ex.phase == phaseParams {
			c.srv.log().Warn("fcgi: the request took too long to come", "remote", c.rwc.RemoteAddr().String())
		}
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

// linger lets the front server read the answer: closing a socket that has unread data
// resets the other side, and can destroy what it has not read yet.
func (c *conn) linger() {
	w, ok := c.rwc.(interface{ CloseWrite() error })
	if !ok || w.CloseWrite() != nil {
		return
	}
	c.rwc.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, struct{ io.Reader }{c.rwc})
}

// drain lets the request under way be the last. The server calls it.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	switch {
	case c.busy:
	case c.used:
		c.rwc.SetReadDeadline(past)
	default:
		c.rwc.SetReadDeadline(time.Now().Add(newGrace))
	}
}

// readRecords returns when no further record can or should be read.
func (c *conn) readRecords() error {
	for {
		h, err := readHeader(c.br)
		if err == nil {
			err = c.record(h)
		}
		if err == nil {
			_, err = c.br.Discard(h.padding)
		}
		if err != nil {
			return err
		}
	}
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

// skip discards content. It fails when too much comes of a body that nobody wants.
func (c *conn) skip(n int) error {
	_, err := c.br.Discard(n)
	if ex := c.ex; err == nil && ex != nil && c.ended(ex) {
		if c.wasted += n; c.wasted > drainSize {
			return errDone
		}
	}
	return err
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
