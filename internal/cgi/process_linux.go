package cgi

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysProcAttr: an own process group, so that it can be killed as one, and death
// with the gateway.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// The system calls below never block, so Go's scheduler need not hear of them: that
// saves more than half of what they cost.

func pipe(p *[2]int) error { return syscall.Pipe2(p[:], syscall.O_CLOEXEC) }

// unblock makes one end of a new pipe non-blocking.
func unblock(fd int) {
	syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFL, syscall.O_NONBLOCK)
}

func closeFD(fd int) { syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0) }

func kill(pid int, sig syscall.Signal) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_KILL, uintptr(pid), uintptr(sig), 0); errno != 0 {
		return errno
	}
	return nil
}

// waitNow takes the exit status of a child that has ended; 0 is that it has not.
func waitNow(pid int, ws *syscall.WaitStatus, ru *syscall.Rusage) (int, error) {
	var status uint32
	n, _, errno := syscall.RawSyscall6(syscall.SYS_WAIT4, uintptr(pid), uintptr(unsafe.Pointer(&status)), syscall.WNOHANG, uintptr(unsafe.Pointer(ru)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	*ws = syscall.WaitStatus(status)
	return int(n), nil
}

// HasEnded reports whether a process, which need not be a child, has ended. It may not
// have been waited for.
func HasEnded(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return kill(pid, 0) == syscall.ESRCH
	}
	defer closeFD(fd)
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

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
