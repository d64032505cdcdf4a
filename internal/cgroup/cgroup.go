// Package cgroup holds all processes of a script together to limits, by control groups of version 2 (cgroups(7)). It
// makes them in the part of the tree that the gateway was given:
//
//	base              the gateway's own, as a service manager or a container has handed it over
//	base/warmcgi      the gateway moves here: a group with limits below it must be empty itself
//	base/warmcgi-PID  what the gateway with that number has made
//	…/1-form.pl       a script's, with its limits: its warm parent and its workers are in it
//	…/1-form.pl/7     a process of mode spawn, and what it starts
//
// It guarantees that
//
//   - a process is in its group from its first instruction on, and what it starts is, too;
//   - a request that the gateway ends takes with it all that its process of mode spawn has started, also what has left its
//     process group;
//   - when the gateway ends, or the next one begins after a crash, nothing is left in its groups.
//
// A script that runs as the gateway's own user can write to the tree as the gateway can, and so lift its limits: they hold
// for other users, and for those that a sandbox keeps from it.
package cgroup

import (
	"errors"
	"sync"
	"time"

	"warmcgi/internal/confine"
)

// ErrUnavailable: the gateway has no tree to make groups in, or not with what a limit needs.
var ErrUnavailable = errors.New("no control groups")

// controllers are what a limit needs of the tree.
var controllers = map[string]string{
	confine.ScriptMemory:     "memory",
	confine.ScriptProcesses:  "pids",
	confine.ScriptProcessors: "cpu",
}

// Limits are the names of all limits, in the order of the configuration.
var Limits = []string{confine.ScriptMemory, confine.ScriptProcesses, confine.ScriptProcessors}

// idleTime is how long a group without processes is kept for the next one.
const idleTime = time.Minute

// A Tree is where groups are made. The nil pointer makes none.
type Tree struct {
	mu     sync.Mutex // guards what follows; never held over a wait
	opened bool
	dir    string
	lacks  map[string]error // limits that can't be kept, and why
	groups map[key]*Group
	number int // of the last group
	closed bool
}

type key struct {
	rules  *confine.Rules
	script string
}

// New returns a tree that is not open: it makes no group.
func New() *Tree {
	return &Tree{lacks: map[string]error{}, groups: map[key]*Group{}}
}

// Lacks tells why limits of a script are not kept, by their names; those that are kept are left out.
func (t *Tree) Lacks(s confine.ScriptLimits) map[string]error {
	t.mu.Lock()
	defer t.mu.Unlock()
	lacks := map[string]error{}
	for limit, why := range t.lacks {
		if s.Has(limit) {
			lacks[limit] = why
		}
	}
	return lacks
}

// Status is what a tree does, for people.
type Status struct {
	// Folder is where the groups are; "" is that there are none.
	Folder string `json:"folder,omitempty"`
	// NotKept are the limits that can't be kept here, and why.
	NotKept map[string]string `json:"not_kept,omitempty"`
	// Groups are those that there are.
	Groups []GroupStatus `json:"groups,omitempty"`
}

// GroupStatus is one script's group.
type GroupStatus struct {
	Script string `json:"script"`
	Limits string `json:"limits"`
	// Memory is in octets; -1 is that nobody counts.
	Memory int64 `json:"memory"`
	// Processes that are in it; -1 is that nobody counts.
	Processes int64 `json:"processes"`
	// Killed is how many processes were ended for want of memory, Refused how many could not be started.
	Killed  int64 `json:"killed"`
	Refused int64 `json:"refused"`
}
