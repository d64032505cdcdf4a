package fcgi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"warmcgi/internal/cgi"
)

// A Watched is a connection to an application for one request of another FastCGI client.
// It looks at the records that pass, so that a client which takes the end of the
// connection for the end of the answer, and overlooks END_REQUEST's status, is not
// believed: [Watched.End] says how the request ended.
//
// What the client reads is made easy for it: records of the request alone, and before the
// first of STDOUT a head of our own, so that the application's own head comes to its user
// as it is. What it writes is never refused, so that it goes on to read.
type Watched struct {
	net.Conn
	// Of the reading goroutine.
	r       *bufio.Reader
	record  []byte // the one that is passed on
	pending []byte // what is left of it

	mu    sync.Mutex
	begun bool // BEGIN_REQUEST has been written
	got   bool // a record has come
	over  bool // END_REQUEST has
	code  uint32
	err   error // the first thing that went wrong
}

// watchedHead is what the client takes for the head of the answer.
const watchedHead = "Status: 200\r\n\r\n"

// Watch watches a connection that nothing was sent on yet.
func Watch(c net.Conn) *Watched {
	return &Watched{
		Conn: c, r: bufio.NewReader(c),
		pending: appendRecord(nil, typeStdout, requestID, []byte(watchedHead)),
	}
}

// Read implements [net.Conn].
func (w *Watched) Read(b []byte) (int, error) {
	if len(w.pending) == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, w.pending)
	w.pending = w.pending[n:]
	return n, nil
}

// next reads a record that is the client's.
func (w *Watched) next() error {
	if w.isOver() {
		return io.EOF
	}
	for {
		h, err := readHeader(w.r)
		if err == nil {
			w.record = append(w.record[:0], make([]byte, headerLen+h.length+h.padding)...)
			h.put(w.record)
			_, err = io.ReadFull(w.r, w.record[headerLen:])
		}
		if err == nil {
			err = w.accept(h, w.record[headerLen:headerLen+h.length])
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return w.Break(errEnded)
		case err != nil:
			return w.Break(err)
		case h.id != 0:
			w.pending = w.record
			return nil
		}
	}
}

// accept looks at a record.
func (w *Watched) accept(h header, content []byte) error {
	ends := h.typ == typeEndRequest
	if h.id == 0 && !ends { // of the connection: nothing that was asked for
		return nil
	}
	if h.id != requestID || !ends && h.typ != typeStdout && h.typ != typeStderr {
		return protocolError("a record of type %d of request %d", h.typ, h.id)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = true
	if !ends {
		return nil
	}
	code, status, err := parseEnd(content)
	if err == nil {
		err = refused(status)
	}
	w.over, w.code, w.err = true, code, errors.Join(w.err, err)
	w.SetWriteDeadline(longAgo) // of a body that nobody reads
	return nil
}

// Write implements [net.Conn]. What can't be sent is dropped: the application may have
// answered all the same.
func (w *Watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	dropped, first := w.over || w.err != nil, !w.begun
	w.begun = true
	w.mu.Unlock()
	if dropped {
		return len(b), nil
	}
	out := b
	if first && len(b) >= headerLen+beginLen && recType(b[1]) == typeBeginRequest {
		out = append([]byte(nil), b...)
		out[headerLen+2] &^= flagKeepConn // spec 5.1: the application closes
	}
	if n, err := w.Conn.Write(out); err != nil && n > 0 {
		w.SetWriteDeadline(longAgo) // in the midst of a record: nothing can follow
	}
	return len(b), nil
}

// Break ends the request because of err.
func (w *Watched) Break(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && !w.over {
		w.err = err
		w.SetDeadline(longAgo)
	}
	return err
}

// Ended reports whether the request has ended, one way or the other.
func (w *Watched) Ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over || w.err != nil
}

func (w *Watched) isOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

// End says how the request ended: with the application's exit status (spec 5.5), or with
// an error of a kind of package cgi or [ErrProtocol]. It is for when the client has come
// to its end.
func (w *Watched) End() (code int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch err := w.err; {
	case w.over:
		return int(int32(w.code)), err
	case err == nil:
		return 0, fmt.Errorf("%w: not read to its end", cgi.ErrTruncated)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, fmt.Errorf("%w: %w", cgi.ErrTimeout, err)
	case errors.Is(err, ErrProtocol):
		return 0, err
	case w.got:
		return 0, fmt.Errorf("%w: %w", cgi.ErrTruncated, err)
	default:
		return 0, fmt.Errorf("%w: %w", cgi.ErrNoOutput, err)
	}
}
