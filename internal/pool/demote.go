package pool

import (
	"time"

	"warmcgi/internal/cgi"
)

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
	p.demotions[reason]++
	p.set.metrics.demotions.WithLabelValues(p.script.Name, string(from), reason).Inc()
}
