//go:build unix && !linux

package cgi

import "syscall"

// sysProcAttr: an own process group. There is no parent-death signal here.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// pipe holds the fork lock, as without pipe2 a child that is forked meanwhile would
// inherit both ends.
func pipe(p *[2]int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := syscall.Pipe(p[:]); err != nil {
		return err
	}
	syscall.CloseOnExec(p[0])
	syscall.CloseOnExec(p[1])
	return nil
}

// HasEnded sees only those that were waited for.
func HasEnded(pid int) bool { return kill(pid, 0) == syscall.ESRCH }

func waitExit(_ int, tryReap func() bool) { pollExit(tryReap) }

func unblock(fd int) { syscall.SetNonblock(fd, true) }

func closeFD(fd int) { syscall.Close(fd) }

func kill(pid int, sig syscall.Signal) error { return syscall.Kill(pid, sig) }

// waitNow takes the exit status of a child that has ended; 0 is that it has not.
func waitNow(pid int, ws *syscall.WaitStatus, ru *syscall.Rusage) (int, error) {
	for {
		n, err := syscall.Wait4(pid, ws, syscall.WNOHANG, ru)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
