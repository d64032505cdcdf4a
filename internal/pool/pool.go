// Package pool keeps scripts warm: for each script that is asked for often it has a warm
// parent, and workers forked from it ahead of demand, which answer in modes warm and
// reuse (docs/worker-protocol.md). What can't be warm is spawned, with the reason kept.
//
// It guarantees what package cgi does for a spawned script, and that
//
//   - a request is only ever given to a live child of the script's warm parent, which runs
//     as the user and under the limits of the request;
//   - a worker gets a request only when the one before is known to be complete;
//   - code that was changed on disk answers no request that comes later (files that a
//     script has loaded: half a second later);
//   - nothing outlives the gateway.
package pool

import (
	"container/list"
	"errors"
	"sync"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/confine"
	"warmcgi/internal/runner"
)

const (
	// promoteAfter is how many requests within promoteTime make a script worth a warm
	// parent, in mode auto.
	promoteAfter = 4
	promoteTime  = time.Minute
	// loadTime is how long a script may take to load.
	loadTime = 30 * time.Second
	// backoff and maxBackoff are between the attempts to load a script that fails.
	backoff    = time.Second
	maxBackoff = 5 * time.Minute
	// stableTime is how long a warm parent must have been ready for its end to be taken for
	// an accident: then the script is loaded anew at once.
	stableTime = 10 * time.Second
	// maxTorn is how often a script is loaded anew because a file was written meanwhile.
	maxTorn = 3
	// maxTrouble is how much trouble demotes; see Pool.trouble.
	maxTrouble = 5
	// stallTime is how long a request waits for a reused worker to come back before
	// another one is thought of.
	stallTime = 5 * time.Millisecond
	// maxStalls is how often in a row most workers must have been seen to wait.
	maxStalls = 3
	// longTime without any worker that comes back makes another one worth its processor.
	longTime = 200 * time.Millisecond
)

// errNoWorker: there is no warm parent any more; the request is spawned.
var errNoWorker = errors.New("no worker")

// A Pool is the workers of one script.
type Pool struct {
	set      *Set
	script   cgi.Script // Args are those of the first request, and are not used
	settings *cgi.Workers
	env      []string // of the warm parent
	confine  *confine.Rules
	program  *runner.Program
	metrics  *scriptMetrics

	// mu guards all below, and the generations and workers. It is never held over a wait,
	// and over the start of a process only where a warm parent is made.
	mu       sync.Mutex
	state    State
	why      string   // of the state
	language string   // and its version, as the last warm parent said
	ceiling  cgi.Mode // the highest mode that it may have: demotion lowers it
	demoted  string   // why the ceiling is what it is
	gen      *generation
	next     *generation // is loading
	old      map[*generation]bool
	judged   *files // what the state was judged by, when there is no gen
	retryAt  time.Time
	failures int
	torn     int // loads in a row during which a file was written

	asked     int // since askedFrom
	askedFrom time.Time
	lastUse   time.Time
	vars      []string // of the last request
	arrivals  rate
	forkTime  mean
	forks     int64
	forkRate  rate
	trouble_  float64          // decays with every answer
	demotions map[string]int64 // by reason
	waiters   *list.List
	stalledAt time.Time                  // when a request last asked for one more reused worker
	stalls    int                        // times in a row that most workers have waited then
	waits     [len(waitLimits) + 1]int64 // how long requests waited for a worker
	answered  map[cgi.Mode]int64
	hints     map[string]*hint
	learned   int // times that hints have made a new warm parent
	closed    bool

	pin     *Pin      // nil: the mode is as the configuration has it
	limits  *Limits   // nil: so are the limits
	renewAt time.Time // warm parents that were begun before are to be replaced
}

// State is what a pool can do at the moment.
type State string

// The states of a pool.
const (
	Cold    State = "cold"    // no warm parent: spawned
	Loading State = "loading" // the first warm parent loads the script: spawned
	Ready   State = "ready"   // workers answer
	Unsafe  State = "unsafe"  // can't be forked from: spawned
	Broken  State = "broken"  // can't be loaded, or crashes: spawned, tried again later
	Held    State = "held"    // somebody has said so, see Set.Pin: spawned

	// NoRunner is the state of a script that has no pool: nothing of ours can load it.
	NoRunner State = "no runner"
	// Gone is that of a pool that is no more, of which only counts are left.
	Gone State = "gone"
)

