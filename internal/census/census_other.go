//go:build !linux

// Package census is for tests: it says what a process has, and what of it was not there
// before. Where there is no /proc, it counts goroutines only.
package census

import (
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Isolate does nothing here.
func Isolate() {}

// A Census is what this process has at a time.
type Census struct{ leaks goleak.Option }

// Take counts.
func Take(testing.TB) Census { return Census{goleak.IgnoreCurrent()} }

// Compare fails the test if there is more than there was.
func (c Census) Compare(t testing.TB, _ time.Duration) {
	t.Helper()
	goleak.VerifyNone(t, c.leaks)
}

// A Process is one that is there.
type Process struct{ Pid int }

// Dead is not known here.
func (p Process) Dead() bool { return false }

// Find looks for a process.
func Find(pid int) (Process, bool) { return Process{pid}, syscall.Kill(pid, 0) == nil }
