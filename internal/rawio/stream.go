//go:build unix

package rawio

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A Stream reads and writes a connection as package net does, but for two things: no word to
// the scheduler, and no allocation. One may read while another writes.
type Stream struct {
	conn net.Conn
	raw  syscall.RawConn
	in   input
	out  output
}

// input is a read under way.
type input struct {
	mu  sync.Mutex
	b   []byte
	n   int
	err error
	try func(fd uintptr) bool
}

// output is a write under way.
type output struct {
	mu            sync.Mutex
	first, second []byte
	n             int // octets written
	err           error
	wait          func()
	try           func(fd uintptr) bool
}

// NewStream is a stream for a connection. It returns nil for one without a descriptor.
func NewStream(c net.Conn) *Stream {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	s := &Stream{conn: c, raw: raw}
	s.in.try, s.out.try = s.in.read, s.out.write
	return s
}

// Raw is the connection's descriptor.
func (s *Stream) Raw() syscall.RawConn { return s.raw }

// Failed is a failed system call as package net has it; other errors stay what they are.
func (s *Stream) Failed(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		return &net.OpError{Op: op, Net: s.conn.LocalAddr().Network(), Addr: s.conn.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
	}
	return err
}

// Read waits until something comes. Its errors are those of [net.Conn].
func (s *Stream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	in := &s.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.b = b
	err := s.raw.Read(in.try)
	in.b = nil
	switch {
	case err != nil:
		return 0, err
	case in.err != nil:
		return 0, s.Failed("read", in.err)
	case in.n == 0:
		return 0, io.EOF
	}
	return in.n, nil
}

func (in *input) read(fd uintptr) bool {
	in.n, in.err = Read(fd, in.b)
	return in.err != syscall.EAGAIN
}

// Write writes all of both, in one piece where there is room, or fails with an error
// of [net.Conn]. wait, when not nil, is called each time that there is no room; it may set
// the connection's deadline.
func (s *Stream) Write(first, second []byte, wait func()) (int, error) {
	out := &s.out
	out.mu.Lock()
	defer out.mu.Unlock()
	out.first, out.second, out.n, out.wait = first, second, 0, wait
	var err error
	for out.n < len(first)+len(second) && err == nil {
		if err = s.raw.Write(out.try); err == nil {
			err = out.err
		}
	}
	out.first, out.second, out.wait = nil, nil, nil
	return out.n, s.Failed("write", err)
}

func (o *output) write(fd uintptr) bool {
	var n int
	if o.n >= len(o.first) {
		n, o.err = Write(fd, o.second[o.n-len(o.first):])
	} else if len(o.second) == 0 {
		n, o.err = Write(fd, o.first[o.n:])
	} else {
		n, o.err = WriteBoth(fd, o.first, o.second, o.n)
	}
	o.n += n
	if o.err != syscall.EAGAIN {
		return true
	}
	o.err = nil
	if o.wait != nil {
		o.wait()
	}
	return false
}
