package pool

import (
	"fmt"
	"math"
	"syscall"
	"time"

	"warmcgi/internal/cgi"
)

// tooSlow gives up on a warm parent that does not get ready. One that has written output,
// or waits for input, is stuck because of that.
func (g *generation) tooSlow() {
	why := g.checkLoaded()
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if g.isReady || g.retired || g.dead {
		return
	}
	if g.unsafe == "" && g.greeted { // what was looked at was the script, and not the shim on a machine that is too busy
		g.unsafe = why
	}
	g.p.brokenLocked(g, fmt.Sprintf("it was not loaded after %v", loadTime))
	syscall.Kill(-g.pid(), syscall.SIGKILL)
}

// greets: the runner has begun.
func (g *generation) greets() {
	g.p.mu.Lock()
	g.greeted = true
	g.p.mu.Unlock()
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
	why, settled := g.checkLoaded(), g.files.settled() // both ask the system
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.retired || p.next != g {
		g.send("stop\n") // it was told to end while it loaded, and has not taken that in
		return
	}
	g.doneLoadingLocked()
	if settled {
		p.torn = 0
	} else if p.torn++; p.torn > maxTorn { // also if it is unsafe: it would be loaded anew for ever
		p.brokenLocked(g, "a file that it loads is written each time it is loaded")
		return
	}
	switch {
	case g.unsafe != "":
		p.unsafeLocked(g, g.unsafe)
		return
	case why != "":
		p.unsafeLocked(g, why)
		return
	case !settled:
		p.retireLocked(g)
		p.loadLocked()
		return
	}
	p.retireLocked(p.gen)
	p.gen, p.failures = g, 0
	g.readyAt = time.Now()
	p.state, p.why = Ready, p.demoted
	g.pss = p.memoryOf(g.pid())
	p.set.c.Log.Info("script is warm", "script", p.script.Name, "mode", string(g.mode),
		"took", time.Since(g.began).Round(time.Millisecond).String(), "files", g.files.count())
	p.refill(g)
}

// unsafe notes that children of this warm parent would not be like fresh processes. It is
// let load on, as the files that it names say when to try again.
func (p *Pool) unsafe(g *generation, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.isReady {
		p.unsafeLocked(g, why)
	} else if g.unsafe == "" {
		g.unsafe = why
	}
}

func (p *Pool) unsafeLocked(g *generation, why string) {
	if g.retired {
		return
	}
	p.count(g, "unsafe")
	p.retireLocked(g)
	g.doneLoadingLocked()
	if len(g.hints) > 0 { // it was the hints' fault, perhaps
		p.learned, p.hints = math.MaxInt, map[string]*hint{}
		if p.gen == g {
			p.gen = nil
			p.wakeAll()
		}
		if p.gen == nil {
			p.loadLocked()
		}
		return
	}
	p.set.c.Log.Warn("script stays in mode spawn", "script", p.script.Name, "why", why)
	p.state, p.why, p.judged = Unsafe, why, g.files
	p.retireLocked(p.gen) // the one that g was to take the place of
	p.retireLocked(p.next)
	p.gen, p.next = nil, nil
	p.wakeAll()
}

// captured: the script may not be reused.
func (p *Pool) captured(g *generation, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.retired || g.mode != cgi.ModeReuse {
		return
	}
	p.retireLocked(g)
	g.doneLoadingLocked()
	p.demoteLocked(g, "captured", "a named sub or BEGIN block captures "+name+" of the file: its first value would stay, or be lost")
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
		if g.unsafe != "" && !g.isReady { // why it could not be loaded, most likely
			p.unsafeLocked(g, g.unsafe)
			return
		}
		p.judged = g.files
		p.retireLocked(g)
		g.doneLoadingLocked()
		if len(g.hints) > 0 && g != p.gen && p.gen != nil {
			p.learned, p.hints = math.MaxInt, map[string]*hint{}
			return
		}
		if g == p.gen {
			p.gen = nil
			if now.Sub(g.readyAt) > stableTime { // it was good, and has met with an accident
				p.count(g, "ended")
				p.set.c.Log.Warn("script is loaded anew", "script", p.script.Name, "why", clip(why))
				p.loadLocked()
				p.wakeAll()
				return
			}
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

// lastLineOf is what the warm parent wrote last to its standard error.
func (p *Pool) lastLineOf(g *generation) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return g.lastLine
}
