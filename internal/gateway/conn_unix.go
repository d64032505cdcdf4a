//go:build unix

package gateway

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawWrite is write(2) on a descriptor that does not block; b is not empty.
func rawWrite(fd uintptr, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// hungUp reports whether a socket is dead in both directions: a client that has
// only shut its sending side leaves POLLHUP and POLLERR unset.
func hungUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}
