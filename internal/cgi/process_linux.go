package cgi

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sysProcAttr: an own process group, so that it can be killed as one, and death
// with the gateway.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func pipe(p *[2]int) error { return syscall.Pipe2(p[:], syscall.O_CLOEXEC) }

// waitExit returns when tryReap has. The pid is not reaped yet, so it is ours; a
// descriptor for it wakes the poller, and no thread is held.
func waitExit(pid int, tryReap func() bool) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil { // before Linux 5.10, or reaped a moment ago
		pollExit(tryReap)
		return
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	c, err := f.SyscallConn()
	if err == nil {
		err = c.Read(func(uintptr) bool { return tryReap() })
	}
	if err != nil {
		pollExit(tryReap)
	}
}
