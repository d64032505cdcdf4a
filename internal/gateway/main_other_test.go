//go:build !linux

package gateway

import (
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func leave(code int) { os.Exit(code) }

func cleanProcess() {}

// A census is what a process has at a time.
type census struct{ leaks goleak.Option }

func takeCensus(testing.TB) census { return census{goleak.IgnoreCurrent()} }

func (c census) compare(t testing.TB) { goleak.VerifyNone(t, c.leaks) }

// lives reports whether a process is there.
func lives(pid int) bool { return syscall.Kill(pid, 0) == nil }
