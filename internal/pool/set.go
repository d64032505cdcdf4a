package pool

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"warmcgi/internal/cgi"
	"warmcgi/internal/cgroup"
	"warmcgi/internal/confine"
	"warmcgi/internal/sockets"
)

// Config sets up a [Set].
type Config struct {
	// Spawn answers what no worker can.
	Spawn cgi.Backend
	// Shim is the command that becomes a warm parent: `gateway shim`, or cmd/shim.
	Shim []string
	// Dir is where the folder of the scripts' sockets is made; "" is the system's for
	// temporary files. Its path must be short, as Unix sockets want it.
	Dir string
	// Memory is the most that warm parents and workers may use together, in octets
	// (proportional set size); 0 is half of the machine's.
	Memory int64
	// Descriptors is how many of the gateway's open files warm scripts may take; 0 is half of
	// its limit.
	Descriptors int64
	// Groups is where the processes of scripts are held to limits together; nil is nowhere.
	Groups *cgroup.Tree
	// Processors is how many the machine has.
	Processors int
	// Log gets what happens; nil is [slog.Default].
	Log *slog.Logger
	// Stderr gets each line that a worker writes to its standard error.
	Stderr func(req *cgi.Request, line string)
	// Trace, if not nil, gets each line of the worker protocol; sent is the gateway's.
	Trace func(sent bool, line string)
	// Registerer gets the metrics; nil is none.
	Registerer prometheus.Registerer
}

// Set is the pools of all scripts: a [cgi.Backend].
type Set struct {
	c       Config
	dir     *sockets.Folder
	metrics *metrics
	loading *semaphore.Weighted // warm parents that load at once
	stop    chan struct{}
	stopped chan struct{}

	descriptors descriptors
	memory      atomic.Int64 // Config.Memory, as it is now

	mu      sync.Mutex // taken before a pool's
	pools   map[key]*Pool
	no      map[key]*refusal // scripts without a runner
	pins    map[string]*Pin  // by script; see Pin
	limits  map[string]*Limits
	leaving map[*Pool]bool     // retired, with processes that still work
	past    map[string]*counts // by script, of pools that are forgotten
	closed  bool
}

// key tells pools apart: a script can be in two routes, with two environments.
type key struct {
	file, interpreter string
	settings          *cgi.Workers
	confine           *confine.Rules
	constants         constants
}

func keyOf(req *cgi.Request) key {
	return key{req.Script.File, req.Script.Interpreter, req.Workers, req.Confine, constantsOf(req)}
}

// refusal says why a script has no pool, as long as it stays the same.
type refusal struct {
	stamp   stamp
	why     string
	name    string
	asked   int64
	lastUse time.Time
}

func (r *refusal) hit() {
	r.asked++
	r.lastUse = time.Now()
}

// maxRefusals bounds what is remembered of scripts without a runner.
const maxRefusals = 4096

// New makes a set without pools. Close it.
func New(c Config) (*Set, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Memory == 0 {
		c.Memory = machineMemory() / 2
	}
	if c.Stderr == nil {
		c.Stderr = cgi.LogStderr(c.Log)
	}
	if c.Descriptors == 0 {
		c.Descriptors = halfOfTheLimit()
	}
	dir, err := sockets.NewFolder(c.Dir)
	if err != nil {
		return nil, err
	}
	s := &Set{
		c: c, dir: dir, loading: semaphore.NewWeighted(int64(max(2, c.Processors))),
		stop: make(chan struct{}), stopped: make(chan struct{}),
		pools: map[key]*Pool{}, no: map[key]*refusal{}, pins: map[string]*Pin{}, limits: map[string]*Limits{},
		leaving: map[*Pool]bool{}, past: map[string]*counts{},
	}
	s.memory.Store(c.Memory)
	s.descriptors.most = c.Descriptors
	s.metrics = newMetrics(s)
	if c.Registerer != nil {
		s.metrics.register(c.Registerer)
	}
	go s.keep() // ends with Close
	return s, nil
}

