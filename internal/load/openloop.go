package load

import (
	"math"
	"sync"
	"time"
)

// open begins requests when they are due. One goroutine keeps the time and gives each due request to a connection that
// is free, or to a new one. When all are busy the request waits, and so do all behind it, but the time of each
// answer still counts from when its request was due. What was due and is still waiting for a connection at the end is counted
// as unsent; where only this goroutine is late, it is sent.
func (r *recorder) open() {
	var wg sync.WaitGroup
	tickets := make(chan time.Time)
	interval := float64(time.Second) / r.plan.Rate
	total := int64(math.MaxInt64)
	if r.plan.Duration > 0 {
		total = int64(math.Ceil(r.plan.Duration.Seconds() * r.plan.Rate))
	}
	if r.plan.Requests > 0 {
		total = min(total, r.plan.Requests)
	}
	work := func(c client, due time.Time) {
		v := newVerifier(r.g.expect)
		for ok := true; ok; due, ok = <-tickets {
			r.ask(c, v, due)
		}
		r.octets.Add(v.octets)
	}
	clock := newClock()
	defer clock.stop()
	sent, workers := int64(0), 0
pacing:
	for ; sent < total; sent++ {
		due := r.began.Add(time.Duration(float64(sent) * interval))
		if !clock.sleepUntil(due, r.halt.Done()) {
			break
		}
		select {
		case tickets <- due:
			continue
		default:
		}
		if workers < r.plan.atOnce() {
			c := r.g.client(workers)
			workers++
			wg.Go(func() { work(c, due) }) // ends when tickets is closed
			continue
		}
		r.blocked.Add(1)
		select {
		case tickets <- due:
		case <-r.over.Done():
			break pacing
		}
	}
	close(tickets)
	r.stop()
	wg.Wait()
	r.settle(sent, total, interval)
}

// settle counts what was due by the end and never sent.
func (r *recorder) settle(sent, total int64, interval float64) {
	due := int64(float64(r.stopped.Sub(r.began))/interval) + 1
	r.unsent = max(0, min(due, total)-sent)
}
