//go:build unix

package cgi

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipes makes the pipes of standard output and standard error. Our reading ends do
// not block; the script's must.
func pipes(outR, outW, errR, errW *int) error {
	var a, b [2]int
	if err := pipe(&a); err != nil {
		return os.NewSyscallError("pipe", err)
	}
	if err := pipe(&b); err != nil {
		closeAll(a[0], a[1])
		return os.NewSyscallError("pipe", err)
	}
	unblock(a[0])
	unblock(b[0])
	*outR, *outW, *errR, *errW = a[0], a[1], b[0], b[1]
	return nil
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}

// pollExit is the wait for an exit where the kernel has no descriptor for it.
func pollExit(tryReap func() bool) {
	for pause := time.Millisecond; !tryReap(); pause = min(2*pause, 50*time.Millisecond) {
		time.Sleep(pause)
	}
}

// reapGroup waits for the dead of a process group, and reports whether there were
// any: its orphans are ours where the gateway is a subreaper, or process 1, and a
// group is not gone before they have been waited for.
func reapGroup(group int) (any bool) {
	var ws syscall.WaitStatus
	var ru syscall.Rusage
	for {
		if pid, err := waitNow(-group, &ws, &ru); pid <= 0 || err != nil {
			return any
		}
		any = true
	}
}

// SignalName is the name of a signal, as SIGTERM.
func SignalName(s syscall.Signal) string {
	if n := unix.SignalName(s); n != "" {
		return n
	}
	return s.String()
}

// isWait: nothing has come yet, and more may.
func isWait(err error) bool { return err == os.ErrDeadlineExceeded }
