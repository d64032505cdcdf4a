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
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"syscall"
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
	// killTime is between SIGTERM and SIGKILL for a warm parent.
	killTime = 2 * time.Second
	// backoff and maxBackoff are between the attempts to load a script that fails.
	backoff    = time.Second
	maxBackoff = 5 * time.Minute
	// maxTrouble is how much trouble demotes; see Pool.trouble.
	maxTrouble = 5
	// stallTime is how long a request waits for a reused worker to come back before
	// another is forked.
	stallTime = 5 * time.Millisecond
)

// errNoWorker: there is no warm parent any more; the request is spawned.
var errNoWorker = errors.New("no worker")

// A Pool is the workers of one script.
type Pool struct {
	set      *Set
	script   cgi.Script // Args are those of the first request, and are not used
	settings *cgi.Workers
	env      []string
	confine  *confine.Rules
	program  *runner.Program
	metrics  *scriptMetrics

	// mu guards all below, and the generations and workers. It is never held over
	// anything that can wait.
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

	asked     int // since askedFrom
	askedFrom time.Time
	lastUse   time.Time
	arrivals  rate
	forkTime  mean
	forks     int64
	trouble_  float64 // decays with every answer
	waiters   *list.List
	answered  map[cgi.Mode]int64
	hints     map[string]*hint
	learned   int // times that hints have made a new warm parent
	closed    bool
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
)

func newPool(s *Set, req *cgi.Request, program *runner.Program) *Pool {
	p := &Pool{
		set: s, script: req.Script, settings: req.Workers, env: req.Env, confine: req.Confine, program: program,
		metrics: s.metrics.of(req.Script.Name), state: Cold, ceiling: cgi.ModeWarm,
		old: map[*generation]bool{}, waiters: list.New(), answered: map[cgi.Mode]int64{}, hints: map[string]*hint{},
	}
	p.resetCeiling()
	return p
}

// resetCeiling: reuse is only for scripts that opt in. The caller must hold p.mu, or be alone.
func (p *Pool) resetCeiling() {
	p.ceiling, p.demoted, p.trouble_ = cgi.ModeWarm, "", 0
	if p.settings.Mode == cgi.ModeReuse || p.settings.Mode == cgi.ModeAuto && optsIn(p.script.File) {
		p.ceiling = cgi.ModeReuse
	}
}

