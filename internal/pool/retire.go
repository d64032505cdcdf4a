package pool

import (
	"syscall"
	"time"

	"warmcgi/internal/cgi"
)

// retireLocked lets a generation go: its idle workers now, those that work when they are done.
func (p *Pool) retireLocked(g *generation) {
	if g == nil || g.retired {
		return
	}
	g.retired, g.neededAt = true, time.Now()
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

// endIfStuckLocked kills a warm parent that does not end though it has nothing left to do,
// or was told to end at once: the requests of its workers may wait for nothing but its word.
func (g *generation) endIfStuckLocked(now time.Time) {
	if g.dead {
		return
	}
	if !g.killedAt.IsZero() && now.Sub(g.killedAt) > stuckTime {
		g.process().Kill()
		return
	}
	if !g.retired {
		return
	}
	for pid, w := range g.workers {
		if w.handover != nil && !cgi.HasEnded(pid) {
			g.neededAt = now
		}
	}
	if now.Sub(g.neededAt) > stuckTime {
		g.process().Kill()
	}
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
