//go:build unix && !linux

package confine

import (
	"errors"
	"syscall"
)

// Supported: this platform can confine.
const Supported = false

var errPlatform = errors.New("user and limits need Linux")

// Become fails: see the one for Linux.
func (r *Rules) Become() error { return r.Bound(false) }

// Bound fails where there is something to hold to.
func (r *Rules) Bound(bool) error {
	if r == nil {
		return nil
	}
	return errPlatform
}

// DieWith does nothing: there is no parent-death signal here.
func DieWith(int, syscall.Signal) error { return nil }

// LimitCPU has nothing to do, as nothing is confined here.
func (r *Rules) LimitCPU(int, bool) error { return nil }

// FreeCPU has nothing to do either.
func (r *Rules) FreeCPU(int) error { return nil }

// Kill sends a signal to a process group.
func (r *Rules) Kill(group int, s syscall.Signal) error { return syscall.Kill(-group, s) }

// Lower: nothing is limited here.
func (l Limits) Lower() []string { return nil }
