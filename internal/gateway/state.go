package gateway

import (
	"cmp"
	"os"
	"runtime"
	"slices"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/confine"
	"warmcgi/internal/live"
	"warmcgi/internal/pool"
)

// About is what does not change while the gateway runs: /api/v1/about.
type About struct {
	Software string    `json:"software"`
	Go       string    `json:"go"`
	Pid      int       `json:"pid"`
	Host     string    `json:"host"`
	Started  time.Time `json:"started"`
	// Controls are the actions that this gateway can do.
	Controls []string `json:"controls"`
}

// LiveState is this second: /api/v1/live. Lists are cut at their bounds; the numbers of all
// stand beside them.
type LiveState struct {
	At     time.Time   `json:"at"`
	Sample live.Sample `json:"sample"`
	// Stopping: the gateway ends. Draining: it says that it is not ready, and serves on.
	Stopping bool   `json:"stopping"`
	Draining *Drain `json:"draining"`
	LogLevel string `json:"log_level,omitempty"`

	Scripts      []LiveScript        `json:"scripts"`
	AllScripts   int                 `json:"all_scripts"`
	Workers      []LiveWorker        `json:"workers"`
	Requests     []live.Underway     `json:"requests"`
	AllRequests  int                 `json:"all_requests"`
	Applications []ApplicationStatus `json:"applications"`
}

// LiveScript is a script, or a FastCGI application's route.
type LiveScript struct {
	Script string `json:"script"`
	// Mode is how it is answered now, Wanted what the configuration says; State and Why are
	// those of its pool, if it has one.
	Mode   cgi.Mode   `json:"mode"`
	Wanted cgi.Mode   `json:"wanted"`
	State  pool.State `json:"state,omitempty"`
	Why    string     `json:"why,omitempty"`
	// Requests and Failed count since the start; the rates are per second, over the last ten
	// to twenty; P50 and P95 are seconds.
	Requests  uint64   `json:"requests"`
	Failed    uint64   `json:"failed"`
	Rate      float64  `json:"rate"`
	ErrorRate float64  `json:"error_rate"`
	P50       *float64 `json:"p50"`
	P95       *float64 `json:"p95"`
	// Waiting are requests that wait, for a place or for a worker.
	Waiting  int   `json:"waiting"`
	Idle     int   `json:"idle"`
	Busy     int   `json:"busy"`
	Starting int   `json:"starting"`
	Max      int   `json:"max,omitempty"`
	Spare    int   `json:"spare,omitempty"`
	Memory   int64 `json:"parent_memory,omitempty"`
	// Pin and Limits are what somebody has said about it.
	Pin    *pool.Pin    `json:"pin,omitempty"`
	Limits *pool.Limits `json:"limits,omitempty"`
	// Pooled: it can be restarted, and given a mode and workers.
	Pooled bool `json:"pooled"`
}

// LiveWorker is a process that answers, or could.
type LiveWorker struct {
	pool.Process
	Resident int64          `json:"rss,omitempty"`
	Current  *live.Underway `json:"current,omitempty"`
}

const (
	maxLiveScripts  = 200
	maxLiveWorkers  = 200
	maxLiveRequests = 50
	// maxMeasured is how many processes' PSS is measured for one look: it is not cheap.
	maxMeasured = 16
)

func (s *Server) about() About {
	host, _ := os.Hostname()
	a := About{Software: cgi.Software, Go: runtime.Version(), Pid: os.Getpid(), Host: host, Started: s.watch.began, Controls: []string{"drain"}}
	if s.control.level != nil {
		a.Controls = append(a.Controls, "log_level")
	}
	if s.control.process.Load() != nil {
		a.Controls = append(a.Controls, "reload", "upgrade")
	}
	if s.pools != nil {
		a.Controls = append(a.Controls, "restart", "workers", "mode")
	}
	return a
}

func (s *Server) live() LiveState {
	scripts := s.liveScripts()
	st := LiveState{
		At: time.Now(), Stopping: s.isStopping(), Draining: s.control.draining.Load(), LogLevel: s.control.levelName(),
		AllScripts: len(scripts), Scripts: mostAsked(scripts), Workers: s.liveWorkers(),
		Requests: s.watch.underway(maxLiveRequests), AllRequests: s.watch.requests.Len(), Applications: s.applications(),
	}
	s.watch.mu.Lock()
	st.Sample = s.watch.sample
	s.watch.mu.Unlock()
	return st
}

