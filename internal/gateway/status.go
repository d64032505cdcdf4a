package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"warmcgi/internal/cgi"
	"warmcgi/internal/cgroup"
	"warmcgi/internal/fcgi"
	"warmcgi/internal/pool"
)

// Status is what the admin door tells at /status.
type Status struct {
	Software     string              `json:"software"`
	Scripts      []pool.Status       `json:"scripts"`
	Applications []ApplicationStatus `json:"applications"`
	// Configuration tells since when it is served, and what came of the last reload.
	Configuration ReloadStatus `json:"configuration"`
	// Groups tells of the limits that scripts' processes have together; it is left out where no route has any.
	Groups *cgroup.Status `json:"groups,omitempty"`
}

// ApplicationStatus tells of the FastCGI application of one route.
type ApplicationStatus struct {
	Route string `json:"route"`
	Role  string `json:"role"` // responder, or authorizer
	// Program: the gateway starts the processes; Servers are those.
	Program bool                `json:"program"`
	Waiting int                 `json:"waiting"` // requests that wait for a server with room
	Servers []fcgi.ServerStatus `json:"servers"`
}

// Status tells of every script that may be warm, and of the FastCGI servers. It asks none
// of them for anything.
func (s *Server) Status() Status {
	st := Status{Software: cgi.Software, Scripts: []pool.Status{}, Applications: s.applications(), Configuration: s.reloadStatus()}
	if g := s.groups.Status(); g.Folder != "" || g.NotKept != nil {
		st.Groups = &g
	}
	if s.pools != nil {
		st.Scripts = append(st.Scripts, s.pools.Status()...)
	}
	return st
}

func (s *Server) applications() []ApplicationStatus {
	list := []ApplicationStatus{}
	for _, rt := range s.state.Load().routes {
		for _, a := range rt.applications() {
			st := ApplicationStatus{Route: rt.label(), Role: "responder", Program: a.program != nil}
			if a != rt.app {
				st.Role = "authorizer"
			}
			if a.upstream != nil {
				st.Waiting, st.Servers = a.upstream.Waiting(), a.upstream.Status()
			} else {
				st.Servers = a.program.Status()
			}
			list = append(list, st)
		}
	}
	return list
}

// applicationMetrics are what is collected from the FastCGI servers when somebody asks.
type applicationMetrics struct{ of func() []ApplicationStatus }

var (
	serverUp = prometheus.NewDesc("warmcgi_fastcgi_server_up",
		"1 where a FastCGI server gets requests, 0 where it is left out.", []string{"route", "role", "server"}, nil)
	serversUp = prometheus.NewDesc("warmcgi_fastcgi_servers_up",
		"How many FastCGI servers get requests. It is there, and 0, also where a name stands for none.", []string{"route", "role"}, nil)
	serverRequests = prometheus.NewDesc("warmcgi_fastcgi_server_requests",
		"Requests that a FastCGI server has now.", []string{"route", "role", "server"}, nil)
	serverRoom = prometheus.NewDesc("warmcgi_fastcgi_server_room",
		"Requests that a FastCGI server can have at once.", []string{"route", "role", "server"}, nil)
	serverIdle = prometheus.NewDesc("warmcgi_fastcgi_idle_connections",
		"Connections to a FastCGI server that are kept for the next request.", []string{"route", "role", "server"}, nil)
	programProcesses = prometheus.NewDesc("warmcgi_fastcgi_processes",
		"Processes of a FastCGI program that the gateway has started, by state (idle, busy, starting, failing).", []string{"route", "role", "state"}, nil)
)

// Describe implements [prometheus.Collector].
func (m applicationMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{serverUp, serversUp, serverRequests, serverRoom, serverIdle, programProcesses} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (m applicationMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for _, a := range m.of() {
		if a.Program {
			states := map[string]int{"idle": 0, "busy": 0, "starting": 0, fcgi.WhyFailing: 0}
			for _, s := range a.Servers {
				states[stateOf(s)]++
			}
			for state, n := range states {
				gauge(programProcesses, n, a.Route, a.Role, state)
			}
			continue
		}
		all := 0
		seen := map[string]bool{} // an address may stand there twice
		for _, s := range a.Servers {
			if seen[s.Server] {
				continue
			}
			seen[s.Server] = true
			up := 1
			if s.Out != "" {
				up = 0
			}
			all += up
			gauge(serverUp, up, a.Route, a.Role, s.Server)
			gauge(serverRequests, s.Requests, a.Route, a.Role, s.Server)
			gauge(serverRoom, s.Room, a.Route, a.Role, s.Server)
			gauge(serverIdle, s.Idle, a.Route, a.Role, s.Server)
		}
		gauge(serversUp, all, a.Route, a.Role)
	}
}

// stateOf is the state of a program's process.
func stateOf(s fcgi.ServerStatus) string {
	switch {
	case s.Out != "":
		return s.Out
	case s.Requests > 0:
		return "busy"
	}
	return "idle"
}
