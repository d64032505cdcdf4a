package fcgi

import (
	"net"
	"syscall"
	"unsafe"
)

// pollfd is that of poll(2).
type pollfd struct {
	fd      int32
	events  int16
	revents int16
}

const (
	pollErr   = 0x8
	pollHup   = 0x10
	pollRdHup = 0x2000
)

// hungUp reports whether the other side has closed the connection, although there is
// data that has not been read.
func hungUp(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	up := false
	rc.Control(func(fd uintptr) {
		p := pollfd{fd: int32(fd), events: pollRdHup}
		var now syscall.Timespec
		n, _, _ := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		up = n == 1 && p.revents&(pollErr|pollHup|pollRdHup) != 0
	})
	return up
}