// mostAsked are the scripts that were asked for the most, in the order of their names.
func mostAsked(all []LiveScript) []LiveScript {
	if len(all) > maxLiveScripts {
		slices.SortFunc(all, func(a, b LiveScript) int {
			return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Requests, a.Requests))
		})
		all = all[:maxLiveScripts]
	}
	slices.SortFunc(all, func(a, b LiveScript) int { return cmp.Compare(a.Script, b.Script) })
	return all
}

// liveScripts are those that somebody has asked for.
func (s *Server) liveScripts() []LiveScript {
	byName := map[string]*LiveScript{}
	get := func(name string) *LiveScript {
		l := byName[name]
		if l == nil {
			l = &LiveScript{Script: name, Mode: cgi.ModeSpawn, Wanted: cgi.ModeSpawn}
			byName[name] = l
		}
		return l
	}
	s.metrics.found.Range(func(k, f any) bool {
		key := k.(metricKey)
		if key.script == "" {
			return true
		}
		l := get(key.script)
		l.Waiting += int(f.(*scriptMetrics).queued.Load())
		if key.mode == string(cgi.ModeFastCGI) {
			l.Mode, l.Wanted = cgi.ModeFastCGI, cgi.ModeFastCGI
		}
		return true
	})
	if s.pools != nil {
		for _, p := range s.pools.Status() {
			get(p.Script).add(p)
		}
	}
	for name, c := range s.metrics.countsOfScripts() {
		l := get(name)
		l.Requests, l.Failed = c.Total, c.Failed
	}
	s.watch.mu.Lock()
	for name, f := range s.watch.scripts {
		if l := get(name); f.seconds > 0 {
			l.Rate, l.ErrorRate = float64(f.window.Total)/f.seconds, float64(f.window.Failed)/f.seconds
			if p50, ok := f.window.Percentile(0.5); ok {
				p95, _ := f.window.Percentile(0.95)
				l.P50, l.P95 = &p50, &p95
			}
		}
	}
	s.watch.mu.Unlock()
	all := make([]LiveScript, 0, len(byName))
	for _, l := range byName {
		all = append(all, *l)
	}
	return all
}

// add takes what a pool of the script says. A script with two routes has two.
func (l *LiveScript) add(p pool.Status) {
	if !l.Pooled || l.Mode == cgi.ModeSpawn {
		l.Mode, l.Wanted, l.State, l.Why = p.Mode, p.Wanted, p.State, p.Why
	}
	l.Pooled = l.Pooled || p.State != pool.NoRunner
	l.Waiting += p.Waiting
	l.Idle, l.Busy, l.Starting, l.Memory = l.Idle+p.Idle, l.Busy+p.Busy, l.Starting+p.Starting, l.Memory+p.ParentMemory
	l.Max, l.Spare, l.Pin, l.Limits = p.Max, p.Spare, p.Pin, p.Limits
}

// liveWorkers are the pools' processes, and the scripts that were spawned.
func (s *Server) liveWorkers() []LiveWorker {
	all := []LiveWorker{}
	if s.pools != nil {
		for _, p := range s.pools.Processes(maxLiveWorkers) {
			all = append(all, LiveWorker{Process: p})
		}
	}
	for _, r := range s.spawn.Processes(maxLiveWorkers) {
		all = append(all, LiveWorker{Process: pool.Process{
			Script: r.Script, Pid: r.Pid, Mode: cgi.ModeSpawn, State: "busy", Born: r.Began, Request: r.Request,
		}})
	}
	slices.SortFunc(all, func(a, b LiveWorker) int {
		return cmp.Or(cmp.Compare(a.Script, b.Script), a.Born.Compare(b.Born), cmp.Compare(a.Pid, b.Pid))
	})
	all = all[:min(len(all), maxLiveWorkers)]
	requests := map[string]*live.Underway{}
	for _, u := range s.watch.underway(maxLiveWorkers + maxLiveRequests) {
		requests[u.ID] = &u
	}
	measured := 0
	for i := range all {
		w := &all[i]
		w.Resident = confine.ResidentOf(w.Pid)
		if w.Memory == 0 && measured < maxMeasured {
			w.Memory = confine.MemoryOf(w.Pid)
			measured++
		}
		if w.Request != "" {
			w.Current = requests[w.Request]
		}
	}
	return all
}
