package fcgi

import (
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// bodySize is how much of a request's body waits in memory for the handler.
	bodySize = 64 << 10
	// watchEvery is how often a front server that we don't read from is looked at.
	watchEvery = time.Second
)

// A body is the STDIN stream of a request (spec 5.3) between the connection's reader,
// which feeds it, and the handler. A full body blocks the reader.
type body struct {
	pool *sync.Pool // of *[bodySize]byte

	mu   sync.Mutex
	cond sync.Cond // L is &mu: anything below has changed
	buf  *[bodySize]byte
	r, n int   // read position, octets waiting
	left int64 // of CONTENT_LENGTH that are still to come, or -1
	end  error // what Read returns when nothing waits; nil is more to come

	closed   bool // by the handler: the rest is not wanted
	deadline time.Time
}

func (b *body) init(pool *sync.Pool, length int64) {
	b.pool = pool
	b.cond.L = &b.mu
	b.left = length
}

// Read blocks until there is something, the body has ended, or the read deadline has
// passed. [io.EOF] is a complete body.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && b.end != io.EOF && b.late() { // also of a body that never pauses
		return 0, os.ErrDeadlineExceeded
	}
	for b.n == 0 || b.closed {
		switch {
		case b.closed:
			return 0, http.ErrBodyReadAfterClose
		case b.end != nil:
			return 0, b.end
		case len(p) == 0:
			return 0, nil
		case !b.wait():
			return 0, os.ErrDeadlineExceeded
		}
	}
	// At most two pieces: to the end of the buffer, and from its start.
	n := copy(p, b.buf[b.r:min(b.r+b.n, bodySize)])
	if m := b.n - n; m > 0 && n < len(p) && b.r+n == bodySize {
		n += copy(p[n:], b.buf[:m])
	}
	b.r = (b.r + n) % bodySize
	b.n -= n
	b.cond.Broadcast()
	return n, nil
}

// late reports whether the read deadline has passed. The caller must hold mu.
func (b *body) late() bool { return !b.deadline.IsZero() && !time.Now().Before(b.deadline) }

// wait waits for a change, or reports false when the deadline has passed. The caller
// must hold mu.
func (b *body) wait() bool {
	if b.deadline.IsZero() {
		b.cond.Wait()
		return true
	}
	d := time.Until(b.deadline)
	if d <= 0 {
		return false
	}
	t := time.AfterFunc(d, b.wake)
	b.cond.Wait()
	t.Stop()
	return true
}

func (b *body) wake() {
	b.mu.Lock()
	b.cond.Broadcast()
	b.mu.Unlock()
}

func (b *body) setDeadline(t time.Time) {
	b.mu.Lock()
	b.deadline = t
	b.cond.Broadcast()
	b.mu.Unlock()
}

// Close is the handler's: what has not been read is thrown away as it comes.
func (b *body) Close() error {
	b.mu.Lock()
	b.closed = true
	b.cond.Broadcast()
	b.mu.Unlock()
	return nil
}

// space is room for up to n octets; nil means that none is wanted any more. While
// there is no room it waits, and calls idle now and then. Only the reader calls it.
func (b *body) space(n int, idle func()) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.n == bodySize && !b.closed && b.end == nil {
		t := time.AfterFunc(watchEvery, b.wake)
		since := time.Now()
		b.cond.Wait()
		t.Stop()
		if time.Since(since) >= watchEvery {
			b.mu.Unlock()
			idle()
			b.mu.Lock()
		}
	}
	if b.left >= 0 {
		n = int(min(int64(n), b.left))
	}
	if b.closed || b.end != nil || n == 0 {
		return nil
	}
	if b.buf == nil {
		b.buf = b.pool.Get().(*[bodySize]byte)
	}
	if b.n == 0 {
		b.r = 0 // the longest piece; not in Read, as the reader may be filling one
	}
	w := (b.r + b.n) % bodySize
	return b.buf[w:min(w+n, w+bodySize-b.n, bodySize)]
}

// add makes n octets of the last space readable. Only the reader calls it.
func (b *body) add(n int) {
	b.mu.Lock()
	b.n += n
	if b.left >= 0 {
		if b.left -= int64(n); b.left == 0 && b.end == nil {
			b.end = io.EOF // what follows CONTENT_LENGTH octets is ignored
		}
	}
	b.cond.Broadcast()
	b.mu.Unlock()
}

// finish says that the stream has ended as it should.
func (b *body) finish() {
	b.mu.Lock()
	if b.end == nil {
		b.end = io.EOF
		if b.left > 0 {
			b.end = io.ErrUnexpectedEOF
		}
		b.cond.Broadcast()
	}
	b.mu.Unlock()
}

// fail says that no more will come. A body that is complete stays complete.
func (b *body) fail(err error) {
	b.mu.Lock()
	if b.end == nil {
		b.end = err
		b.cond.Broadcast()
	}
	b.mu.Unlock()
}

// release gives the memory back. The handler has returned, and the reader must not
// feed the body again.
func (b *body) release() {
	b.mu.Lock()
	b.closed = true
	if b.buf != nil {
		b.pool.Put(b.buf)
		b.buf = nil
	}
	b.mu.Unlock()
}
