//go:build unix && !linux

package cgi

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func leave(code int) { os.Exit(code) }

func die(sig syscall.Signal) {
	signal.Reset()
	for {
		syscall.Kill(os.Getpid(), sig)
	}
}

func cleanProcess() {}

// A census counts goroutines only, where there is no /proc.
type census struct{ leaks goleak.Option }

func takeCensus(testing.TB) census { return census{goleak.IgnoreCurrent()} }

func (c census) compare(t testing.TB) { goleak.VerifyNone(t, c.leaks) }

// endDaemon ends a daemon that a script has left behind and the gateway let go.
func endDaemon(_ testing.TB, pid int) { syscall.Kill(pid, syscall.SIGKILL) }
