package pool

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// accept takes one connection of a listening socket: a descriptor that does not block,
// and the process at its other end, with its user.
func accept(listener int) (fd, pid int, uid uint32, err error) {
	fd, _, err = syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	if err != nil {
		return -1, 0, 0, err
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		syscall.Close(fd)
		return -1, 0, 0, err
	}
	return fd, int(cred.Pid), cred.Uid, nil
}
