// Package proctree tells what a process and all below it use: processor time and memory, as Linux has them in /proc and
// in control groups.
package proctree

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"warmcgi/internal/confine"
)

// List is a process and all below it.
func List(pid int) []int {
	pids := []int{pid}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		for f := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				pids = append(pids, List(child)...)
			}
		}
	}
	return pids
}

const ticksPerSecond = 100 // USER_HZ, the same on every Linux that Go runs on

// Times is processor time in seconds: of a process itself, and of the children that it has waited for.
type Times struct{ Own, Children float64 }

// Sum is both.
func (t Times) Sum() float64 { return t.Own + t.Children }

// CPU reads utime, stime, cutime and cstime of proc_pid_stat(5).
func CPU(pid int) (t Times, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return t, err
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 15 {
		return t, fmt.Errorf("process %d: short stat line", pid)
	}
	var ticks [4]int64
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(f[11+i], 10, 64); err != nil {
			return t, err
		}
	}
	return Times{Own: float64(ticks[0]+ticks[1]) / ticksPerSecond, Children: float64(ticks[2]+ticks[3]) / ticksPerSecond}, nil
}

// TreeCPU is the processor time of a process, of those below it, and of their children that have been waited for, in
// seconds. It is an error only if the process itself has gone: others end while they are counted, and their parents have
// their time then.
func TreeCPU(pid int) (sum float64, err error) {
	for _, p := range List(pid) {
		t, err := CPU(p)
		if err != nil && p == pid {
			return 0, err
		}
		sum += t.Sum()
	}
	return sum, nil
}

// PSS is the memory of a process in octets, with what it shares counted in part.
func PSS(pid int) int64 { return confine.MemoryOf(pid) }

// TreePSS is that of a process and all below it.
func TreePSS(pid int) (sum int64) {
	for _, p := range List(pid) {
		sum += PSS(p)
	}
	return sum
}

// Status is a size of /proc/PID/status, such as VmRSS, in octets; 0 is none.
func Status(pid int, name string) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for l := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(l, name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
