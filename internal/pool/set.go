package pool

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"warmcgi/internal/cgi"
	"warmcgi/internal/confine"
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
	dir     string
	metrics *metrics
	loading *semaphore.Weighted // warm parents that load at once
	stop    chan struct{}
	stopped chan struct{}

	mu     sync.Mutex
	pools  map[key]*Pool
	no     map[key]refusal // scripts without a runner
	closed bool
}

// key tells pools apart: a script can be in two routes, with two environments.
type key struct {
	file, interpreter string
	settings          *cgi.Workers
	confine           *confine.Rules
}

// refusal says why a script has no pool, as long as it stays the same.
type refusal struct {
	stamp stamp
	why   string
	name  string
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
		log := c.Log
		c.Stderr = func(req *cgi.Request, line string) {
			log.Warn("script wrote to standard error", "id", req.ID, "script", req.Script.Name, "line", line)
		}
	}
	dir, err := os.MkdirTemp(c.Dir, "warmcgi-")
	if err != nil {
		return nil, fmt.Errorf("folder for the scripts' sockets: %w", err)
	}
	s := &Set{
		c: c, dir: dir, loading: semaphore.NewWeighted(int64(max(2, c.Processors))),
		stop: make(chan struct{}), stopped: make(chan struct{}),
		pools: map[key]*Pool{}, no: map[key]refusal{},
	}
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
	k := key{req.Script.File, req.Script.Interpreter, w, req.Confine}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pools[k]; p != nil {
		return p
	}
	if s.closed {
		return nil
	}
	now := stampOf(req.Script.File)
	if r, ok := s.no[k]; ok && r.stamp == now {
		return nil
	}
	program, err := eligible(&req.Script, w)
	if err != nil {
		if len(s.no) >= maxRefusals {
			clear(s.no)
		}
		s.no[k] = refusal{now, err.Error(), req.Script.Name}
		return nil
	}
	delete(s.no, k)
	p := newPool(s, req, program)
	s.pools[k] = p
	return p
}

// Owns reports whether a process is a warm parent or a worker, which the set waits for.
func (s *Set) Owns(pid int) bool {
	for _, p := range s.all() {
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
		if g.pid == pid || g.workers[pid] != nil {
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
	for _, p := range s.all() {
		left = append(left, p.close()...)
	}
	defer os.RemoveAll(s.dir)
	for i, g := range left {
		select {
		case <-g.left:
		case <-ctx.Done():
			for _, g := range left[i:] {
				g.killAll()
			}
			return fmt.Errorf("%d warm parents still run: %w", len(left)-i, ctx.Err())
		}
	}
	return nil
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
		syscall.Kill(-g.pid, syscall.SIGKILL)
	}
	for pid := range g.workers {
		g.p.confine.Kill(pid, syscall.SIGKILL)
	}
}

// optsIn reports whether a script asks to be reused: the comment `cgi: reuse` in its
// first ten lines.
func optsIn(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	r := bufio.NewScanner(f)
	for i := 0; i < 10 && r.Scan(); i++ {
		if line := strings.TrimSpace(r.Text()); strings.HasPrefix(line, "#") && strings.TrimSpace(strings.TrimLeft(line, "# \t")) == "cgi: reuse" {
			return true
		}
	}
	return false
}

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
			for _, p := range s.all() {
				p.tend(now)
				if n%10 == 0 {
					p.weigh()
				}
			}
			if n%10 == 0 {
				s.fit()
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
		if len(g.pending) > 0 && now.Sub(g.pending[0]) > stuckTime && !g.dead {
			go g.fail(fmt.Sprintf("a worker did not come within %v", stuckTime)) // needs the lock
		}
		for pid, w := range g.workers {
			if (w.state == returning || w.state == leaving) && now.Sub(w.since) > stuckTime {
				p.confine.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	if g := p.gen; g != nil {
		p.renew(g)
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
}

// weigh measures the memory of a script's processes.
func (p *Pool) weigh() {
	p.mu.Lock()
	var pids []int
	g := p.gen
	if g != nil {
		pids = append(pids, g.pid)
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
		} else if pid == g.pid {
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
	if s.c.Memory <= 0 {
		return
	}
	var sum int64
	all := s.all()
	for _, p := range all {
		sum += p.memory()
	}
	for sum > s.c.Memory {
		var oldest *Pool
		var when time.Time
		for _, p := range all {
			p.mu.Lock()
			if p.gen != nil && p.gen.busy == 0 && (oldest == nil || p.lastUse.Before(when)) {
				oldest, when = p, p.lastUse
			}
			p.mu.Unlock()
		}
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

// drop forgets pools that nobody has used for long.
func (s *Set) drop(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, p := range s.pools {
		p.mu.Lock()
		if len(p.generations()) == 0 && p.waiters.Len() == 0 && now.Sub(p.lastUse) > time.Hour {
			delete(s.pools, k)
		}
		p.mu.Unlock()
	}
}

// scriptError names the script.
func scriptError(req *cgi.Request, err error) error {
	return fmt.Errorf("script %s: %w", req.Script.Name, err)
}
