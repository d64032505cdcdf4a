package pool

import (
	"time"

	"warmcgi/internal/cgi"
)

// A Process is a warm parent or a worker.
type Process struct {
	Script string   `json:"script"`
	Pid    int      `json:"pid"`
	Mode   cgi.Mode `json:"mode"`
	// State is parent, or what a worker does: starting, idle, busy, returning (it has finished a
	// request and cleans up) or leaving.
	State    string    `json:"state"`
	Born     time.Time `json:"born"`
	Requests int       `json:"requests"` // that it has answered
	// Memory is its PSS in octets as last measured; 0 is not yet.
	Memory int64 `json:"pss,omitempty"`
	// Request is the id of the one that it has, or "".
	Request string `json:"request,omitempty"`
}

// Processes are those of all scripts, also of generations that only end what they do; at
// most so many.
func (s *Set) Processes(most int) []Process {
	var all []Process
	for _, p := range s.all() {
		all = p.appendProcesses(all, most)
	}
	return all
}

func (p *Pool) appendProcesses(all []Process, most int) []Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.generations() {
		if len(all) >= most {
			return all
		}
		if !g.dead {
			all = append(all, Process{Script: p.script.Name, Pid: g.pid(), Mode: g.mode, State: "parent", Born: g.began, Memory: g.pss})
		}
		for pid, w := range g.workers {
			if len(all) >= most {
				return all
			}
			if !w.named {
				continue // nobody but itself says that it is one
			}
			one := Process{Script: p.script.Name, Pid: pid, Mode: g.mode, State: w.state.String(), Born: w.born, Requests: w.requests, Memory: w.memory}
			if w.handover != nil {
				one.Request = w.handover.Request().ID
			}
			all = append(all, one)
		}
	}
	return all
}
