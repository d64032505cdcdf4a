package pool

import (
	"context"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/puddle/v2"

	"warmcgi/internal/cgi"
)

// maxWorkers bounds the workers of one generation; the settings' limit is below it.
const maxWorkers = 1 << 16

// strangers bounds the connections that wait for the warm parent to name their process.
const strangers = 256

// worker is a child of the warm parent. All fields belong to the lock of the pool.
type worker struct {
	g      *generation
	pid    int
	born   time.Time
	named  bool        // the warm parent has said that it forked it
	stderr *cgi.Stderr // its first connection
	conn   int         // its request connection while it is idle; -1
	res    *puddle.Resource[*worker]
	state  workerState

	handover *cgi.Handover // while it has a request
	retire   bool          // it gets no further request
	left     string        // what it could not clean up
	requests int           // it has answered
	most     int           // requests, after which it is replaced; 0 is never
	until    time.Time     // when it is replaced; zero is never
	since    time.Time     // when its state began
	memory   int64         // PSS as last measured
}

type workerState int

const (
	starting  workerState = iota // forked, not yet connected
	idling                       // in the pool, or about to be handed over
	busy                         // has a request
	returning                    // reused: has finished a request, not yet connected again
	leaving                      // gets no further request
	gone                         // has ended
)

func (s workerState) String() string {
	return [...]string{"starting", "idle", "busy", "returning", "leaving", "gone"}[s]
}

type workerKey struct{}

func workerOf(ctx context.Context) (*worker, error) {
	w, ok := ctx.Value(workerKey{}).(*worker)
	if !ok {
		return nil, errNoWorker // puddle would construct on the request's path
	}
	return w, nil
}

