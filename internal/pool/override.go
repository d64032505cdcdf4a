package pool

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"warmcgi/internal/cgi"
)

// ErrNoScript: nobody has asked for a script of that name yet, or its route is in mode spawn.
var ErrNoScript = errors.New("no such script")

// ErrCantWarm: the script has no runner, so it can only be spawned.
var ErrCantWarm = errors.New("can't be kept warm")

// A Pin is a mode that somebody has given a script, until further notice.
type Pin struct {
	// Mode is the highest that it may have: spawn holds it there; warm and reuse let it have
	// them, without waiting for requests, as long as it is safe.
	Mode cgi.Mode `json:"mode"`
	// By says who, and At when.
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Limits are numbers of workers that somebody has given a script, until further notice.
type Limits struct {
	Max   int       `json:"max"`
	Spare int       `json:"spare"`
	By    string    `json:"by"`
	At    time.Time `json:"at"`
}

// named are the pools of a script: one for each route and environment.
func (s *Set) named(script string) ([]*Pool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Pool
	for _, p := range s.pools {
		if p.script.Name == script {
			all = append(all, p)
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	for _, r := range s.no {
		if r.name == script {
			return nil, fmt.Errorf("script %s: %w: %s", script, ErrCantWarm, r.why)
		}
	}
	return nil, fmt.Errorf("script %s: %w: nobody has asked for it yet, or its route says mode: spawn", script, ErrNoScript)
}

// Pin gives a script a mode until further notice; nil takes that back.
func (s *Set) Pin(script string, pin *Pin) error {
	all, err := s.named(script)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if pin == nil {
		delete(s.pins, script)
	} else {
		s.pins[script] = pin
	}
	s.mu.Unlock()
	for _, p := range all {
		p.setPin(pin)
	}
	return nil
}

// Limit gives a script other limits until further notice; nil takes that back. It returns the
// files that the script is, for those who queue its requests, and their most at once.
func (s *Set) Limit(script string, l *Limits) (map[string]int, error) {
	all, err := s.named(script)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if l == nil {
		delete(s.limits, script)
	} else {
		s.limits[script] = l
	}
	s.mu.Unlock()
	files := map[string]int{}
	for _, p := range all {
		files[p.script.File] = p.setLimits(l)
	}
	return files, nil
}

// Restart has a script loaded anew, and its workers replaced: idle ones when the new warm
// parent is ready, others when they have ended what they do. It returns why nothing is to be
// restarted, or "".
func (s *Set) Restart(script string) (why string, err error) {
	all, err := s.named(script)
	if err != nil {
		return "", err
	}
	whys := make([]string, len(all))
	for i, p := range all {
		whys[i] = p.restart()
	}
	if slices.Contains(whys, "") {
		return "", nil
	}
	return whys[0], nil
}

// max and spare are the limits in force. The caller must hold p.mu, or be alone.
func (p *Pool) max() int {
	if p.limits != nil {
		return p.limits.Max
	}
	return p.settings.Max
}

func (p *Pool) spare() int {
	if p.limits != nil {
		return p.limits.Spare
	}
	return p.settings.Spare
}

// isHeld reports whether the script has to stay in mode spawn. The caller must hold p.mu, or be alone.
func (p *Pool) isHeld() bool { return p.pin != nil && p.pin.Mode == cgi.ModeSpawn }

// holdLocked ends the workers. The caller must hold p.mu, or be alone.
func (p *Pool) holdLocked() {
	p.retireLocked(p.gen)
	p.retireLocked(p.next)
	p.gen, p.next = nil, nil
	p.state, p.why = Held, "it is held in mode spawn by "+p.pin.By
	p.wakeAll()
}

func (p *Pool) setPin(pin *Pin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.pin = pin
	p.resetCeiling()
	if p.isHeld() {
		p.holdLocked()
		return
	}
	if p.state == Held {
		p.state, p.why, p.asked, p.askedFrom = Cold, "", 0, time.Time{}
	}
	if pin == nil && p.gen == nil && p.next == nil {
		return // requests decide
	}
	if p.next == nil && p.gen != nil && p.gen.mode == p.ceiling {
		return
	}
	p.anewLocked()
}

// anewLocked has the script loaded anew; what there is serves until then. The caller must hold p.mu.
func (p *Pool) anewLocked() {
	p.failures, p.renewAt = 0, time.Now()
	p.retireLocked(p.next)
	p.next = nil
	p.loadLocked()
}

// renewAsked tries again where others were loading. The caller must hold p.mu.
func (p *Pool) renewAsked(g *generation) {
	if p.next == nil && p.state == Ready && !g.dead && g.began.Before(p.renewAt) {
		p.loadLocked()
	}
}

func (p *Pool) restart() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return "the gateway ends"
	case p.isHeld():
		return p.why
	case p.state == Cold:
		return "it is cold: it has no workers"
	}
	p.set.c.Log.Info("script is loaded anew", "script", p.script.Name, "why", "somebody has asked for that")
	p.resetCeiling()
	p.anewLocked()
	return ""
}

func (p *Pool) setLimits(l *Limits) (most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = l
	if p.gen != nil {
		p.refill(p.gen)
	}
	return p.max()
}
