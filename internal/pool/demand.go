package pool

import (
	"container/list"
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"warmcgi/internal/cgi"
)

// target is how many idle workers there should be: enough for the requests that come
// while one is forked.
func (p *Pool) target(now time.Time) int {
	n := int(math.Ceil(2 * p.arrivals.at(now) * p.forkTime.d.Seconds()))
	return min(max(n, p.spare()), p.max())
}

// refill orders the workers that are wanted. The caller must hold p.mu.
func (p *Pool) refill(g *generation) {
	if g.retired || g.dead || p.gen != g || p.closed {
		return
	}
	now := time.Now()
	have := g.idle + len(g.pending)
	total := have + g.busy
	want := p.waiters.Len() + p.target(now)
	if g.reuses() {
		// A busy worker comes back; more than the machine has processors for are only
		// forked when a request has stalled, see acquire.
		want = min(want, max(p.spare(), p.set.c.Processors+1)-g.busy)
	}
	n := min(want-have, p.max()+p.spare()-total)
	p.orderLocked(g, n, now)
}

func (p *Pool) orderLocked(g *generation, n int, now time.Time) {
	if n <= 0 {
		return
	}
	for range n {
		g.pending = append(g.pending, now)
	}
	g.send("fork " + strconv.Itoa(n) + "\n")
}

// wakeAll sends those who wait to mode spawn. The caller must hold p.mu.
func (p *Pool) wakeAll() {
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		p.waiters.Remove(e).(*waiter).give(nil)
	}
}

// waiter is a request that waits for a worker.
type waiter struct {
	g  *generation
	ch chan *worker // buffered; nil: there will be none
}

func (w *waiter) give(x *worker) { w.ch <- x }

// firstWaiter takes the one that has waited longest out of the queue. Those of another
// generation are spawned. The caller must hold p.mu.
func (p *Pool) firstWaiter(g *generation) *waiter {
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		w := p.waiters.Remove(e).(*waiter)
		if w.g == g {
			return w
		}
		w.give(nil)
	}
	return nil
}

// acquire gets a worker for a request: an idle one, or the next that comes. How long
// that may take is the request's queue limit.
func (p *Pool) acquire(ctx context.Context, g *generation, req *cgi.Request) (*worker, error) {
	p.mu.Lock()
	if g.retired {
		p.mu.Unlock()
		return nil, errNoWorker
	}
	if p.waiters.Len() == 0 {
		if w := g.takeIdle(); w != nil {
			p.refill(g)
			p.mu.Unlock()
			return w, nil
		}
	}
	wt := &waiter{g: g, ch: make(chan *worker, 1)}
	e := p.waiters.PushBack(wt)
	p.refill(g)
	p.mu.Unlock()

	began := time.Now()
	defer func() { p.waited(time.Since(began)) }()
	stall := time.NewTimer(stallTime)
	defer stall.Stop()
	limit := time.NewTimer(max(req.Queue.Wait, time.Second))
	defer limit.Stop()
	for {
		select {
		case w := <-wt.ch:
			if w == nil {
				return nil, errNoWorker
			}
			return w, nil
		case <-stall.C:
			p.stalled(g)
			stall.Reset(stallTime)
		case <-ctx.Done():
			p.giveUp(e, wt)
			return nil, cgi.ErrGone
		case <-limit.C:
			p.giveUp(e, wt)
			return nil, cgi.ErrQueueWait
		}
	}
}

// stalled: no reused worker has come back in time. Another one helps if those there are
// wait for something; if they compute, it would only take their processors, unless they do
// so for long. Those that wait are doubled, while more requests wait.
func (p *Pool) stalled(g *generation) {
	p.mu.Lock()
	now := time.Now()
	if !p.mayGrowLocked(g) || now.Sub(p.stalledAt) < stallTime {
		p.mu.Unlock()
		return
	}
	p.stalledAt = now
	long := now.Sub(g.movedAt) > longTime
	var pids []int
	for pid, w := range g.workers {
		if w.state == busy {
			pids = append(pids, pid)
		}
	}
	p.mu.Unlock()

	n := len(pids)
	wait := 2*len(slices.DeleteFunc(pids, computes)) >= n // asks /proc
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalls++; !wait {
		p.stalls = 0
	}
	if (long || p.stalls >= maxStalls) && p.mayGrowLocked(g) {
		more := 1
		if wait {
			more = max(1, min(n, p.waiters.Len(), p.max()-g.busy-g.idle))
		}
		p.stalls = 0
		p.orderLocked(g, more, now)
	}
}

// mayGrowLocked reports whether one more reused worker may be forked. The caller must
// hold p.mu.
func (p *Pool) mayGrowLocked(g *generation) bool {
	return g.reuses() && !g.retired && p.gen == g && len(g.pending) == 0 && g.busy+g.idle < p.max()
}

// giveUp takes a waiter back.
func (p *Pool) giveUp(e *list.Element, wt *waiter) {
	p.mu.Lock()
	p.waiters.Remove(e) // does nothing if it is not in any more
	p.mu.Unlock()
	select {
	case w := <-wt.ch:
		if w != nil {
			p.putBack(w)
		}
	default:
	}
}

// putBack makes a worker idle again that got no request after all.
func (p *Pool) putBack(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.state == busy {
		w.g.arrive(w)
	} else { // it has ended meanwhile
		p.dropLocked(w)
	}
}
