package fcgi

import (
	"net"
	"syscall"
)

// quiet returns a function that reports whether there is nothing to read from a
// connection, not even its end; nil where that can't be looked at. It is made once for a
// connection, so that to look costs no more than the system call.
func quiet(c net.Conn) func() bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil // TLS
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	var b [1]byte
	is := false
	look := func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		is = err == syscall.EAGAIN
		return true
	}
	return func() bool {
		is = false
		return rc.Read(look) == nil && is
	}
}
