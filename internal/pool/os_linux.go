package pool

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const ioctlBuffered = unix.TIOCINQ

// shimAttr: an own process group, and the end with the gateway. It is SIGTERM, because
// a warm parent that is told so kills its workers first.
func shimAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func changeTime(st *syscall.Stat_t) syscall.Timespec { return st.Ctim }
