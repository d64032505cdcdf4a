package cgi

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
	"unsafe"

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

// die ends a script by a signal, also by one that Go has a handler for and does not
// give back.
func die(sig syscall.Signal) {
	var defaults [4]uint64 // a struct kernel_sigaction, on every architecture
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&defaults)), 0, 8, 0, 0)
	for {
		syscall.Kill(os.Getpid(), sig)
	}
}

// cleanProcess does what the gateway does at its start: what the tests have
// inherited, their scripts must not. And it becomes the parent of orphans, so that
// they can be counted.
func cleanProcess() {
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
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, file := range stats {
		if p, ok := processOf(file); ok && p.parent == os.Getpid() {
			children[p.pid] = fmt.Sprintf("%s, state %s, group %d, session %d", p.name, p.state, p.group, p.session)
		}
	}
	return children
}

type processInfo struct {
	pid, parent, group, session int
	name, state                 string
}

// processOf reads /proc/<pid>/stat.
func processOf(file string) (p processInfo, ok bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return p, false
	}
	before, after, _ := strings.Cut(string(b), "(")
	i := strings.LastIndex(after, ")")
	f := strings.Fields(after[i+1:])
	p.name, p.state = after[:i], f[0]
	for at, s := range map[*int]string{&p.pid: strings.TrimSpace(before), &p.parent: f[1], &p.group: f[2], &p.session: f[3]} {
		*at, _ = strconv.Atoi(s)
	}
	return p, true
}

// groupOf are the processes of a process group, but for the dead ones.
func groupOf(t testing.TB, group int) (members []processInfo) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, file := range stats {
		if p, ok := processOf(file); ok && p.group == group && p.state != "Z" && p.state != "X" {
			members = append(members, p)
		}
	}
	return members
}

// endDaemon ends a daemon that a script has left behind and the gateway let go. It
// may have ended already.
func endDaemon(t testing.TB, pid int) {
	t.Helper()
	p, ok := processOf(fmt.Sprintf("/proc/%d/stat", pid))
	require.True(t, ok, "nobody has waited for the daemon")
	require.Equal(t, pid, p.session, "it has a session of its own")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, func() bool {
		got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		require.NoError(t, err)
		return got == pid
	}, "the end of the daemon")
}
