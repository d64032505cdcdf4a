package pool

import (
	"fmt"
	"syscall"
	"time"
)

// keep looks after the pools, every second.
func (s *Set) keep() {
	defer close(s.stopped)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-s.stop:
			return
		case now := <-t.C:
			for _, p := range s.living() {
				p.tend(now)
				if n%10 == 0 {
					p.weigh()
				}
			}
			if n%10 == 0 {
				s.fit()
				s.makeRoom(now)
			}
			s.drop(now)
		}
	}
}

// stuckTime is how long a worker may take to connect, or to clean up.
const stuckTime = 15 * time.Second

// tend lets go of what is not needed, and of what is stuck.
func (p *Pool) tend(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if idle := p.settings.Idle; idle > 0 && p.gen != nil && p.waiters.Len() == 0 && now.Sub(p.lastUse) > idle && p.gen.busy == 0 {
		p.coolLocked("nobody asked for it in " + idle.String())
	}
	for _, g := range p.generations() {
		g.endIfStuckLocked(now)
		if len(g.pending) > 0 && now.Sub(g.pending[0]) > stuckTime && !g.dead {
			// It gets no further request, but those that run go on: it may only be that it
			// can't fork, or was told to stop before it had.
			p.brokenLocked(g, fmt.Sprintf("a worker did not come within %v", stuckTime))
		}
		for pid, w := range g.workers {
			if (w.state == returning || w.state == leaving) && now.Sub(w.since) > stuckTime {
				p.confine.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	if g := p.gen; g != nil {
		p.renew(g)
		p.renewAsked(g)
		p.trim(g, now)
		p.refill(g)
	}
}

// trim lets idle workers go that are more than wanted for a while.
func (p *Pool) trim(g *generation, now time.Time) {
	surplus := g.idle - p.target(now) - 1
	for ; surplus > 0; surplus-- {
		w := g.takeIdle()
		if w == nil {
			return
		}
		g.busy--
		w.res.Destroy()
		w.res = nil
		w.dismiss()
	}
}

// coolLocked ends a script's warm parent. The caller must hold p.mu.
func (p *Pool) coolLocked(why string) {
	p.set.c.Log.Info("script goes cold", "script", p.script.Name, "why", why)
	p.retireLocked(p.gen)
	p.gen, p.state, p.why = nil, Cold, why
	p.asked, p.askedFrom = 0, time.Time{}
	p.wakeAll()
}

// weigh measures the memory of a script's processes.
func (p *Pool) weigh() {
	p.mu.Lock()
	var pids []int
	g := p.gen
	if g != nil {
		pids = append(pids, g.pid())
		for pid, w := range g.workers {
			if g.reuses() || w.state == idling && len(pids) < 3 { // idle warm workers are much alike
				pids = append(pids, pid)
			}
		}
	}
	p.mu.Unlock()
	for _, pid := range pids {
		m := p.memoryOf(pid)
		p.mu.Lock()
		if w := g.workers[pid]; w != nil {
			w.memory = m
		} else if pid == g.pid() {
			g.pss = m
		}
		p.mu.Unlock()
	}
}

// memory is what a script's processes use.
func (p *Pool) memory() (sum int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gen == nil {
		return 0
	}
	var known, n int64
	for _, w := range p.gen.workers {
		if w.memory > 0 {
			known, n = known+w.memory, n+1
		}
	}
	if n > 0 {
		known = known / n * int64(len(p.gen.workers))
	}
	return p.gen.pss + known
}

// fit lets the scripts go cold that were not asked for the longest, while all together
// use more memory than they may.
func (s *Set) fit() {
	most := s.memory.Load()
	if most <= 0 {
		return
	}
	var sum int64
	all := s.all()
	for _, p := range all {
		sum += p.memory()
	}
	for sum > most {
		oldest := leastRecent(all)
		if oldest == nil {
			return
		}
		sum -= oldest.memory()
		oldest.mu.Lock()
		if oldest.gen != nil {
			oldest.coolLocked("the memory for warm scripts is used up")
		}
		oldest.mu.Unlock()
	}
}

// leastRecent is the warm script that was not asked for the longest; nil where all are busy.
func leastRecent(all []*Pool) (oldest *Pool) {
	var when time.Time
	for _, p := range all {
		p.mu.Lock()
		if p.gen != nil && p.gen.busy == 0 && (oldest == nil || p.lastUse.Before(when)) {
			oldest, when = p, p.lastUse
		}
		p.mu.Unlock()
	}
	return oldest
}

// drop forgets pools that nobody has used for long.
func (s *Set) drop(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, p := range s.pools {
		p.mu.Lock()
		if len(p.generations()) == 0 && p.waiters.Len() == 0 && now.Sub(p.lastUse) > time.Hour {
			p.closed = true // for a request that has just found it
			delete(s.pools, k)
			s.noteLocked(p)
		}
		p.mu.Unlock()
	}
	s.forgetLeft()
}
