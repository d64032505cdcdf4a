package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// usage is what a server's process tree has used: what its cgroup says, or, where there
// is none, what /proc/PID/stat says of each live process of the tree and of the children
// that it has waited for.
type usage struct {
	cpu    float64 // seconds
	memory int64   // PSS, octets
}

const ticksPerSecond = 100 // USER_HZ, the same on every Linux that Go runs on

func (s *server) usage() (usage, error) {
	var u usage
	for _, c := range s.procs {
		for _, pid := range tree(c.Process.Pid) {
			ticks, err := cpuTicks(pid)
			if err != nil {
				if pid == c.Process.Pid {
					return u, fmt.Errorf("process %d has ended: %s", pid, strings.TrimSpace(s.output.String()))
				}
				continue // a script that has just ended; its parent has its time
			}
			u.cpu += float64(ticks) / ticksPerSecond
			u.memory += pss(pid)
		}
	}
	if s.group == nil {
		return u, nil
	}
	var err error
	u.cpu, err = s.group.cpu()
	return u, err
}

const (
	byCgroup = "cgroup"
	byProc   = "/proc"
)

// counted says how the CPU time of a server is counted.
func (s *server) counted() string {
	if s.group != nil {
		return byCgroup
	}
	return byProc
}

// ownCPU is the CPU time of this process, in seconds.
func ownCPU() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// tree is a process and all below it.
func tree(pid int) []int {
	pids := []int{pid}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		for f := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				pids = append(pids, tree(child)...)
			}
		}
	}
	return pids
}

// cpuTicks is utime, stime, cutime and cstime of proc_pid_stat(5).
func cpuTicks(pid int) (int64, error) {
	t, err := ticks(pid)
	return t[0] + t[1] + t[2] + t[3], err
}

// ticks are the four of them, each for itself.
func ticks(pid int) (t [4]int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return t, err
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 15 {
		return t, fmt.Errorf("process %d: short stat line", pid)
	}
	for i := range t {
		if t[i], err = strconv.ParseInt(f[11+i], 10, 64); err != nil {
			return t, err
		}
	}
	return t, nil
}

// pss is the memory of a process, with what it shares counted in part.
func pss(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
