package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"warmcgi/internal/cgi"
)

// Why a script that is loaded ahead of its requests is not warm.
var (
	// ErrNotLoaded: it failed to load, it can't be forked from, or nothing of ours can load it.
	ErrNotLoaded = errors.New("can't be warm")
	// ErrNoRoom: others take the memory, the open files or the time that it needs.
	ErrNoRoom = errors.New("no room to load it")
)

// Warm is a script that is warm, and all that is needed to load it once more: under other
// settings, or in another process.
type Warm struct {
	Script cgi.Script
	// Vars are those of a request.
	Vars []string
	// Workers are the settings of its pool: they tell whose script it is.
	Workers *cgi.Workers
}

// Warm tells which scripts have workers now.
func (s *Set) Warm() []Warm {
	var list []Warm
	for _, p := range s.all() {
		p.mu.Lock()
		if p.state == Ready {
			list = append(list, Warm{Script: p.script, Vars: p.vars, Workers: p.settings})
		}
		p.mu.Unlock()
	}
	return list
}

// lookTime is how often a script that is loaded ahead is looked at.
const lookTime = 5 * time.Millisecond

// Load has the script of a request loaded before anybody asks for it, and waits until it is
// warm, or can't be.
func (s *Set) Load(ctx context.Context, req *cgi.Request) error {
	p := s.poolOf(req)
	if p == nil {
		return fmt.Errorf("%s: %w: %s", req.Script.Name, ErrNotLoaded, s.refusedBecause(req))
	}
	t := time.NewTicker(lookTime)
	defer t.Stop()
	for {
		if done, err := p.loadAhead(req); done {
			if err != nil {
				err = fmt.Errorf("%s: %w", req.Script.Name, err)
			}
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return p.notInTime(req.Script.Name)
		}
	}
}

// loadAhead begins to load the script, if that was not done yet, and reports how it stands.
func (p *Pool) loadAhead(req *cgi.Request) (done bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.vars == nil {
		p.vars, p.lastUse = req.Vars, time.Now()
	}
	switch p.state {
	case Ready, Held:
		return true, nil
	case Unsafe, Broken:
		return true, fmt.Errorf("%w (%s): %s", ErrNotLoaded, p.state, p.why)
	}
	if p.closed {
		return true, fmt.Errorf("%w: the gateway ends", ErrNotLoaded)
	}
	p.loadLocked()
	if p.state == Cold { // there are no descriptors for it
		return true, fmt.Errorf("%w: %s", ErrNoRoom, p.why)
	}
	return false, nil
}

// notInTime: one that has begun to load takes too long, one that has not is nobody's fault.
func (p *Pool) notInTime(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		return fmt.Errorf("%s: %w: others were loaded all the time", name, ErrNoRoom)
	}
	return fmt.Errorf("%s: %w: it was not loaded after %v", name, ErrNotLoaded, time.Since(p.next.began).Round(time.Millisecond))
}

// refusedBecause tells why a script has no pool.
func (s *Set) refusedBecause(req *cgi.Request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.no[keyOf(req)]; r != nil {
		return r.why
	}
	return "it is spawned"
}

// Retire lets the pools go that are not to be kept: idle workers now, those that work when
// they are done. Requests that still come for such a pool are spawned.
func (s *Set) Retire(keep func(file string, w *cgi.Workers) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, p := range s.pools {
		if keep(k.file, k.settings) {
			continue
		}
		delete(s.pools, k)
		s.leaving[p] = true
		p.retire()
	}
	for k := range s.no {
		if !keep(k.file, k.settings) {
			delete(s.no, k)
		}
	}
}

func (p *Pool) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, g := range p.generations() {
		p.retireLocked(g)
	}
	p.gen, p.next = nil, nil
	p.wakeAll()
}

// forgetLeft forgets the retired pools whose processes have all ended, but not what they
// have counted. The caller must hold s.mu.
func (s *Set) forgetLeft() {
	for p := range s.leaving {
		p.mu.Lock()
		if len(p.generations()) == 0 {
			delete(s.leaving, p)
			s.noteLocked(p)
		}
		p.mu.Unlock()
	}
}

// counts are what is counted of a script, beyond the life of its pool.
type counts struct {
	forks    int64
	answered map[cgi.Mode]int64
}

// noteLocked keeps the counts of a pool that is forgotten. The caller must hold s.mu and p.mu.
func (s *Set) noteLocked(p *Pool) {
	c := s.past[p.script.Name]
	if c == nil {
		c = &counts{answered: map[cgi.Mode]int64{}}
		s.past[p.script.Name] = c
	}
	c.forks += p.forks
	for mode, n := range p.answered {
		c.answered[mode] += n
	}
}

// SetMemory changes the most that warm parents and workers may use together; 0 is half of
// the machine's.
func (s *Set) SetMemory(n int64) {
	if n == 0 {
		n = machineMemory() / 2
	}
	s.memory.Store(n)
}