// admit counts a request, and returns the generation that is to answer it; nil: spawn.
func (p *Pool) admit(now time.Time) *generation {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastUse = now
	if p.closed {
		return nil
	}
	switch p.state {
	case Ready:
		if f := p.gen.files.changed(now); f != "" {
			p.set.c.Log.Info("script is loaded anew", "script", p.script.Name, "changed", f)
			p.changedLocked()
			return nil
		}
		p.arrivals.hit(now)
		return p.gen
	case Cold:
		if now.Sub(p.askedFrom) > promoteTime {
			p.askedFrom, p.asked = now, 0
		}
		if p.asked++; p.settings.Mode == cgi.ModeAuto && p.asked < promoteAfter {
			return nil
		}
		p.loadLocked()
	case Loading:
		if p.next == nil { // too many others were loading
			p.loadLocked()
		} else if p.next.files.stamps[p.script.File] != stampOf(p.script.File) {
			p.changedLocked()
		}
	case Unsafe, Broken:
		if p.judged != nil && p.judged.changed(now) != "" {
			p.changedLocked()
		} else if p.state == Broken && now.After(p.retryAt) {
			p.loadLocked()
		}
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
}

// loadLocked starts a warm parent in the background. The caller must hold p.mu.
func (p *Pool) loadLocked() {
	if p.next != nil || p.closed {
		return
	}
	if p.ceiling == cgi.ModeSpawn { // demoted, but that was a while ago
		p.resetCeiling()
	}
	if p.gen == nil {
		p.state, p.why = Loading, "its warm parent loads it"
	}
	if !p.set.loading.TryAcquire(1) {
		return // others load; the next request asks again
	}
	g, err := p.newGeneration(p.ceiling, p.usefulHints())
	if err != nil {
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
	}()
}

func (g *generation) tooSlow() {
	g.p.mu.Lock()
	slow := !g.isReady && !g.retired
	g.p.mu.Unlock()
	if slow {
		g.p.broken(g, fmt.Sprintf("it was not loaded after %v", loadTime))
		syscall.Kill(-g.pid, syscall.SIGKILL)
	}
}

// forget is the end of a generation.
func (p *Pool) forget(g *generation) {
	p.mu.Lock()
	delete(p.old, g)
	g.doneLoadingLocked()
	g.dropStrangersLocked()
	p.mu.Unlock()
	g.idlers.Close() // waits for the requests that are still under way
}

// doneLoadingLocked gives back the place among those that load, once.
func (g *generation) doneLoadingLocked() {
	if g.p.next == g {
		g.p.next = nil
	}
	if !g.isReady {
		g.isReady = true
		g.p.set.loading.Release(1)
	}
}

// ready: the warm parent has loaded the script.
func (p *Pool) ready(g *generation) {
	why := g.checkLoaded() // reads /proc
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.retired || p.next != g {
		return
	}
	torn := g.files.add(g.loaded, g.began)
	g.loaded = nil
	g.doneLoadingLocked()
	switch {
	case why != "":
		p.unsafeLocked(g, why)
		return
	case torn:
		p.retireLocked(g)
		p.loadLocked()
		return
	}
	p.retireLocked(p.gen)
	p.gen, p.failures = g, 0
	p.state, p.why = Ready, p.demoted
	g.pss = p.memoryOf(g.pid)
	p.set.c.Log.Info("script is warm", "script", p.script.Name, "mode", string(g.mode),
		"took", time.Since(g.began).Round(time.Millisecond).String(), "files", len(g.files.stamps))
	p.refill(g)
}

// unsafe: children of this warm parent would not be like fresh processes.
func (p *Pool) unsafe(g *generation, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsafeLocked(g, why)
}

func (p *Pool) unsafeLocked(g *generation, why string) {
	if g.retired {
		return
	}
	p.count(g, "unsafe")
	g.files.add(g.loaded, time.Now())
	p.retireLocked(g)
	g.doneLoadingLocked()
	if len(g.hints) > 0 { // it was the hints' fault, perhaps
		p.learned, p.hints = math.MaxInt, map[string]*hint{}
		if p.gen == nil {
			p.loadLocked()
		}
		return
	}
	p.set.c.Log.Warn("script stays in mode spawn", "script", p.script.Name, "why", why)
	p.state, p.why, p.judged = Unsafe, why, g.files
	p.gen = nil
}

// captured: the script may not be reused.
func (p *Pool) captured(g *generation, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.retired || g.mode != cgi.ModeReuse {
		return
	}
	g.files.add(g.loaded, time.Now())
	p.retireLocked(g)
	g.doneLoadingLocked()
	p.demoteLocked(g, "captured", "a named sub captures "+name+" of the file: it would keep its first value")
}

// broken: the warm parent failed.
func (p *Pool) broken(g *generation, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.brokenLocked(g, why)
}

func (p *Pool) brokenLocked(g *generation, why string) {
	now := time.Now()
	if g != nil {
		if g.retired {
			return
		}
		p.judged = g.files
		g.files.add(g.loaded, now)
		p.retireLocked(g)
		g.doneLoadingLocked()
		if len(g.hints) > 0 && g != p.gen && p.gen != nil {
			p.learned, p.hints = math.MaxInt, map[string]*hint{}
			return
		}
		if g == p.gen {
			p.gen = nil
		}
	}
	p.count(g, "broken")
	p.state, p.why = Broken, why
	wait := min(backoff<<min(p.failures, 20), maxBackoff)
	p.failures++
	p.retryAt = now.Add(wait)
	p.set.c.Log.Error("script can't be warm", "script", p.script.Name, "why", clip(why), "again_in", wait.String())
	p.wakeAll()
}

// trouble counts against the mode of a script: a crash, a leak. Too much of it within
// few requests demotes. The caller must hold p.mu.
func (p *Pool) trouble(g *generation, why string) {
	if g.retired {
		return
	}
	if p.trouble_++; p.trouble_ < maxTrouble {
		return
	}
	p.trouble_ = 0
	p.retireLocked(g)
	if p.gen == g {
		p.gen = nil
	}
	p.demoteLocked(g, "trouble", why)
}

// demoteLocked lowers the mode that a script can have, until it changes.
func (p *Pool) demoteLocked(g *generation, reason, why string) {
	p.count(g, reason)
	to := cgi.ModeSpawn
	if g.mode == cgi.ModeReuse {
		to = cgi.ModeWarm
	}
	p.ceiling, p.demoted = to, why
	p.set.c.Log.Warn("script is demoted", "script", p.script.Name, "from", string(g.mode), "to", string(to), "why", why)
	p.state, p.why, p.judged = Broken, why, g.files
	p.retryAt = time.Now().Add(maxBackoff)
	if to != cgi.ModeSpawn {
		p.state = Cold
		p.loadLocked()
	}
	p.wakeAll()
}

func (p *Pool) count(g *generation, reason string) {
	from := p.ceiling
	if g != nil {
		from = g.mode
	}
	p.set.metrics.demotions.WithLabelValues(p.script.Name, string(from), reason).Inc()
}

// retireLocked lets a generation go: its idle workers now, those that work when they are done.
func (p *Pool) retireLocked(g *generation) {
	if g == nil || g.retired {
		return
	}
	g.retired = true
	p.old[g] = true
	for _, w := range g.workers {
		if w.state == idling {
			w.dismiss()
		}
	}
	if !g.isReady {
		g.kill() // it may be stuck in what it loads
		return
	}
	g.send("stop\n")
}

// endIfEmptyLocked ends the reading of the control socket when nobody of ours is at its
// other end: a daemon that a worker has left behind may still hold it. What was written
// before is still read.
func (g *generation) endIfEmptyLocked() {
	if !g.dead {
		return
	}
	for _, w := range g.workers {
		if w.named {
			return
		}
	}
	if c, err := g.control.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RD) })
	}
}

