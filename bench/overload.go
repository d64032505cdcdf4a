package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// How a server does that is asked for ten times of what it can do. Requests come at a fixed
// rate whether or not others were answered (open loop), and their time counts from when they
// should have been sent.

const (
	// overloadFactor is how many times of the peak are asked for.
	overloadFactor = 10
	// maxOpen bounds the connections. A server that holds more requests than that has no
	// bound of its own that would matter.
	maxOpen = 4096
	// overloadLeast is the shortest measurement, and overloadStart the part of it at its
	// beginning, in which queues fill, that does not count as goodput.
	overloadLeast, overloadStart = 5 * time.Second, 2 * time.Second
	// overloadPatience is how long a request that was let in may take: longer than a
	// queue's wait.
	overloadPatience = 20 * time.Second
)

// offered is what came of a fixed rate of requests.
type offered struct {
	Peak       float64 // requests/s as fast as 16 connections are answered, mean of before and after
	Rate       float64 // asked for, per second
	Sent       int
	Good       float64 // right answers within the time, per second
	Refused    int     // 503
	Failed     int     // anything else
	Failure    string  `json:",omitempty"` // the first of those
	Held       int     // not sent, as maxOpen requests had no answer
	Longest    time.Duration
	RefusedP50 time.Duration
	RefusedP99 time.Duration
}

// overload is a trial.
func overload(ctx context.Context, s *server, w *workload, n int, d time.Duration) (*round, error) {
	d = max(d, overloadLeast)
	closed, err := s.measure(ctx, w, n, d)
	if err != nil {
		return nil, err
	}
	before, err := s.usage()
	if err != nil {
		return nil, err
	}
	look, err := s.look()
	if err != nil {
		return nil, err
	}
	load := ownCPU()
	g := &openLoop{s: s, w: w, request: requestFor(s.addr, w)}
	g.run(ctx, overloadFactor*closed.rps(), d)
	after, err := s.usage()
	if err != nil {
		return nil, err
	}
	r := g.round(d - overloadStart)
	r.CPU, r.Memory, r.Load = after.cpu-before.cpu, after.memory, ownCPU()-load
	if r.Inside, err = s.since(look, 0); err != nil {
		return nil, err
	}
	again, err := s.measure(ctx, w, n, d)
	if err != nil {
		return nil, err
	}
	r.Offered.Peak = (closed.rps() + again.rps()) / 2 // the machine may have changed meanwhile
	return r, nil
}

// openLoop sends requests at a fixed rate.
type openLoop struct {
	s       *server
	w       *workload
	request []byte
	from    time.Time // goodput is counted from here to the end
	end     time.Time
	wg      sync.WaitGroup

	mu      sync.Mutex // for what follows; held for no longer than a few assignments
	idle    []*openConn
	open    int
	good    []time.Duration
	refused []time.Duration
	within  int
	out     offered
}

type openConn struct {
	net.Conn
	r *bufio.Reader
}

// run returns when each request has its answer.
func (g *openLoop) run(ctx context.Context, rate float64, d time.Duration) {
	began := time.Now()
	g.from, g.end, g.out.Rate = began.Add(overloadStart), began.Add(d), rate
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; <-tick.C {
		passed := min(time.Since(began), d)
		due := int(rate * passed.Seconds())
		for ; n < due; n++ {
			at := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			if g.take() {
				g.wg.Go(func() { g.ask(at) }) // ends with the answer, or the connection's deadline
			}
		}
		if passed >= d {
			break
		}
	}
	g.wg.Wait()
	for _, c := range g.idle {
		c.Close()
	}
}

// take counts a request, and says whether there may be another.
func (g *openLoop) take() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= maxOpen {
		g.out.Held++
		return false
	}
	g.open++
	g.out.Sent++
	return true
}

func (g *openLoop) ask(at time.Time) {
	c, err := g.conn()
	status, keep := 0, false
	if err == nil {
		status, keep, err = g.exchange(c)
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	switch {
	case err != nil:
		g.out.Failed++
		if g.out.Failure == "" {
			g.out.Failure = err.Error()
		}
	case status == 503:
		g.refused = append(g.refused, now.Sub(at))
	default:
		g.good = append(g.good, now.Sub(at))
		if now.After(g.from) && now.Before(g.end) {
			g.within++
		}
	}
	if keep {
		g.idle = append(g.idle, c)
	} else if c != nil {
		c.Close()
	}
}

// conn is a kept connection, or a new one.
func (g *openLoop) conn() (*openConn, error) {
	g.mu.Lock()
	if n := len(g.idle); n > 0 {
		c := g.idle[n-1]
		g.idle = g.idle[:n-1]
		g.mu.Unlock()
		return c, nil
	}
	g.mu.Unlock()
	conn, err := net.DialTimeout("tcp", g.s.addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(g.end.Add(overloadPatience))
	return &openConn{conn, bufio.NewReaderSize(conn, g.w.readSize())}, nil
}

// exchange gets one answer: the right one, or 503.
func (g *openLoop) exchange(c *openConn) (status int, keep bool, err error) {
	if _, err := c.Write(g.request); err != nil {
		return 0, false, err
	}
	h, err := readFinalHead(c.r)
	if err != nil {
		return 0, false, err
	}
	if h.status == 503 && h.length >= 0 && !h.chunked {
		_, err = io.CopyN(io.Discard, c.r, h.length)
		return h.status, h.keep, err
	}
	keep, err = readBody(c.r, h, g.w.content())
	return h.status, keep, err
}

// round sums it up.
func (g *openLoop) round(d time.Duration) *round {
	slices.Sort(g.good)
	slices.Sort(g.refused)
	o := &g.out
	o.Good, o.Refused = float64(g.within)/d.Seconds(), len(g.refused)
	o.RefusedP50, o.RefusedP99 = at(g.refused, 0.5), at(g.refused, 0.99)
	o.Longest = at(g.good, 1)
	return &round{
		Requests: len(g.good), Within: float64(g.within), Wrong: o.Failed, Seconds: d.Seconds(),
		P50: at(g.good, 0.5), P99: at(g.good, 0.99), Longest: o.Longest, Offered: o,
	}
}

// at is a quantile of sorted times.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*q))]
}
