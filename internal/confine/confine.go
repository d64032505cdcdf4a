// Package confine is what the operating system holds a script's processes to: the user
// that they run as, their limits, and their sandbox. A process confines itself, on its way to execute
// the script: see package shim.
package confine

import (
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Rules are those of a route's scripts. The nil pointer is none.
type Rules struct {
	// User is who the scripts run as; nil is the gateway's own user.
	User *User
	// Limits are for each process.
	Limits Limits
	// Script is for all processes of a script together. It is the gateway's to keep, so the shim is not told.
	Script ScriptLimits `json:"-"`
	// Sandbox keeps them from the rest of the machine; nil is none.
	Sandbox *Sandbox
}

// New returns the rules, or nil where there is nothing to hold to.
func New(u *User, l Limits) *Rules {
	if u == nil && l == (Limits{}) {
		return nil
	}
	return &Rules{User: u, Limits: l}
}

// In returns the rules with a sandbox; nil is none.
func (r *Rules) In(s *Sandbox) *Rules {
	if s == nil {
		return r
	}
	in := Rules{}
	if r != nil {
		in = *r
	}
	in.Sandbox = s
	return &in
}

// Limited reports whether there are limits for each process.
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

// Died reports whether a process, or the last command of a shell, has ended by a signal: a shell
// gives that as exit status 128 and the signal's number.
func Died(of syscall.Signal, signal string, code int) bool {
	return signal == unix.SignalName(of) || code == 128+int(of)
}

// Ended tells which limit has ended a process, as far as its end shows that: "" is none,
// or nobody knows.
func (r *Rules) Ended(signal string, code int, cpu time.Duration) string {
	if r == nil {
		return ""
	}
	switch l := r.Limits; {
	case l.CPU > 0 && (Died(syscall.SIGXCPU, signal, code) || signal == "SIGKILL" && cpu >= l.CPU):
		return CPU
	case l.FileSize > 0 && Died(syscall.SIGXFSZ, signal, code):
		return FileSize
	}
	return ""
}

// Words lists all limits, as the configuration has them; "" is that there are none.
func (r *Rules) Words() string {
	if r == nil {
		return ""
	}
	return strings.Join(r.words(), ", ")
}

func (r *Rules) words() []string { return append(r.Limits.words(), r.Script.words()...) }

// Describe says what a limit is, for people.
func (r *Rules) Describe(limit string) string {
	if r == nil {
		return ""
	}
	for _, word := range r.words() {
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
