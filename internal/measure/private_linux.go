package measure

import "syscall"

// ownGroup: it does not get the terminal's Ctrl-C, and does not outlive us.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
