package pool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// unsafeToFork looks at a warm parent from outside: what would make its children share
// something that they must not. It returns the reason, or "".
func unsafeToFork(pid int) string {
	proc := "/proc/" + strconv.Itoa(pid)
	tasks, err := os.ReadDir(proc + "/task")
	if err != nil {
		return "" // it has gone, which is seen elsewhere
	}
	if len(tasks) > 1 && !onlyRuntimeThreads(proc, tasks) {
		return fmt.Sprintf("has %d threads when it is loaded", len(tasks))
	}
	if b, err := os.ReadFile(fmt.Sprintf("%s/task/%d/children", proc, pid)); err == nil && len(bytes.TrimSpace(b)) > 0 {
		return "has started a process that still runs when it is loaded"
	}
	errors, _ := os.Readlink(proc + "/fd/2")
	fds, err := os.ReadDir(proc + "/fd")
	if err == nil && len(fds) > 0 {
		_, err = os.Readlink(filepath.Join(proc, "fd", fds[0].Name()))
	}
	if os.IsPermission(err) {
		return "has descriptors that can't be looked at (" + err.Error() + ")"
	}
	var open []string
	for _, fd := range fds {
		n, err := strconv.Atoi(fd.Name())
		if err != nil || n <= 3 {
			continue
		}
		target, _ := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		// A copy of standard error leads to the log, as it should: CGI::Carp keeps one.
		if target != errors && !ofRuntime(target) {
			open = append(open, fmt.Sprintf("%d (%s)", n, target))
		}
	}
	if len(open) > 0 {
		sort.Strings(open)
		return "has descriptors open when it is loaded: " + strings.Join(open, ", ")
	}
	return ""
}

// onlyRuntimeThreads: Ruby's timer thread is not the script's, and is started anew in
// each child.
func onlyRuntimeThreads(proc string, tasks []os.DirEntry) bool {
	for _, t := range tasks {
		if t.Name() == filepath.Base(proc) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(proc, "task", t.Name(), "comm"))
		if err != nil || !strings.HasSuffix(strings.TrimSpace(string(b)), "-timer-thr") {
			return false
		}
	}
	return true
}

// ofRuntime: what a language's runtime keeps to wake itself up.
func ofRuntime(target string) bool {
	switch target {
	case "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[timerfd]", "anon_inode:[signalfd]":
		return true
	}
	return false
}

// computes reports whether a process runs, or could if there were a processor.
func computes(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(b[max(bytes.LastIndexByte(b, ')'), 0):], []byte(") "))
	return ok && rest[0] == 'R'
}

// machineMemory is that of the machine, in octets; 0 if nobody knows.
func machineMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n << 10
}
