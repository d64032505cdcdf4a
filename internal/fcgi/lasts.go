package fcgi

import (
	"context"
	"errors"
	"time"
)

// lastsTime is how long a process has to live to be believed that it starts.
const lastsTime = 300 * time.Millisecond

// Lasts waits until the processes of a program that was just made have run for a moment. It
// fails when none of them does.
func (p *Program) Lasts(ctx context.Context) error {
	until := time.NewTimer(lastsTime)
	defer until.Stop()
	for {
		why, changed := p.allFail()
		if why != "" {
			return errors.New(why)
		}
		select {
		case <-changed:
		case <-until.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// allFail tells why no process lasts; "" is that some may.
func (p *Program) allFail() (why string, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		if s.failures == 0 {
			return "", p.changed
		}
	}
	return p.lastFail, p.changed
}