// poolOf finds or makes the pool of a request's script; nil: it is spawned.
func (s *Set) poolOf(req *cgi.Request) *Pool {
	w := req.Workers
	if w == nil || w.Mode == cgi.ModeSpawn {
		return nil
	}
	k := keyOf(req)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pools[k]; p != nil {
		return p
	}
	if s.closed {
		return nil
	}
	now := stampOf(req.Script.File)
	if r := s.no[k]; r != nil && r.stamp == now {
		r.hit()
		return nil
	}
	program, err := eligible(&req.Script, w)
	if err != nil {
		if len(s.no) >= maxRefusals {
			clear(s.no)
		}
		r := &refusal{stamp: now, why: err.Error(), name: req.Script.Name}
		r.hit()
		s.no[k] = r
		return nil
	}
	delete(s.no, k)
	p := newPool(s, req, k.constants, program)
	s.pools[k] = p
	return p
}

// Owns reports whether a process is a warm parent or a worker, which the set waits for.
func (s *Set) Owns(pid int) bool {
	for _, p := range s.living() {
		if p.owns(pid) {
			return true
		}
	}
	return false
}

func (p *Pool) owns(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.generations() {
		if g.pid() == pid || g.workers[pid] != nil {
			return true
		}
	}
	return false
}

// generations are all that still have processes. The caller must hold p.mu.
func (p *Pool) generations() []*generation {
	var all []*generation
	for g := range p.old {
		all = append(all, g)
	}
	if p.gen != nil {
		all = append(all, p.gen)
	}
	if p.next != nil {
		all = append(all, p.next)
	}
	return all
}

func (s *Set) all() []*Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Pool, 0, len(s.pools))
	for _, p := range s.pools {
		all = append(all, p)
	}
	return all
}

// living are all pools that may have processes.
func (s *Set) living() []*Pool {
	all := s.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.leaving {
		all = append(all, p)
	}
	return all
}

// Close ends all warm parents and workers, and waits for them until ctx ends.
// Requests that come later are spawned.
func (s *Set) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	s.mu.Unlock()
	<-s.stopped
	var left []*generation
	for _, p := range s.living() {
		left = append(left, p.close()...)
	}
	defer s.dir.Remove()
	late := time.NewTimer(loadingGrace)
	defer late.Stop()
	for len(left) > 0 {
		select {
		case <-left[0].left:
			left = left[1:]
		case <-late.C: // nobody looks for stuck ones any more
			for _, g := range left {
				g.killLoading()
			}
		case <-ctx.Done():
			for _, g := range left {
				g.killAll()
			}
			return fmt.Errorf("%d warm parents still run: %w", len(left), ctx.Err())
		}
	}
	return nil
}

// loadingGrace is how long a warm parent may take to end that was told so while it loaded
// its script. Ruby loses a SIGTERM now and then that comes while it loads a library.
const loadingGrace = time.Second

// killLoading ends a warm parent that loads its script still: it has no request.
func (g *generation) killLoading() {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if !g.isReady && !g.dead {
		syscall.Kill(-g.pid(), syscall.SIGKILL)
	}
}

// close retires everything of a script, and ends the requests that are under way.
func (p *Pool) close() []*generation {
	p.mu.Lock()
	p.closed = true
	all := p.generations()
	var busy []*cgi.Handover
	for _, g := range all {
		p.retireLocked(g)
		for _, w := range g.workers {
			if w.handover != nil {
				busy = append(busy, w.handover)
			}
		}
	}
	p.gen, p.next = nil, nil
	p.wakeAll()
	p.mu.Unlock()
	for _, h := range busy {
		h.Kill(cgi.ReasonShutdown)
	}
	return all
}

// killAll is the last resort.
func (g *generation) killAll() {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if !g.dead {
		syscall.Kill(-g.pid(), syscall.SIGKILL)
	}
	for pid, w := range g.workers {
		if w.stderr != nil { // the kernel has said that it is ours; the other pids are only somebody's word
			g.p.confine.Kill(pid, syscall.SIGKILL)
		}
	}
}

// scriptError names the script.
func scriptError(req *cgi.Request, err error) error {
	return fmt.Errorf("script %s: %w", req.Script.Name, err)
}
