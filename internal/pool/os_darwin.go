package pool

import "syscall"

const ioctlBuffered = 0x4004667f // FIONREAD

// shimAttr: an own process group.
func shimAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func changeTime(st *syscall.Stat_t) syscall.Timespec { return st.Ctimespec }
