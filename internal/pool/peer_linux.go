package pool

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// accept takes one connection of a listening socket: a descriptor that does not block,
// and the process at its other end, with its user. Neither call blocks, so Go's scheduler
// need not hear of them; and the address, which has no name, is not asked for.
func accept(listener int) (fd, pid int, uid uint32, err error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, 0, 0, errno
	}
	var cred unix.Ucred
	size := uint32(unsafe.Sizeof(cred))
	_, _, errno = syscall.RawSyscall6(unix.SYS_GETSOCKOPT, n, unix.SOL_SOCKET, unix.SO_PEERCRED,
		uintptr(unsafe.Pointer(&cred)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		syscall.Close(int(n))
		return -1, 0, 0, errno
	}
	return int(n), int(cred.Pid), cred.Uid, nil
}
