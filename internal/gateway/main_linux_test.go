package gateway

import (
	"fmt"
	"os"
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

// leave ends a script at once: with -race, os.Exit takes a second.
func leave(code int) {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(code), 0, 0)
	}
}

// cleanProcess does what the gateway does at its start: what the tests have
// inherited, their scripts must not. And it becomes the parent of orphans, so that
// they can be counted.
func cleanProcess() {
	unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	// The poller's own descriptors are made with the first pipe.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}

// A census is what a process has at a time.
type census struct {
	files    map[string]string
	children map[int]string
	leaks    goleak.Option
}

func takeCensus(t testing.TB) census {
	t.Helper()
	return census{openFiles(t), childProcesses(t), goleak.IgnoreCurrent()}
}

// compare fails the test if there is more of anything than there was. It has the
// time to go away.
func (c census) compare(t testing.TB) {
	t.Helper()
	var extra []string
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		extra = nil
		for fd, file := range openFiles(t) {
			if c.files[fd] != file {
				extra = append(extra, "descriptor "+fd+": "+file)
			}
		}
		for pid, name := range childProcesses(t) {
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

// childProcesses are the processes whose parent we are, dead or alive, orphans
// included.
func childProcesses(t testing.TB) map[int]string {
	t.Helper()
	children := map[int]string{}
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			continue // the thread has ended
		}
		for f := range strings.FieldsSeq(string(b)) {
			pid, _ := strconv.Atoi(f)
			children[pid] = commandOf(pid)
		}
	}
	return children
}

func commandOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "gone"
	}
	return string(b)
}

// lives reports whether a process runs: it exists, and is not dead and waited for.
func lives(pid int) bool {
	_, after, ok := strings.Cut(commandOf(pid), ") ")
	return ok && after[0] != 'Z' && after[0] != 'X'
}
