package serving

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// CleanProcess takes away what the process may have inherited and its scripts must
// not: open descriptors, ignored signals (nohup), blocked signals.
func CleanProcess() error {
	// From 3 up; the sockets that systemd passes are ours to keep, but not the scripts'.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		closeOnExecAll()
	}
	// Only a signal with the default disposition, or a handler, is default after
	// exec. A handler that drops the signal is as good as ignoring it for us.
	for s := syscall.Signal(1); s < 32; s++ {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	defaultSIGCHLD()
	for _, s := range []syscall.Signal{32, 33} { // the C library's own, which its posix_spawn leaves ignored
		if ignored(s) {
			setDefault(s)
		}
	}
	return unblockSignals()
}

// defaultSIGCHLD takes Go's handler away. Nobody listens to the signal, scripts are
// waited for without it, and with the default disposition the kernel drops it instead
// of interrupting a thread of ours for every script that ends.
func defaultSIGCHLD() { setDefault(syscall.SIGCHLD) }

// sigaction is the kernel's: handler, flags, restorer, mask.
type sigaction [4]uint64

func setDefault(s syscall.Signal) {
	var act sigaction // all zero: SIG_DFL, no flags, empty mask
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
}

// ignored also knows the signals that os/signal does not.
func ignored(s syscall.Signal) bool {
	var act sigaction
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&act)), 8, 0, 0)
	return errno == 0 && act[0] == 1 // SIG_IGN
}

func closeOnExecAll() {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, p := range fds {
		if fd, err := strconv.Atoi(filepath.Base(p)); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// unblockSignals starts the program anew with an empty signal mask, if it has come
// with another: the mask belongs to each thread, and Go has made some by now.
func unblockSignals() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var none, was unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, &was); err != nil {
		return fmt.Errorf("signal mask: %w", err)
	}
	if was == none {
		return nil
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return fmt.Errorf("starting anew with no signal blocked: %w", syscall.Exec(exe, os.Args, os.Environ()))
}
