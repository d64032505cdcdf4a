package fcgi

import (
	"net"
	"syscall"
)

// quiet returns a function that reports whether there is nothing to read from a
// connection, not even its end; nil where that can't be looked at.
func quiet(c net.Conn) func() bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil // TLS
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	look := peeks(rc)
	return func() bool {
		_, err := look()
		return err == syscall.EAGAIN
	}
}

// peeks returns a function that looks for the next octet, and does not wait for it. It is
// made once for a connection, so that to look costs no more than the system call.
func peeks(rc syscall.RawConn) func() (n int, err error) {
	var b [1]byte
	var n int
	var err error
	look := func(fd uintptr) { n, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT) }
	return func() (int, error) {
		// Control, not Read, which fails when some deadline has passed.
		if cerr := rc.Control(look); cerr != nil {
			return 0, cerr
		}
		return n, err
	}
}
