package main

import (
	"fmt"
	"strings"
	"syscall"

	"warmcgi/internal/proctree"
)

// usage is what a server's process tree has used: what its cgroup says, or, where there
// is none, what /proc/PID/stat says of each live process of the tree and of the children
// that it has waited for.
type usage struct {
	cpu    float64 // seconds
	behind float64 // of these, php-fpm's, by /proc
	memory int64   // PSS, octets
}

func (s *server) usage() (usage, error) {
	var u usage
	for _, c := range s.procs {
		for _, pid := range proctree.List(c.Process.Pid) {
			t, err := proctree.CPU(pid)
			if err != nil {
				if pid == c.Process.Pid {
					return u, fmt.Errorf("process %d has ended: %s", pid, strings.TrimSpace(s.output.String()))
				}
				continue // a script that has just ended; its parent has its time
			}
			u.cpu += t.Sum()
			if c == s.fpm {
				u.behind += t.Sum()
			}
			u.memory += proctree.PSS(pid)
		}
	}
	if s.group == nil {
		return u, nil
	}
	var err error
	u.cpu, err = s.group.CPU()
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
