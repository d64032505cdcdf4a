package cgi

import "time"

// Running is a spawned script, as [Spawn.Processes] tells of it.
type Running struct {
	Pid     int
	Script  string
	Request string // its id
	Began   time.Time
}

// Processes are the scripts that run, at most so many.
func (s *Spawn) Processes(most int) []Running {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Running, 0, min(most, len(s.live)))
	for p := range s.live {
		if len(all) >= most {
			break
		}
		p.mu.Lock()
		pid := p.pid
		p.mu.Unlock()
		if pid != 0 {
			all = append(all, Running{Pid: pid, Script: p.req.Script.Name, Request: p.req.ID, Began: p.began})
		}
	}
	return all
}
