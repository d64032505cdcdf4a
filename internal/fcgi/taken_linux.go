package fcgi

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// taken returns a function that reports whether the other end of a Unix socket has read all
// that was sent. It is nil for others: TCP knows only that the other system has it.
func taken(c net.Conn) func() bool {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	rc, err := u.SyscallConn()
	if err != nil {
		return nil
	}
	return func() bool { return isRead(rc) }
}

func isRead(rc syscall.RawConn) (is bool) {
	rc.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		is = err == nil && n == 0
	})
	return is
}
