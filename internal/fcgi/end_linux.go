package fcgi

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func endUnlessMore(fd uintptr) (more bool) {
	var b [1]byte
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	if errno == 0 && n > 0 {
		return true
	}
	syscall.RawSyscall(unix.SYS_SHUTDOWN, fd, syscall.SHUT_RDWR, 0)
	return false
}
