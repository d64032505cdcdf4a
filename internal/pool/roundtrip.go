package pool

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"warmcgi/internal/cgi"
)

// RoundTrip answers a request by a worker of its script, or, where there is none to be
// had, by a new process.
func (s *Set) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	p := s.poolOf(req)
	met := 0 // workers that had ended
	for tries := 0; p != nil && tries < maxTries; tries++ {
		w, g, err := p.worker(ctx, req)
		if err == errNoWorker {
			break
		}
		if err != nil {
			req.Mode = g.mode
			req.End(cgi.Exit{})
			return nil, scriptError(req, err)
		}
		a := &attempt{req: req, last: tries > 0}
		h := p.hand(w, a)
		if err := h.Send(); err != nil {
			p.discard(w)
			if errors.Is(err, cgi.ErrStart) {
				req.End(cgi.Exit{})
				return nil, err
			}
			if met++; met >= maxTrouble {
				p.deadOnArrival(g)
				break
			}
			tries-- // it has not seen the request; the next may be alive
			continue
		}
		req.Mode = g.mode
		res, err := h.RoundTrip(ctx)
		if err == nil || !a.again(err) {
			a.settle()
			p.answer(g)
			return res, err
		}
		s.c.Log.Warn("a worker has died before it answered; another one is asked", "id", req.ID, "script", req.Script.Name, "err", err)
		s.metrics.retries.WithLabelValues(req.Script.Name).Inc()
		p.answer(g)
	}
	req.Mode = cgi.ModeSpawn
	if p != nil {
		p.answer(nil)
	}
	return s.c.Spawn.RoundTrip(ctx, req)
}

// worker gets a worker of the script's generation, or of the one that takes its place
// while the request waits.
func (p *Pool) worker(ctx context.Context, req *cgi.Request) (*worker, *generation, error) {
	for g := p.admit(time.Now(), req); g != nil; g = p.successor(g) {
		if w, err := p.acquire(ctx, g, req); err != errNoWorker {
			return w, g, err
		}
	}
	return nil, nil, errNoWorker
}

// successor is the generation that has taken the place of g; nil: there is none yet.
func (p *Pool) successor(g *generation) *generation {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.gen == g {
		return nil
	}
	return p.gen
}

// maxTries: one more when a worker has died before it answered.
const maxTries = 2

// attempt is one try at a request. The request ends with the last of them.
type attempt struct {
	req  *cgi.Request
	last bool

	mu      sync.Mutex
	exit    *cgi.Exit // once the try has ended
	settled bool
}

// again reports whether the request may be given to another worker: this one died, by
// no act of ours, before its first octet, and to repeat the request does no harm.
func (a *attempt) again(err error) bool {
	var died *cgi.Died
	if a.last || !errors.Is(err, cgi.ErrNoOutput) || !errors.As(err, &died) || !died.Crash() {
		return false
	}
	if _, spooled := a.req.Body.(*cgi.Spooled); a.req.Body != nil && !spooled {
		return false
	}
	switch method(a.req) {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// settle: this was the last try.
func (a *attempt) settle() {
	a.mu.Lock()
	a.settled = true
	exit := a.exit
	a.mu.Unlock()
	if exit != nil {
		a.req.End(*exit)
	}
}

// ended is the end of the try.
func (a *attempt) ended(e cgi.Exit) {
	a.mu.Lock()
	a.exit = &e
	settled := a.settled
	a.mu.Unlock()
	if settled {
		a.req.End(e)
	}
}

func method(req *cgi.Request) string {
	for _, v := range req.Vars {
		if m, ok := strings.CutPrefix(v, "REQUEST_METHOD="); ok {
			return m
		}
	}
	return ""
}

// hand gives a worker its request, as far as sending it.
func (p *Pool) hand(w *worker, a *attempt) *cgi.Handover {
	try := a.req.Attempt()
	try.AtEnd(a.ended)
	try.AtEnd(func(e cgi.Exit) { p.judge(w.g, e) })
	p.mu.Lock()
	defer p.mu.Unlock()
	h := cgi.Hand(try, cgi.Worker{
		Pid: w.pid, Conn: w.conn, Stderr: w.stderr, Reused: w.g.reuses(),
		Line: p.set.c.Stderr, Free: w.free, Group: w.g.group,
	})
	w.conn = -1
	if w.state == gone { // between acquire and here; Send will say so, or its silence
		go h.Exited(cgi.Exit{Started: true, Code: -1})
	}
	w.handover = h
	return h
}

// discard drops a worker that did not take its request.
func (p *Pool) discard(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.handover = nil
	p.dropLocked(w)
}

// dropLocked forgets a busy worker that has no request. The caller must hold p.mu.
func (p *Pool) dropLocked(w *worker) {
	if w.state == gone {
		w.stderr.Close() // which exited left to whoever had the worker
	}
	w.g.busy--
	if w.res != nil {
		w.res.Destroy()
		w.res = nil
	}
	if w.state == busy {
		w.dismiss()
	}
	p.refill(w.g)
}

// deadOnArrival: a request has met nothing but workers that had ended.
func (p *Pool) deadOnArrival(g *generation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble(g, "its workers end before they are asked")
}

// answer counts how a request was answered. g is nil for mode spawn.
func (p *Pool) answer(g *generation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g == nil {
		p.answered[cgi.ModeSpawn]++
		return
	}
	p.answered[g.mode]++
	p.learn(g)
}

// judge counts how a worker's request has ended for or against the script's mode.
func (p *Pool) judge(g *generation, e cgi.Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Crashed() {
		p.trouble(g, "its workers crash: "+describe(e))
	} else {
		p.trouble_ *= 0.9
	}
}
