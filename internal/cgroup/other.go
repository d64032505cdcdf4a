//go:build unix && !linux

package cgroup

import (
	"fmt"
	"os"
	"syscall"

	"warmcgi/internal/confine"
)

var errPlatform = fmt.Errorf("%w: they are Linux's", ErrUnavailable)

// Possible says that no limit is.
func Possible() map[string]error {
	all := map[string]error{}
	for _, limit := range Limits {
		all[limit] = errPlatform
	}
	return all
}

// Destroy removes a folder.
func Destroy(dir string) error { return os.Remove(dir) }

// Open does nothing.
func (t *Tree) Open() {}

// Close does nothing.
func (t *Tree) Close() error { return nil }

// Status says nothing.
func (t *Tree) Status() Status { return Status{} }

// Use makes no group.
func (t *Tree) Use(*confine.Rules, string) (*Group, error) { return nil, nil }

// A Group is Linux's.
type Group struct{}

// Release does nothing.
func (g *Group) Release() {}

// Begin does nothing.
func (g *Group) Begin(*syscall.SysProcAttr) {}

// Killed is none.
func (g *Group) Killed() int64 { return 0 }

// News are none.
func (g *Group) News() []string { return nil }

// A Leaf is Linux's.
type Leaf struct{}

// Leaf makes none.
func (g *Group) Leaf() (*Leaf, error) { return nil, nil }

// Begin does nothing.
func (l *Leaf) Begin(*syscall.SysProcAttr) {}

// Kill does nothing.
func (l *Leaf) Kill() {}

// Close does nothing.
func (l *Leaf) Close() {}
