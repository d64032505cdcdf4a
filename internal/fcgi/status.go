package fcgi

import (
	"fmt"
	"slices"
	"time"
)

// ServerStatus tells of one server of an [Upstream], or of one process of a [Program].
type ServerStatus struct {
	// Server is unix:/path, tcp:HOST:PORT or tls:HOST:PORT, or pid N.
	Server string `json:"server"`
	// Out is why it gets no requests: one of the Why constants, or starting; "" is that it
	// gets some.
	Out      string `json:"out,omitempty"`
	Requests int    `json:"requests"` // that it has now
	Room     int    `json:"room"`     // requests that it can have at once
	Idle     int    `json:"idle"`     // connections that are kept for the next request
}

// Status tells of all servers.
func (u *Upstream) Status() []ServerStatus {
	u.mu.Lock()
	servers := slices.Clone(u.servers)
	u.mu.Unlock()
	list := make([]ServerStatus, 0, len(servers))
	for _, s := range servers {
		idle := int(s.links.Stat().IdleResources())
		u.mu.Lock()
		st := ServerStatus{Server: s.name, Requests: s.running, Room: s.roomNow(time.Now()), Idle: idle}
		if s.isOut(time.Now()) {
			st.Out = s.why
		}
		u.mu.Unlock()
		list = append(list, st)
	}
	return list
}

// Waiting is how many requests wait for a server.
func (u *Upstream) Waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.line)
}

// Status tells of the processes.
func (p *Program) Status() []ServerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []ServerStatus
	for _, s := range p.slots {
		st := ServerStatus{Room: 1}
		switch {
		case s.proc == nil && s.failures > 0:
			st.Server, st.Out = "none", WhyFailing
		case s.proc == nil:
			st.Server, st.Out = "none", "starting"
		default:
			st.Server = fmt.Sprint("pid ", s.proc.pid)
			if s.proc.busy {
				st.Requests = 1
			}
		}
		list = append(list, st)
	}
	return list
}
