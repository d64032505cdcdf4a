//go:build unix && !linux

package cgi

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

func leave(code int) { os.Exit(code) }

func die(sig syscall.Signal) {
	signal.Reset()
	for {
		syscall.Kill(os.Getpid(), sig)
	}
}

// endDaemon ends a daemon that a script has left behind and the gateway let go.
func endDaemon(_ testing.TB, pid int) { syscall.Kill(pid, syscall.SIGKILL) }
