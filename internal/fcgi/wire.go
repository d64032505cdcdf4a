package fcgi

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"warmcgi/internal/rawio"
)

// A wire is a connection whose deadlines cost nothing as long as nothing waits for them: a
// request sets several, and most of its reads and writes need not wait.
type wire struct {
	net.Conn
	way   *rawio.Stream // nil where there is no descriptor
	room  func()        // is beginWait
	stall time.Duration // how long the other side may take nothing; 0 is no limit

	mu    sync.Mutex
	read  deadline // guarded by mu
	write deadline // guarded by mu
}

// A deadline is that of one direction.
type deadline struct {
	at      time.Time
	armed   time.Time // what the connection has been told
	waiting bool      // a read or write is under way that may wait
}

func newWire(c net.Conn, stall time.Duration) *wire {
	w := &wire{Conn: c, stall: stall}
	w.way, w.room = rawio.NewStream(c), w.beginWait
	return w
}

// under is the connection below TLS.
func (w *wire) under() net.Conn {
	if t, ok := w.Conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return w.Conn
}

// SetReadDeadline is for reads that are under way, too. A later deadline than the one that
// the connection has is looked at when that passes.
func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read.at = t
	if w.read.waiting {
		w.armRead()
	}
	return nil
}

// armRead tells the connection, if its own deadline is too late. The caller must hold mu.
func (w *wire) armRead() {
	if d := &w.read; !d.at.IsZero() && (d.armed.IsZero() || d.at.Before(d.armed)) {
		w.Conn.SetReadDeadline(d.at)
		d.armed = d.at
	}
}

func (w *wire) Read(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		w.armRead()
		w.read.waiting = true
		w.mu.Unlock()
		n, err = w.readOnce(p)
		w.mu.Lock()
		w.read.waiting = false
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || w.read.passed() || w.read.armed.Equal(w.read.at) { // the last: of a TLS handshake, for ever
			return n, err
		}
		w.Conn.SetReadDeadline(w.read.at) // that was an older one
		w.read.armed = w.read.at
	}
}

func (w *wire) readOnce(p []byte) (int, error) {
	if w.way == nil {
		return w.Conn.Read(p)
	}
	return w.way.Read(p)
}

// hasMore reports whether something has come that was not read yet, whatever the deadline
// is. Of a TLS connection it can't be told.
func (w *wire) hasMore() bool {
	if w.way == nil {
		return false
	}
	n, err := peeks(w.way.Raw())()
	return err == nil && n > 0
}

// endUnlessMore shuts the connection down in both directions, unless hasMore. What is sent between the look and the end would be
// lost, so they are next to each other: these system calls give Go's scheduler no say.
func (w *wire) endUnlessMore() (more bool) {
	if w.way == nil {
		return false
	}
	w.way.Raw().Control(func(fd uintptr) { more = endUnlessMore(fd) })
	return more
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// SetWriteDeadline bounds the writes as a whole, where stall bounds each wait.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write.at = t
	if w.write.waiting {
		w.armWrite()
	}
	return nil
}

// armWrite sets the deadline of a wait that begins, or goes on. The caller must hold mu.
func (w *wire) armWrite() {
	t := w.write.at
	if w.stall > 0 {
		if by := time.Now().Add(w.stall); t.IsZero() || by.Before(t) {
			t = by
		}
	}
	if t != w.write.armed {
		w.Conn.SetWriteDeadline(t)
		w.write.armed = t
	}
}

// Write writes all of b, or fails.
func (w *wire) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if w.way == nil {
		return w.writePlainly(b)
	}
	return w.send(b, nil)
}

// writeBoth writes all of both in one piece, or fails.
func (w *wire) writeBoth(first, second []byte) error {
	if w.way == nil {
		_, err := w.writePlainly(append(first[:len(first):len(first)], second...))
		return err
	}
	_, err := w.send(first, second)
	return err
}

func (w *wire) send(first, second []byte) (int, error) {
	if w.gaveUp() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := w.way.Write(first, second, w.room)
	w.endWait()
	return n, err
}

// writePlainly is for connections of which we don't have the descriptor.
func (w *wire) writePlainly(b []byte) (int, error) {
	if w.gaveUp() {
		return 0, os.ErrDeadlineExceeded
	}
	w.beginWait()
	defer w.endWait()
	return w.Conn.Write(b)
}

// whenWritable calls f, and again when there is room where there was none.
func (w *wire) whenWritable(f func(fd uintptr) error) error {
	if w.gaveUp() {
		return os.ErrDeadlineExceeded
	}
	var failed error
	waited := false
	err := w.way.Raw().Write(func(fd uintptr) bool {
		if failed = f(fd); failed != syscall.EAGAIN {
			return true
		}
		waited = true
		w.beginWait()
		return false
	})
	if waited {
		w.endWait()
	}
	if err == nil && failed != nil {
		return w.way.Failed("write", failed)
	}
	return err
}

// gaveUp reports whether nothing is to be written any more.
func (w *wire) gaveUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.write.at == past
}

func (w *wire) beginWait() {
	w.mu.Lock()
	w.write.waiting = true
	w.armWrite()
	w.mu.Unlock()
}

func (w *wire) endWait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write.waiting = false
	if !w.write.armed.IsZero() {
		w.write.armed = time.Time{}
		w.Conn.SetWriteDeadline(time.Time{})
	}
}
