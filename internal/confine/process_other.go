//go:build unix && !linux

package confine

import (
	"errors"
	"syscall"
	"time"
)

// Supported: this platform can confine.
const Supported = false

var errPlatform = errors.New("user, limits and sandbox need Linux")

// Become fails where there is something to hold to: see the one for Linux.
func (r *Rules) Become() error {
	if r == nil {
		return nil
	}
	return errPlatform
}

// Assume fails, too.
func (r *Rules) Assume() error { return r.Become() }

// Fork fails, too.
func (r *Rules) Fork(Program, func(pid int) error) error { return errPlatform }

// DieWith does nothing: there is no parent-death signal here.
func DieWith(int, syscall.Signal) error { return nil }

// CPUTime is not known here.
func CPUTime(int) time.Duration { return 0 }

// Look has f look at processes, of which only Linux tells.
func (r *Rules) Look(f func()) { f() }

// Kill sends a signal to a process group.
func (r *Rules) Kill(group int, s syscall.Signal) error { return syscall.Kill(-group, s) }

// Lower: nothing is limited here.
func (l Limits) Lower() []string { return nil }

func lacks() string { return "" }
