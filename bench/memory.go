package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"warmcgi/internal/proctree"
)

const (
	// settleTime is how long a server gives small answers before its memory is looked at.
	settleTime = time.Second
	// warmUp is for servers that start processes as they are needed.
	warmUp = 300 * time.Millisecond
)

// settle has a server answer for a moment, and notes the memory of one that will give large
// answers, so that what grows later is what those take.
func (s *server) settle(ctx context.Context, w *workload, connections int) error {
	if w.moves() == 0 {
		_, err := s.measure(ctx, w.probe(), connections, warmUp)
		return err
	}
	_, err := s.measure(ctx, w.probe(), connections, settleTime)
	s.rest = s.resident()
	return err
}

// resident is the resident memory (VmRSS) of a server's own processes, which php-fpm's
// are not.
func (s *server) resident() int64 { return s.sumOwn("VmRSS") }

// forgetPeak has the kernel begin anew with what a process's largest size was (proc(5),
// clear_refs).
func (s *server) forgetPeak() {
	for _, pid := range s.own() {
		os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}

// growth is how much the server's own processes had at most since then, over what they had
// before large answers. Those of a server with several may not have had it at the same time.
func (s *server) growth() int64 { return s.sumOwn("VmHWM") - s.rest }

func (s *server) own() (pids []int) {
	for _, c := range s.procs {
		if c != s.fpm {
			pids = append(pids, proctree.List(c.Process.Pid)...)
		}
	}
	return pids
}

// sumOwn adds up a line of /proc/PID/status.
func (s *server) sumOwn(line string) (sum int64) {
	for _, pid := range s.own() {
		sum += proctree.Status(pid, line)
	}
	return sum
}
