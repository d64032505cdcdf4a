//go:build unix

package fcgi

import (
	"net"
	"syscall"
)

// readable reports whether there is something to read from a connection, its end
// included. What can't be looked at is taken to be quiet.
func readable(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	found := false
	err = rc.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		found = err != syscall.EAGAIN
		return true
	})
	return found || err != nil
}
