package pool

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// accept takes one connection of a listening socket: a descriptor that does not block,
// and the process at its other end.
func accept(listener int) (fd, pid int, err error) {
	syscall.ForkLock.RLock()
	fd, _, err = syscall.Accept(listener)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, 0, err
	}
	if err = syscall.SetNonblock(fd, true); err == nil {
		pid, err = unix.GetsockoptInt(fd, 0, unix.LOCAL_PEERPID) // level SOL_LOCAL
	}
	if err != nil {
		syscall.Close(fd)
		return -1, 0, err
	}
	return fd, pid, nil
}
