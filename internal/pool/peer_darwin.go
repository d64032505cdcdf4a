package pool

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// accept takes one connection of a listening socket: a descriptor that does not block,
// and the process at its other end, with its user.
func accept(listener int) (fd, pid int, uid uint32, err error) {
	syscall.ForkLock.RLock()
	fd, _, err = syscall.Accept(listener)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, 0, 0, err
	}
	if err = syscall.SetNonblock(fd, true); err == nil {
		pid, err = unix.GetsockoptInt(fd, 0, unix.LOCAL_PEERPID) // level SOL_LOCAL
	}
	var cred *unix.Xucred
	if err == nil {
		cred, err = unix.GetsockoptXucred(fd, 0, unix.LOCAL_PEERCRED)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, 0, 0, err
	}
	return fd, pid, cred.Uid, nil
}