func newPool(s *Set, req *cgi.Request, c constants, program *runner.Program) *Pool {
	p := &Pool{
		set: s, script: req.Script, settings: req.Workers, confine: req.Confine, program: program,
		env:     c.over(req.Env, req.Script.File),
		metrics: s.metrics.of(req.Script.Name), state: Cold, ceiling: cgi.ModeWarm,
		old: map[*generation]bool{}, waiters: list.New(), answered: map[cgi.Mode]int64{}, hints: map[string]*hint{},
		demotions: map[string]int64{},
	}
	p.pin, p.limits = s.pins[req.Script.Name], s.limits[req.Script.Name]
	p.resetCeiling()
	if p.isHeld() {
		p.holdLocked()
	}
	return p
}

// resetCeiling: reuse is only for scripts that opt in. The caller must hold p.mu, or be alone.
func (p *Pool) resetCeiling() {
	p.ceiling, p.demoted, p.trouble_ = cgi.ModeWarm, "", 0
	if p.pin != nil {
		p.ceiling = p.pin.Mode
	} else if p.settings.Mode == cgi.ModeReuse || p.settings.Mode == cgi.ModeAuto && optsIn(p.script.File) {
		p.ceiling = cgi.ModeReuse
	}
}

// admit counts a request, and returns the generation that is to answer it; nil: spawn.
func (p *Pool) admit(now time.Time, req *cgi.Request) *generation {
	f := p.loadedFiles()
	changed := ""
	if f != nil {
		changed = f.changed(now) // asks the disk
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastUse, p.vars = now, req.Vars
	if p.closed {
		return nil
	}
	if changed != "" && f == p.filesLocked() {
		p.set.c.Log.Info("script is loaded anew", "script", p.script.Name, "changed", changed)
		p.changedLocked()
		return nil
	}
	switch p.state {
	case Ready:
		p.arrivals.hit(now)
		return p.gen
	case Cold:
		if now.Sub(p.askedFrom) > promoteTime {
			p.askedFrom, p.asked = now, 0
		}
		if p.asked++; p.settings.Mode == cgi.ModeAuto && p.pin == nil && p.asked < promoteAfter {
			return nil
		}
		p.loadLocked()
	case Loading:
		p.loadLocked() // if too many others were loading
	case Broken:
		if now.After(p.retryAt) {
			p.loadLocked()
		}
	case Unsafe, Held:
	}
	return nil
}

// loadedFiles are those that the state depends on; nil is none.
func (p *Pool) loadedFiles() *files {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.filesLocked()
}

func (p *Pool) filesLocked() *files {
	switch {
	case p.state == Ready && p.gen != nil: // it has gone when the pool is closed
		return p.gen.files
	case p.state == Loading && p.next != nil:
		return p.next.files
	case p.state == Unsafe, p.state == Broken:
		return p.judged
	}
	return nil
}

// changedLocked: the script is another one now. The caller must hold p.mu.
func (p *Pool) changedLocked() {
	p.failures, p.learned = 0, 0
	p.resetCeiling()
	clear(p.hints)
	p.retireLocked(p.gen)
	p.retireLocked(p.next)
	p.gen, p.next = nil, nil
	p.loadLocked()
	p.wakeAll()
}

// loadLocked starts a warm parent in the background. The caller must hold p.mu.
func (p *Pool) loadLocked() {
	if p.next != nil || p.closed || p.isHeld() {
		return
	}
	if p.ceiling == cgi.ModeSpawn { // demoted, but that was a while ago
		p.resetCeiling()
	}
	taken := p.descriptors()
	if !p.takeDescriptors(taken) {
		return // the next request asks again
	}
	if p.gen == nil {
		p.state, p.why = Loading, "its warm parent loads it"
	}
	if !p.set.loading.TryAcquire(1) {
		p.giveDescriptors(taken)
		return // others load; the next request asks again
	}
	g, err := p.newGeneration(p.ceiling, p.usefulHints())
	if err != nil {
		p.giveDescriptors(taken)
		p.set.loading.Release(1)
		p.brokenLocked(nil, err.Error())
		return
	}
	p.next = g
	go func() { // ends with the generation
		timer := time.AfterFunc(loadTime, func() { g.tooSlow() })
		g.run()
		timer.Stop()
		p.forget(g)
		p.giveDescriptors(taken)
	}()
}
