package serving

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ReapOrphans makes this process the parent of what its scripts leave behind: daemons
// that have left their process group. It waits for them, and the function that it
// returns ends them, but for the one that it is told. owned tells those that somebody else waits for.
func ReapOrphans(log *slog.Logger, owned func(pid int) bool) (end func(spare int)) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		log.Warn("daemons that scripts leave behind will outlive the gateway", "err", err)
		return func(int) {}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		seen := map[int]bool{}
		for {
			select {
			case <-t.C:
				seen = sweep(seen, owned)
			case <-stop:
				return
			}
		}
	}()
	return func(spare int) {
		close(stop)
		<-done
		endChildren(spare)
	}
}

// sweep waits for the dead among the orphans. A child has to be seen twice: one that
// was started a moment ago may not be known as a script yet.
func sweep(before map[int]bool, owned func(pid int) bool) (now map[int]bool) {
	now = map[int]bool{}
	for _, pid := range children() {
		if owned(pid) {
			continue
		}
		if before[pid] {
			syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
		now[pid] = true
	}
	return now
}

// endChildren: TERM, and KILL two seconds later. No script runs any more, so all
// children are orphans.
func endChildren(spare int) {
	for i := range 22 {
		left := slices.DeleteFunc(children(), func(pid int) bool { return pid == spare })
		for _, pid := range left {
			switch {
			case i == 0:
				syscall.Kill(pid, syscall.SIGTERM)
			case i >= 20:
				syscall.Kill(pid, syscall.SIGKILL)
			}
			syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// children are the processes whose parent we are, dead ones included.
func children() []int {
	var pids []int
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			continue // the thread has ended
		}
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
