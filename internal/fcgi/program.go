package fcgi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/sockets"
)

// ProgramConfig says how the processes of a FastCGI program are kept.
type ProgramConfig struct {
	// File is the program, Args what it gets, Dir its folder, Env its environment.
	File string
	Args []string
	Dir  string
	Env  []string
	// Authorizer is as in [TransportConfig].
	Authorizer bool
	// Processes is how many of it run. It must be positive.
	Processes int
	// Requests, Age and Memory (PSS, in octets) are when a process is replaced; 0 is never.
	// Requests and Age vary by a tenth, so that not all are replaced at once.
	Requests int
	Age      time.Duration
	Memory   int64
	// Grace is the time between SIGTERM and SIGKILL.
	Grace time.Duration
	// Stderr gets the lines of FCGI_STDERR; what a process writes to its own standard error
	// goes to Log.
	Stderr func(req *cgi.Request, line string)
	Log    *slog.Logger
}

// A Program is a [cgi.Backend]: processes of a FastCGI program that are started with it,
// each with a socket of its own on descriptor 0 (spec 2.2), and started again when they
// end. Each has one request at a time, as programs that take more are rare.
//
// A request waits for an idle process, as long as [cgi.Request].Queue says. A process that
// ends in the midst of a request costs that request only, and is started again at once if it
// has answered one before. One that ends soon after its start is started again after a second, then two, four … and half a
// minute at most; while that has happened to all of them twice or more, requests fail at once.
type Program struct {
	c    ProgramConfig
	dir  *sockets.Folder
	stop chan struct{} // closed by Close
	runs sync.WaitGroup

	mu       sync.Mutex
	slots    []*slot
	closing  bool
	lastFail string
	changed  chan struct{} // closed when a request that waits should look again
}

// NewProgram starts the processes.
func NewProgram(c ProgramConfig) (*Program, error) {
	dir, err := sockets.NewFolder("")
	if err != nil {
		return nil, err
	}
	p := &Program{c: c, dir: dir, stop: make(chan struct{}), changed: make(chan struct{})}
	for i := range c.Processes {
		s, err := p.newSlot(filepath.Join(dir.Path, fmt.Sprint(i)))
		if err != nil {
			p.Close(context.Background())
			return nil, err
		}
		p.slots = append(p.slots, s)
	}
	for _, s := range p.slots {
		p.runs.Go(s.run) // ends with Close
	}
	return p, nil
}

// RoundTrip implements [cgi.Backend].
func (p *Program) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	req.Mode = cgi.ModeFastCGI
	for again := p.slots[0].transport.safe(req); ; again = false {
		proc, err := p.acquire(ctx, req)
		var res *cgi.Response
		if err == nil {
			if res, err = proc.slot.transport.attempt(ctx, req); err == nil {
				req.AtEnd(func(cgi.Exit) { proc.release(true) })
				return res, nil
			}
			proc.failed(err)
		}
		if !again || !errors.Is(err, errUnheard) {
			req.End(cgi.Exit{})
			return nil, fmt.Errorf("script %s: %w", req.Script.Name, err)
		}
	}
}

// acquire waits for an idle process, and makes it busy.
func (p *Program) acquire(ctx context.Context, req *cgi.Request) (*process, error) {
	limit := time.NewTimer(max(req.Queue.Wait, time.Second))
	defer limit.Stop()
	for {
		proc, changed, err := p.take()
		if proc != nil || err != nil {
			return proc, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, cgi.ErrGone
		case <-limit.C:
			return nil, cgi.ErrQueueWait
		}
	}
}

// take takes the first idle process, so that few are warm rather than all a little. It
// fails when none lasts.
func (p *Program) take() (*process, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	failing := 0
	for _, s := range p.slots {
		if proc := s.proc; proc != nil && !proc.busy && proc.why == nil {
			proc.busy = true
			return proc, nil, nil
		}
		if s.failures > 1 && s.proc == nil { // one may be an accident
			failing++
		}
	}
	switch {
	case p.closing:
		return nil, nil, fmt.Errorf("%w: %w", cgi.ErrUnreachable, errClosed)
	case failing == len(p.slots):
		return nil, nil, fmt.Errorf("%w: %s does not last: %s", cgi.ErrUnreachable, p.c.File, p.lastFail)
	}
	return nil, p.changed, nil
}

// changedLocked has all requests that wait look again. The caller must hold p.mu.
func (p *Program) changedLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Owns reports whether a process is one of the program's that still is to be waited for.
func (p *Program) Owns(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		if s.proc != nil && s.proc.pid == pid {
			return true
		}
	}
	return false
}

// errClosed: the gateway ends, or its configuration has another program.
var errClosed = errors.New("it is not wanted any more")

// Close ends all processes, TERM then KILL, and waits for them. Their requests should have
// ended: those that have not when ctx ends are broken off.
func (p *Program) Close(ctx context.Context) {
	p.mu.Lock()
	p.closing = true
	p.changedLocked()
	procs := make([]*process, 0, len(p.slots))
	for _, s := range p.slots {
		if s.proc != nil {
			procs = append(procs, s.proc)
		}
	}
	p.mu.Unlock()
	close(p.stop)
	for _, proc := range procs {
		proc.end(errClosed)
	}
	p.runs.Wait()
	for _, s := range p.slots {
		s.transport.Close(ctx)
		s.socket.Close()
	}
	p.dir.Remove()
}
