package fcgi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// outSize is how much output is held back before it is sent.
	outSize = 32 << 10
	// outCap leaves room for the record's header and padding, for the empty STDOUT and
	// for END_REQUEST, so that a small answer is a single write.
	outCap = headerLen + outSize + 7 + headerLen + headerLen + endLen
)

var (
	// ErrHandlerDone: the writer was used after its handler had returned.
	ErrHandlerDone = errors.New("fcgi: the handler has returned")
	errShortAnswer = errors.New("fcgi: handler wrote less than its Content-Length")
)

// A StatusWriter is an [http.ResponseWriter] that can pass a script's own reason
// phrase. That of this package is one.
type StatusWriter interface {
	http.ResponseWriter
	// WriteStatus is WriteHeader with a reason phrase; "" is the usual one.
	WriteStatus(code int, reason string)
}

var _ interface {
	StatusWriter
	http.Flusher
	io.StringWriter
	io.ReaderFrom
} = (*response)(nil)

// A response writes the STDOUT stream of a request (spec 6.2).
type response struct {
	ex *exchange

	mu        sync.Mutex // a handler may flush from another goroutine than it writes
	header    http.Header
	buf       []byte // room for a header, then content; nil until the first octet
	wroteHead bool
	sent      bool // something is on the wire
	done      bool
	noBody    error // why there is no body: nil, errHead or http.ErrBodyNotAllowed
	left      int64 // of the declared Content-Length, or -1
	err       error // of a write: the connection is of no more use
}

// errHead marks the answer to a HEAD request, whose body is dropped silently.
var errHead = errors.New("fcgi: answer to HEAD")

func (r *response) Header() http.Header {
	if r.header == nil {
		r.header = make(http.Header)
	}
	return r.header
}

func (r *response) WriteHeader(code int) { r.WriteStatus(code, "") }

func (r *response) WriteStatus(code int, reason string) {
	if code < 100 || code > 999 {
		panic(fmt.Sprintf("fcgi: invalid status %d", code))
	}
	if code < 200 && code != http.StatusSwitchingProtocols {
		return // CGI has no interim answers
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return
	}
	if r.wroteHead {
		r.ex.c.srv.log().Warn("fcgi: superfluous WriteHeader", "status", code)
		return
	}
	r.head(code, reason)
}

func (r *response) Write(p []byte) (int, error)       { return write(r, p) }
func (r *response) WriteString(s string) (int, error) { return write(r, s) }

func write[T []byte | string](r *response, p T) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return 0, err
	}
	switch {
	case r.noBody == errHead:
		return len(p), nil
	case r.noBody != nil && len(p) > 0:
		return 0, r.noBody
	case r.left >= 0 && int64(len(p)) > r.left:
		p = p[:r.left]
		err = http.ErrContentLength
	}
	n = put(r, p)
	if r.left >= 0 {
		r.left -= int64(n)
	}
	if r.err != nil {
		err = r.err
	}
	return n, err
}

// open begins the body. The caller must hold mu.
func (r *response) open() error {
	switch {
	case r.done:
		return ErrHandlerDone
	case r.ex.aborted.Load():
		return ErrAborted
	}
	if !r.wroteHead {
		r.head(http.StatusOK, "")
	}
	return r.err
}

// put adds to the buffer and sends it when it is full. The caller must hold mu.
func put[T []byte | string](r *response, p T) (n int) {
	for len(p) > 0 && r.err == nil {
		if r.buf == nil {
			r.buf = r.ex.c.srv.out.Get().(*[outCap]byte)[:headerLen]
		}
		if b, ok := any(p).([]byte); ok && len(b) >= bulkFrom {
			m := min(len(b), bulkContent)
			r.sendWith(b[:m])
			p, n = p[m:], n+m
			continue
		}
		m := min(len(p), headerLen+outSize-len(r.buf))
		r.buf = append(r.buf, p[:m]...)
		p = p[m:]
		n += m
		if len(r.buf) == headerLen+outSize {
			r.send()
		}
	}
	return n
}

// send writes what waits as one record. The caller must hold mu.
func (r *response) send() {
	if len(r.buf) <= headerLen || r.err != nil {
		return
	}
	r.close()
	r.write()
	r.sent = true
}

// close makes a record of what waits (spec 3.3).
func (r *response) close() {
	h := newHeader(typeStdout, r.ex.id, len(r.buf)-headerLen)
	h.put(r.buf)
	r.buf = append(r.buf, zeros[:h.padding]...)
}

func (r *response) write() {
	if err := r.ex.c.write(r.buf); err != nil {
		r.failed(err)
	}
	r.buf = r.buf[:headerLen]
}

// failed notes that nothing can follow. The caller must hold mu.
func (r *response) failed(err error) {
	r.err = fmt.Errorf("fcgi: %w", err)
	r.ex.cancel(ErrGone)
}

// Flush sends the head and what has been written so far.
func (r *response) Flush() { r.FlushError() }

func (r *response) FlushError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return err
	}
	r.send()
	return r.err
}

// SetReadDeadline bounds the reads of the body. They can go on after a new deadline.
func (r *response) SetReadDeadline(t time.Time) error {
	r.ex.body.setDeadline(t)
	return nil
}

// SetWriteDeadline bounds the writes. One that is late leaves the connection useless.
func (r *response) SetWriteDeadline(t time.Time) error { return r.ex.c.setWriteDeadline(r.ex, t) }

// EnableFullDuplex changes nothing: body and answer never wait for each other.
func (r *response) EnableFullDuplex() error { return nil }

// finish ends the answer: what waits, the end of STDOUT and END_REQUEST.
func (r *response) finish() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true // before END_REQUEST: a goroutine that is left must not write behind it
	if !r.wroteHead {
		r.head(http.StatusOK, "")
	}
	if r.left > 0 && r.err == nil {
		// Complete, it would be a short answer that passes for a whole one.
		r.err = errShortAnswer
	}
	if r.err != nil {
		return r.err
	}
	if r.buf == nil {
		r.buf = r.ex.c.srv.out.Get().(*[outCap]byte)[:headerLen]
	}
	if len(r.buf) > headerLen {
		r.close()
	} else {
		r.buf = r.buf[:0]
	}
	r.buf = appendRecord(r.buf, typeStdout, r.ex.id, nil)
	r.buf = appendEnd(r.buf, r.ex.id, 0, statusRequestComplete)
	r.write()
	return r.err
}

// hasSent reports whether the front server has any of the answer.
func (r *response) hasSent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent
}

// release gives the memory back, and drops what is in it.
func (r *response) release() {
	r.mu.Lock()
	r.done = true
	if r.buf != nil {
		r.ex.c.srv.out.Put((*[outCap]byte)(r.buf[:outCap]))
		r.buf = nil
	}
	r.mu.Unlock()
}
