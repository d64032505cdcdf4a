package pool

// hint is a module that workers load after their fork.
type hint struct {
	file  string
	times int64
}

const (
	// maxHints bounds what is remembered of a script.
	maxHints = 256
	// learnAfter is how many answers are looked at before a warm parent is made anew
	// with what its workers load late; each time after it takes ten times as many.
	learnAfter = 20
	learnTimes = 3
)

// late: a worker has loaded a module that its parent did not have. One that is reused
// keeps it, so its file is watched.
func (p *Pool) late(g *generation, name, file string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.reuses() && file != "-" && !g.retired && g.files.count() < maxFiles {
		g.files.add(file)
	}
	h := p.hints[name]
	if h == nil {
		if len(p.hints) >= maxHints {
			return
		}
		h = &hint{}
		p.hints[name] = h
	}
	h.file = file
	h.times++
}

// usefulHints are the modules that at least every second request needs.
func (p *Pool) usefulHints() map[string]string {
	answers := p.answered["warm"] + p.answered["reuse"]
	useful := map[string]string{}
	if p.gen != nil {
		for name, file := range p.gen.hints { // what it loads ahead is not late any more
			useful[name] = file
		}
	}
	for name, h := range p.hints {
		if h.file != "-" && h.file != "" && 2*h.times >= answers {
			useful[name] = h.file
		}
	}
	return useful
}

// learn starts a warm parent that loads ahead what its workers have loaded late, in the
// background. The caller must hold p.mu.
func (p *Pool) learn(g *generation) {
	if g != p.gen || p.next != nil || p.learned >= learnTimes || g.reuses() {
		return
	}
	after := int64(learnAfter)
	for range p.learned {
		after *= 10
	}
	if p.answered[g.mode] < after {
		return
	}
	p.learned++
	if len(p.usefulHints()) > len(g.hints) {
		p.set.c.Log.Info("a warm parent is made that loads more ahead", "script", p.script.Name, "modules", len(p.usefulHints()))
		p.loadLocked()
	}
}
