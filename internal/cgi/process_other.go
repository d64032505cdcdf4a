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

func waitExit(_ int, tryReap func() bool) { pollExit(tryReap) }