// acceptAll takes the connections of workers. It ends with the listener.
func (g *generation) acceptAll() {
	c, err := g.ln.SyscallConn()
	if err != nil {
		return
	}
	var told time.Time
	for {
		var fd, pid int
		var uid uint32
		var aerr error
		err := c.Read(func(l uintptr) bool {
			fd, pid, uid, aerr = accept(int(l))
			return aerr != syscall.EAGAIN
		})
		if err != nil {
			return
		}
		switch aerr {
		case nil:
			if u := g.p.confine.RunsAs(); u != nil && uid != u.UID {
				syscall.Close(fd) // nobody but the user's processes may be here at all
				continue
			}
			g.connected(fd, pid)
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			if time.Since(told) > time.Minute { // it may last
				told = time.Now()
				g.p.set.c.Log.Error("can't accept a worker's connection", "script", g.p.script.Name, "err", aerr)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// connected: the first connection of a process is its error channel, each other one is a
// worker that waits for a request.
func (g *generation) connected(fd, pid int) {
	p := g.p
	p.mu.Lock()
	defer p.mu.Unlock()
	w := g.workers[pid]
	if w == nil {
		if len(g.workers) >= len(g.pending)+g.idle+g.busy+strangers {
			syscall.Close(fd)
			return
		}
		w = g.newWorker(pid)
	}
	switch {
	case w.stderr == nil:
		w.stderr = cgi.NewStderr(fd)
	case w.conn >= 0 || w.state == leaving || w.state == busy && !g.reuses():
		syscall.Close(fd) // it has one already, or should not
	default:
		w.conn = fd
		if w.named && w.state != busy {
			g.arrive(w)
		}
	}
}

func (g *generation) reuses() bool { return g.mode == cgi.ModeReuse }

// forked: the warm parent names a child. It reports whether there may be one more.
func (g *generation) forked(pid int) bool {
	p := g.p
	p.mu.Lock()
	defer p.mu.Unlock()
	w := g.workers[pid]
	if w == nil && len(g.workers) >= maxWorkers {
		return false
	}
	if w == nil {
		w = g.newWorker(pid)
	}
	w.named = true
	if g.dead { // the line was on its way when the warm parent ended
		go g.adopt(w) // ends with the worker
	}
	if w.conn >= 0 && w.state == starting {
		g.arrive(w)
	}
	return true
}

// newWorker is called by whichever comes first. The caller must hold p.mu.
func (g *generation) newWorker(pid int) *worker {
	now := time.Now()
	w := &worker{g: g, pid: pid, conn: -1, born: now, since: now}
	if s := g.p.settings; g.reuses() {
		if s.Requests > 0 {
			w.most = max(1, cgi.Jitter(s.Requests))
		}
		if s.Age > 0 {
			w.until = now.Add(time.Duration(cgi.Jitter(int(s.Age))))
		}
	}
	g.workers[pid] = w
	return w
}

// arrive makes a worker idle, or gives it to whoever has waited longest. The caller
// must hold p.mu.
func (g *generation) arrive(w *worker) {
	p, now := g.p, time.Now()
	fresh := w.state == starting
	if fresh && len(g.pending) > 0 {
		took := now.Sub(g.pending[0])
		g.pending = g.pending[1:]
		p.forkTime.add(took)
		p.metrics.fork.Observe(took.Seconds())
		p.forks++
		p.forkRate.hit(now)
	}
	if !fresh {
		g.busy--
	}
	w.state, w.since, g.movedAt = idling, now, now
	if g.retired || w.retire || w.worn(now) {
		if w.res != nil {
			w.res.Destroy()
			w.res = nil
		}
		w.dismiss()
		p.refill(g)
		return
	}
	if w.res == nil {
		if err := g.idlers.CreateResource(context.WithValue(context.Background(), workerKey{}, w)); err != nil {
			w.dismiss()
			return
		}
	} else {
		w.res.Release()
		w.res = nil
	}
	g.idle++
	if wt := p.firstWaiter(g); wt != nil {
		if got := g.takeIdle(); got != nil {
			wt.give(got)
		} else {
			p.waiters.PushFront(wt)
		}
	}
	p.refill(g)
}

// takeIdle makes an idle worker busy, or returns nil. The caller must hold p.mu.
func (g *generation) takeIdle() *worker {
	if g.idle == 0 {
		return nil // puddle would make one
	}
	res, err := g.idlers.TryAcquire(context.Background())
	if err != nil {
		return nil
	}
	w := res.Value()
	w.res, w.state, w.since = res, busy, time.Now()
	g.idle--
	g.busy++
	return w
}

// forgetIdle takes out a worker that has ended while it was idle. The caller must hold
// p.mu.
func (g *generation) forgetIdle(w *worker) {
	for _, res := range g.idlers.AcquireAllIdle() {
		if res.Value() == w {
			res.Destroy()
			g.idle--
		} else {
			res.ReleaseUnused()
		}
	}
}

// worn: a reused worker has served its time.
func (w *worker) worn(now time.Time) bool {
	s := w.g.p.settings
	return w.most > 0 && w.requests >= w.most ||
		!w.until.IsZero() && now.After(w.until) ||
		w.g.reuses() && w.g.p.spent(w.pid) ||
		s.Memory > 0 && w.memory > s.Memory
}

// dismiss lets an idle worker go: the end of its connection tells it to leave. The
// caller must hold p.mu.
func (w *worker) dismiss() {
	if w.conn >= 0 {
		syscall.Close(w.conn)
		w.conn = -1
	}
	w.state, w.since = leaving, time.Now()
}

// done: a worker has finished its request.
func (g *generation) done(pid, code int, left string) {
	p := g.p
	p.mu.Lock()
	w := g.workers[pid]
	if w == nil || w.handover == nil {
		p.mu.Unlock()
		return
	}
	h := w.handover
	w.requests++
	w.since = time.Now()
	if g.reuses() && left != "" && left != "-" {
		w.retire, w.left = true, left
		p.trouble(g, "leaves "+left+" behind")
	}
	p.mu.Unlock()
	h.Done(code)
}

// exited: a worker was waited for.
func (g *generation) exited(pid int, e cgi.Exit) {
	p := g.p
	p.mu.Lock()
	w := g.workers[pid]
	if w == nil {
		p.mu.Unlock()
		return
	}
	delete(g.workers, pid)
	before := w.state
	w.state = gone
	h := w.handover
	if before == busy && w.since.After(w.born) && w.requests > 0 {
		p.metrics.leave.Observe(time.Since(w.since).Seconds())
	}
	if w.conn >= 0 {
		syscall.Close(w.conn)
		w.conn = -1
	}
	switch before {
	case starting:
		if len(g.pending) > 0 {
			g.pending = g.pending[1:]
		}
		p.trouble(g, "its workers end before they are asked: "+describe(e))
	case idling:
		g.forgetIdle(w)
	case returning:
		g.busy--
	}
	if w.res != nil && before == returning {
		w.res.Destroy()
		w.res = nil
	}
	stderr := w.stderr
	g.endIfEmptyLocked()
	if w.left != "" {
		go p.endGroup(pid) // ends with the group, or by SIGKILL
	}
	if before != idling { // otherwise the keeper does it: the next may die at once, too
		p.refill(g)
	}
	p.mu.Unlock()
	if h != nil {
		h.Exited(e)
	} else if stderr != nil && before != busy { // busy: a request is about to have it, see hand
		stderr.Close()
	}
}

// describe says how a process ended.
func describe(e cgi.Exit) string {
	if e.Signal != "" {
		return (&cgi.Died{Signal: e.Signal}).Error()
	}
	return "exit status " + strconv.Itoa(e.Code)
}

// free is called when nothing works on a worker's request any more.
func (w *worker) free() {
	g := w.g
	p := g.p
	p.mu.Lock()
	defer p.mu.Unlock()
	w.handover = nil
	if w.state == busy && g.reuses() {
		w.state, w.since = returning, time.Now()
		if w.conn >= 0 { // it was quicker than we
			g.arrive(w)
		}
		return
	}
	if w.state == gone { // a reused one, just after its request
		w.stderr.Close()
	}
	g.busy--
	if w.res != nil {
		w.res.Destroy()
		w.res = nil
	}
	p.refill(g)
}

// endGroup ends what a reused worker has left behind: TERM, then KILL.
func (p *Pool) endGroup(pgid int) {
	for range 50 {
		if p.confine.Kill(pgid, syscall.SIGTERM) != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.confine.Kill(pgid, syscall.SIGKILL)
}
