package fcgi

import (
	"errors"
	"io"
	"os"
)

const (
	// bulkFrom is how much is not worth copying, to go together with what comes.
	bulkFrom = 16 << 10
	// bulkContent is how much of a long answer goes into a record: the most that needs no
	// padding.
	bulkContent = maxContent &^ 7
	// fileContent is how much of a file does: whole pages, and no more than a pipe has room
	// for. sendfile(2) would send the rest as a segment of its own, which doubles its price.
	fileContent = 60 << 10
)

// ReadFrom is for [io.Copy]. What is read goes out from where it was read to; a file's
// contents don't come into the process at all.
func (r *response) ReadFrom(src io.Reader) (n int64, err error) {
	if l, ok := src.(*io.LimitedReader); ok {
		if f, ok := l.R.(*os.File); ok && r.ex.c.rwc.sendsFiles() {
			for err == nil && l.N >= bulkFrom {
				m, ok, serr := r.sendFile(f, int(min(l.N, fileContent)))
				if !ok {
					break
				}
				l.N -= int64(m)
				n, err = n+int64(m), serr
			}
			if err != nil {
				return n, err
			}
		}
	}
	pool := &r.ex.c.srv.bulk
	buf := pool.Get().(*[bulkContent]byte)
	defer pool.Put(buf)
	m, err := io.CopyBuffer(struct{ io.Writer }{r}, struct{ io.Reader }{src}, buf[:])
	return n + m, err
}

// sendWith sends content, behind what waits, without copying it. The caller must hold mu.
func (r *response) sendWith(content []byte) {
	if len(r.buf) > headerLen {
		r.close()
	} else {
		r.buf = r.buf[:0]
	}
	h := newHeader(typeStdout, r.ex.id, len(content))
	h.padding = 0 // spec 3.3 only recommends it
	r.buf = append(r.buf, zeros[:]...)
	h.put(r.buf[len(r.buf)-headerLen:])
	if err := r.ex.c.writeBoth(r.buf, content); err != nil {
		r.failed(err)
	}
	r.sent = true
	r.buf = r.buf[:headerLen]
}

// sendFile sends n octets of a file as one record. It reports false when they are for
// [response.Write] to judge.
func (r *response) sendFile(f *os.File, n int) (sent int, ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.takes(int64(n)) {
		return 0, false, nil
	}
	r.send()
	if r.err != nil {
		return 0, true, r.err
	}
	h := newHeader(typeStdout, r.ex.id, n)
	h.padding = 0
	var head [headerLen]byte
	h.put(head[:])
	r.sent = true
	sent, err = r.ex.c.writeFile(head[:], f, n)
	if r.left >= 0 {
		r.left -= int64(sent)
	}
	if err != nil {
		r.failed(err)
	}
	return sent, true, r.err
}

// takes reports whether n octets of body can be sent as they are; it begins the answer. The
// caller must hold mu.
func (r *response) takes(n int64) bool {
	return r.open() == nil && r.noBody == nil && (r.left < 0 || r.left >= n)
}

// errShortFile is why a record can't be completed.
var errShortFile = errors.New("the file has become shorter")

// writeFile writes a record whose content is the next n octets of a file.
func (c *conn) writeFile(head []byte, f *os.File, n int) (sent int, err error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.werr == nil {
		sent, c.werr = c.rwc.sendFile(head, f, n)
	}
	return sent, c.werr
}

// writeBoth is write for what lies in two places.
func (c *conn) writeBoth(first, second []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.werr == nil {
		c.werr = c.rwc.writeBoth(first, second)
	}
	return c.werr
}