// dropStrangersLocked hangs up on processes that the warm parent has never named. The
// caller must hold p.mu.
func (g *generation) dropStrangersLocked() {
	for pid, w := range g.workers {
		if w.named {
			continue
		}
		delete(g.workers, pid)
		w.dismiss()
		if w.stderr != nil {
			w.stderr.Close()
		}
	}
}

// lastLineOf is what the warm parent wrote last to its standard error.
func (p *Pool) lastLineOf(g *generation) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return g.lastLine
}

// target is how many idle workers there should be: enough for the requests that come
// while one is forked.
func (p *Pool) target(now time.Time) int {
	n := int(math.Ceil(2 * p.arrivals.at(now) * p.forkTime.d.Seconds()))
	return min(max(n, p.settings.Spare), p.settings.Max)
}

// refill orders the workers that are wanted. The caller must hold p.mu.
func (p *Pool) refill(g *generation) {
	if g.retired || g.dead || p.gen != g || p.closed {
		return
	}
	now := time.Now()
	have := g.idle + len(g.pending)
	total := have + g.busy
	want := p.waiters.Len() + p.target(now)
	if g.reuses() {
		// A busy worker comes back; more than the machine has processors for are only
		// forked when a request has stalled, see acquire.
		want = min(want, max(p.settings.Spare, p.set.c.Processors+1)-g.busy)
	}
	n := min(want-have, p.settings.Max+p.settings.Spare-total)
	p.orderLocked(g, n, now)
}

func (p *Pool) orderLocked(g *generation, n int, now time.Time) {
	if n <= 0 {
		return
	}
	for range n {
		g.pending = append(g.pending, now)
	}
	g.send("fork " + strconv.Itoa(n) + "\n")
}

// wakeAll sends those who wait to mode spawn. The caller must hold p.mu.
func (p *Pool) wakeAll() {
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		p.waiters.Remove(e).(*waiter).give(nil)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// waiter is a request that waits for a worker.
type waiter struct {
	g  *generation
	ch chan *worker // buffered; nil: there will be none
}

func (w *waiter) give(x *worker) { w.ch <- x }

// firstWaiter takes the one that has waited longest out of the queue. Those of another
// generation are spawned. The caller must hold p.mu.
func (p *Pool) firstWaiter(g *generation) *waiter {
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		w := p.waiters.Remove(e).(*waiter)
		if w.g == g {
			return w
		}
		w.give(nil)
	}
	return nil
}

// acquire gets a worker for a request: an idle one, or the next that comes. How long
// that may take is the request's queue limit.
func (p *Pool) acquire(ctx context.Context, g *generation, req *cgi.Request) (*worker, error) {
	p.mu.Lock()
	if g.retired {
		p.mu.Unlock()
		return nil, errNoWorker
	}
	if p.waiters.Len() == 0 {
		if w := g.takeIdle(); w != nil {
			p.refill(g)
			p.mu.Unlock()
			return w, nil
		}
	}
	wt := &waiter{g: g, ch: make(chan *worker, 1)}
	e := p.waiters.PushBack(wt)
	p.refill(g)
	p.mu.Unlock()

	began := time.Now()
	defer func() { p.metrics.wait.Observe(time.Since(began).Seconds()) }()
	stall := time.NewTimer(stallTime)
	defer stall.Stop()
	limit := time.NewTimer(max(req.Queue.Wait, time.Second))
	defer limit.Stop()
	for {
		select {
		case w := <-wt.ch:
			if w == nil {
				return nil, errNoWorker
			}
			return w, nil
		case <-stall.C:
			p.stalled(g)
		case <-ctx.Done():
			p.giveUp(e, wt)
			return nil, cgi.ErrGone
		case <-limit.C:
			p.giveUp(e, wt)
			return nil, cgi.ErrQueueWait
		}
	}
}

// stalled: no reused worker has come back in time.
func (p *Pool) stalled(g *generation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.reuses() && !g.retired && p.gen == g && len(g.pending) == 0 && g.busy+g.idle < p.settings.Max {
		p.orderLocked(g, 1, time.Now())
	}
}

// giveUp takes a waiter back.
func (p *Pool) giveUp(e *list.Element, wt *waiter) {
	p.mu.Lock()
	p.waiters.Remove(e) // does nothing if it is not in any more
	p.mu.Unlock()
	select {
	case w := <-wt.ch:
		if w != nil {
			p.putBack(w)
		}
	default:
	}
}

// putBack makes a worker idle again that got no request after all.
func (p *Pool) putBack(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.state == busy {
		w.g.arrive(w)
	}
}
