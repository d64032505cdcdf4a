package cgi

import (
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"warmcgi/internal/census"
)

// leave ends a script at once: with -race, os.Exit takes a second.
func leave(code int) {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(code), 0, 0)
	}
}

// die ends a script by a signal, also by one that Go has a handler for and does not
// give back.
func die(sig syscall.Signal) {
	var defaults [4]uint64 // a struct kernel_sigaction, on every architecture
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&defaults)), 0, 8, 0, 0)
	for {
		syscall.Kill(os.Getpid(), sig)
	}
}

// endDaemon ends a daemon that a script has left behind and the gateway let go. It
// may have ended already.
func endDaemon(t testing.TB, pid int) {
	t.Helper()
	p, ok := census.Find(pid)
	require.True(t, ok, "nobody has waited for the daemon")
	require.Equal(t, pid, p.Session, "it has a session of its own")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, func() bool {
		got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		require.NoError(t, err)
		return got == pid
	}, "the end of the daemon")
}
