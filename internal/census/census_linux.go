// Package census is for tests: it says what a process has, descriptors, children and
// goroutines, and what of it was not there before.
package census

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// Isolate does what the gateway does at its start: what the tests have inherited, their
// scripts must not. And it makes the process the parent of orphans, so that they can be
// counted. It is for TestMain.
func Isolate() {
	unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	for sig := syscall.Signal(1); sig < 32; sig++ {
		if signal.Ignored(sig) { // as in the background of a shell
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	// The poller's own descriptors are made with the first pipe.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}

// A Census is what this process has at a time.
type Census struct {
	files    map[string]string
	children map[int]string
	leaks    goleak.Option
}

// Take counts.
func Take(t testing.TB) Census {
	t.Helper()
	return Census{openFiles(t), children(t), goleak.IgnoreCurrent()}
}

// Compare fails the test if there is more of anything than there was. It has so much time
// to go away.
func (c Census) Compare(t testing.TB, patience time.Duration) {
	t.Helper()
	var extra []string
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		extra = nil
		for fd, file := range openFiles(t) {
			if c.files[fd] != file {
				extra = append(extra, "descriptor "+fd+": "+file)
			}
		}
		for pid, name := range children(t) {
			if c.children[pid] == "" {
				extra = append(extra, fmt.Sprintf("process %d: %s", pid, name))
			}
		}
		if len(extra) == 0 || time.Now().After(deadline) {
			break
		}
	}
	assert.Empty(t, extra, "left behind")
	goleak.VerifyNone(t, c.leaks)
}

// openFiles are the descriptors, and what they are.
func openFiles(t testing.TB) map[string]string {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	files := map[string]string{}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && !strings.HasPrefix(to, "/proc/") {
			files[filepath.Base(l)] = to
		}
	}
	return files
}

// children are the processes whose parent we are, dead or alive, orphans included.
func children(t testing.TB) map[int]string {
	t.Helper()
	all := map[int]string{}
	for _, p := range processes(t) {
		if p.Parent == os.Getpid() {
			all[p.Pid] = fmt.Sprintf("%s, state %s, group %d, session %d", p.Name, p.State, p.Group, p.Session)
		}
	}
	return all
}

// A Process is what /proc/<pid>/stat says of one.
type Process struct {
	Pid, Parent, Group, Session int
	Name, State                 string
}

// Dead: it has ended, and at most was not waited for.
func (p Process) Dead() bool { return p.State == "Z" || p.State == "X" }

// Find looks for a process.
func Find(pid int) (p Process, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, false
	}
	_, after, _ := strings.Cut(string(b), "(")
	i := strings.LastIndex(after, ")")
	f := strings.Fields(after[i+1:])
	p.Pid, p.Name, p.State = pid, after[:i], f[0]
	for at, s := range map[*int]string{&p.Parent: f[1], &p.Group: f[2], &p.Session: f[3]} {
		*at, _ = strconv.Atoi(s)
	}
	return p, true
}

// Group is who lives in a process group.
func Group(t testing.TB, group int) (members []Process) {
	t.Helper()
	for _, p := range processes(t) {
		if p.Group == group && !p.Dead() {
			members = append(members, p)
		}
	}
	return members
}

func processes(t testing.TB) (all []Process) {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, f := range folders {
		pid, _ := strconv.Atoi(filepath.Base(f))
		if p, ok := Find(pid); ok {
			all = append(all, p)
		}
	}
	return all
}
