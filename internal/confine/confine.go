// Package confine is what the operating system holds a script's processes to: the user
// that they run as, and their limits. A process confines itself, on its way to execute
// the script: see package shim.
package confine

import (
	"strings"
	"syscall"
	"time"
)

// Rules are those of a route's scripts. The nil pointer is none.
type Rules struct {
	// User is who the scripts run as; nil is the gateway's own user.
	User *User
	// Limits are for each process.
	Limits Limits
}

// New returns the rules, or nil where there is nothing to hold to.
func New(u *User, l Limits) *Rules {
	if u == nil && l == (Limits{}) {
		return nil
	}
	return &Rules{User: u, Limits: l}
}

// Limited reports whether there are limits.
func (r *Rules) Limited() bool { return r != nil && r.Limits != Limits{} }

// RunsAs is the user, or nil for the gateway's own.
func (r *Rules) RunsAs() *User {
	if r == nil {
		return nil
	}
	return r.User
}

// Names of limits, as the configuration has them. Those that a process can be ended for
// are values of a metric's label.
const (
	CPU       = "cpu"
	FileSize  = "file_size"
	Processes = "processes"
)

// Ended tells which limit has ended a process, as far as its end shows that: "" is none,
// or nobody knows. A shell gives the signal of its last command as exit status 128 and
// the signal's number.
func (r *Rules) Ended(signal string, code int, cpu time.Duration) string {
	if r == nil {
		return ""
	}
	was := func(s syscall.Signal, name string) bool { return signal == name || code == 128+int(s) }
	switch l := r.Limits; {
	case l.CPU > 0 && (was(syscall.SIGXCPU, "SIGXCPU") || signal == "SIGKILL" && cpu >= l.CPU):
		return CPU
	case l.FileSize > 0 && was(syscall.SIGXFSZ, "SIGXFSZ"):
		return FileSize
	}
	return ""
}

// Describe says what a limit is, for people.
func (r *Rules) Describe(limit string) string {
	if r == nil {
		return ""
	}
	for _, word := range r.Limits.words() {
		if strings.HasPrefix(word, limit+" ") {
			return word
		}
	}
	return ""
}

// A Program is what a process that is confined executes.
type Program struct {
	Argv, Env []string
	// Death is the signal that it gets when Parent, the process above this one, ends.
	Death  syscall.Signal
	Parent int
	// Keep are the descriptors from 3 up that it gets, and what they are here. All others
	// must be close-on-exec.
	Keep map[int]int
}
