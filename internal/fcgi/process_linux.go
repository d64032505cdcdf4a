package fcgi

import "syscall"

// processAttr: a group of its own, and it dies with the gateway.
func processAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
