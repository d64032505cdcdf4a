package pool

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"warmcgi/internal/cgi"
)

// Status is what there is to know of a script's pool.
type Status struct {
	Script string `json:"script"` // SCRIPT_NAME of the first request
	File   string `json:"file"`
	// Mode is how requests are answered now; Wanted what the configuration says.
	Mode   cgi.Mode `json:"mode"`
	Wanted cgi.Mode `json:"wanted"`
	State  State    `json:"state"`
	// Why is the reason of the state: what made it unsafe, the last error.
	Why string `json:"why,omitempty"`
	// Language is what its runner says that it runs: "perl 5.36.0".
	Language string `json:"language,omitempty"`
	// Parent is the process id of the warm parent; 0 is none.
	Parent       int                `json:"parent,omitempty"`
	ParentMemory int64              `json:"parent_memory,omitempty"` // PSS in octets
	Files        int                `json:"files,omitempty"`         // that it has loaded
	Idle         int                `json:"idle"`
	Busy         int                `json:"busy"`
	Starting     int                `json:"starting"`
	Waiting      int                `json:"waiting"`
	Forks        int64              `json:"forks"`
	ForkRate     float64            `json:"fork_rate"` // per second
	ForkTime     time.Duration      `json:"fork_time"` // mean, in nanoseconds
	Rate         float64            `json:"rate"`      // requests per second, to workers
	Answers      map[cgi.Mode]int64 `json:"answers"`
	LastUse      time.Time          `json:"last_use"`
	// Waits is the histogram of the time that requests waited because no worker was idle.
	Waits []Waits `json:"waits,omitempty"`
	// Demotions counts how often the script lost its mode, by reason: see the metric
	// warmcgi_demotions_total.
	Demotions map[string]int64 `json:"demotions,omitempty"`
	// Max and Spare are the most workers that have a request, and the idle ones kept at least.
	Max   int `json:"max"`
	Spare int `json:"spare"`
	// Pin and Limits are what somebody has said about it, see [Set.Pin] and [Set.Limit].
	Pin    *Pin    `json:"pin,omitempty"`
	Limits *Limits `json:"limits,omitempty"`
}

// Status tells of every script that was asked for, by name. It needs no worker.
func (s *Set) Status() []Status {
	var all []Status
	for _, p := range s.all() {
		all = append(all, p.status(time.Now()))
	}
	s.mu.Lock()
	for k, r := range s.no {
		all = append(all, Status{
			Script: r.name, File: k.file, Mode: cgi.ModeSpawn, Wanted: k.settings.Mode, State: NoRunner, Why: r.why,
			Answers: map[cgi.Mode]int64{cgi.ModeSpawn: r.asked}, LastUse: r.lastUse,
		})
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Script, b.Script), cmp.Compare(a.File, b.File))
	})
	return all
}

// runs notes what the warm parent says that it runs.
func (p *Pool) runs(language string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.language = language
}

func (p *Pool) status(now time.Time) Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := Status{
		Script: p.script.Name, File: p.script.File, Mode: cgi.ModeSpawn, Wanted: p.settings.Mode, State: p.state, Why: p.why,
		Waiting: p.waiters.Len(), Forks: p.forks, ForkTime: p.forkTime.d, Rate: p.arrivals.at(now),
		ForkRate: p.forkRate.at(now), Answers: maps.Clone(p.answered), LastUse: p.lastUse, Language: p.language,
		Waits: p.waitsLocked(), Demotions: maps.Clone(p.demotions),
		Max: p.max(), Spare: p.spare(), Pin: p.pin, Limits: p.limits,
	}
	if g := p.gen; g != nil {
		st.Mode, st.Parent, st.ParentMemory, st.Files = g.mode, g.pid(), g.pss, g.files.count()
		st.Idle, st.Busy, st.Starting = g.idle, g.busy, len(g.pending)
	}
	return st
}

// counted is Status for the metrics: with what was counted of the pools that have gone.
func (s *Set) counted() []Status {
	all := s.Status()
	now := time.Now()
	s.mu.Lock()
	for p := range s.leaving {
		all = append(all, p.status(now))
	}
	for script, c := range s.past {
		all = append(all, Status{Script: script, State: Gone, Forks: c.forks, Answers: maps.Clone(c.answered)})
	}
	s.mu.Unlock()
	slices.SortStableFunc(all, func(a, b Status) int { return cmp.Compare(a.Script, b.Script) })
	return all
}

// merge makes one of a script that has several pools: metrics know it by its name alone.
func merge(all []Status) []Status {
	var merged []Status
	for _, s := range all {
		if n := len(merged); n == 0 || merged[n-1].Script != s.Script {
			merged = append(merged, s)
			continue
		}
		m := &merged[len(merged)-1]
		m.Idle, m.Busy, m.Starting, m.Waiting = m.Idle+s.Idle, m.Busy+s.Busy, m.Starting+s.Starting, m.Waiting+s.Waiting
		m.Forks, m.ParentMemory = m.Forks+s.Forks, m.ParentMemory+s.ParentMemory
		for mode, n := range s.Answers {
			if m.Answers == nil {
				m.Answers = map[cgi.Mode]int64{}
			}
			m.Answers[mode] += n
		}
	}
	return merged
}

// Waiting is how many requests wait for a worker.
func (s *Set) Waiting() (n int) {
	for _, p := range s.all() {
		p.mu.Lock()
		n += p.waiters.Len()
		p.mu.Unlock()
	}
	return n
}
