package gateway

import (
	"io"
	"syscall"
	"time"

	"warmcgi/internal/cgi"
)

// kernelBody is a body that can be moved within the kernel; on Linux, package cgi's.
type kernelBody interface {
	CanSplice() bool
	Splice(dst syscall.RawConn, stall func()) (int64, error)
}

// spliceBody carries a body through [http.ResponseWriter]'s ReadFrom to [conn].
type spliceBody struct {
	body cgi.Body
	k    kernelBody
}

// newSpliceBody reports false where the body has to be copied.
func newSpliceBody(b cgi.Body) (*spliceBody, bool) {
	k, ok := b.(kernelBody)
	if !ok || !k.CanSplice() {
		return nil, false
	}
	return &spliceBody{b, k}, true
}

// Read is for what net/http wants to have in its hands first.
func (s *spliceBody) Read(b []byte) (int, error) {
	n, err := s.body.Read(b)
	if err != nil && err != io.EOF {
		err = scriptError{err}
	}
	return n, err
}

func (s *spliceBody) spliceTo(c *conn) (int64, error) {
	n, err := s.k.Splice(c.out.Raw(), func() { c.SetWriteDeadline(time.Now().Add(c.stall)) })
	c.SetWriteDeadline(time.Time{})
	if err != nil && err != io.EOF {
		err = scriptError{err}
	}
	return n, err
}
