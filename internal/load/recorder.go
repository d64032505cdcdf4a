package load

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// recorder counts what comes of one run.
type recorder struct {
	g    *Generator
	plan Plan
	// over is done when no more requests are to be begun: at the plan's end, or by stop, which halt knows of alone.
	over, halt context.Context
	stop       func()

	taken, octets, blocked atomic.Int64

	mu             sync.Mutex // for all below
	began, stopped time.Time
	last           time.Time // of all answers
	latency        *hdrhistogram.Histogram
	refused        *hdrhistogram.Histogram // answers with a wrong status
	late           *hdrhistogram.Histogram // from due to sent
	spans          spans
	bad            int64
	failures       map[Kind]int64
	status         map[int]int64
	wrongBody      int64
	interrupted    int64
	unsent         int64
	samples        []string
	deaf           time.Time // since when there was no connection to be had; zero is no such time
	gone           bool

	opened, again int64 // counts of the connections before
	cpu           float64
}

const forEver = 365 * 24 * time.Hour

// The histograms have three digits, from 1 us to longestTime.
const longestTime = time.Hour

// NewHistogram is one of times in nanoseconds, as those of a [Result]: to be merged into.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, int64(longestTime), 3) }

func newRecorder(g *Generator, p Plan) *recorder {
	r := &recorder{
		g: g, plan: p, latency: NewHistogram(), refused: NewHistogram(), late: NewHistogram(),
		failures: map[Kind]int64{}, status: map[int]int64{}, opened: g.counts.opened.Load(), again: g.counts.again.Load(), cpu: ownCPU(),
	}
	r.began = time.Now()
	end := r.began.Add(forEver)
	if p.Duration > 0 {
		end = r.began.Add(p.Duration)
		r.spans.end = end
	}
	halt, cancel := context.WithCancel(g.ctx)
	over, cancelOver := context.WithDeadline(halt, end)
	r.over, r.halt = over, halt
	var once sync.Once
	note := func() {
		once.Do(func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.stopped = time.Now(); r.stopped.After(end) {
				r.stopped = end
			}
		})
	}
	context.AfterFunc(over, note)
	r.stop = func() { note(); cancelOver(); cancel() }
	return r
}

// note counts one request.
func (r *recorder) note(due, began, done time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == errStopped {
		r.interrupted++
		return
	}
	took := int64(min(max(done.Sub(due), 0), longestTime))
	if r.plan.Rate > 0 {
		r.late.RecordValue(int64(min(max(began.Sub(due), 0), longestTime)))
	}
	var f *failure
	var wrong *errWrong
	switch {
	case err == nil:
		r.latency.RecordValue(took)
		r.spans.add(began, done)
	case errors.As(err, &f):
		r.failures[f.kind]++
		r.hears(f.dialing && f.kind == Refused, done)
	case errors.As(err, &wrong) && wrong.status != 0:
		r.status[wrong.status]++
		r.refused.RecordValue(took)
	default:
		r.wrongBody++
	}
	if err != nil {
		r.bad++
		r.sample(err)
	}
	if f == nil {
		r.hears(false, done)
		r.last = done
	}
}

// hears looks whether anybody is there at all.
func (r *recorder) hears(refused bool, now time.Time) {
	switch {
	case !refused:
		r.deaf = time.Time{}
	case r.deaf.IsZero():
		r.deaf = now
	case now.Sub(r.deaf) > goneTime && !r.gone:
		r.gone = true
		go r.stop() // takes the lock; ends at once
	}
}

const maxSamples = 3

// sample keeps what the first few errors of different texts say.
func (r *recorder) sample(err error) {
	if len(r.samples) >= maxSamples {
		return
	}
	text := err.Error()
	for _, s := range r.samples {
		if s == text {
			return
		}
	}
	r.samples = append(r.samples, text)
}

// spans sums up how much of each answered request lies within the measured time. One that ends behind it counts in
// part: else a plan of few long requests would show a rate that is too high or too low by one per connection.
type spans struct {
	end    time.Time // zero: there is no such time
	within float64
}

func (s *spans) add(began, done time.Time) {
	if s.end.IsZero() || !done.After(s.end) {
		s.within++
		return
	}
	if whole := done.Sub(began); whole > 0 {
		s.within += max(0, float64(s.end.Sub(began))/float64(whole))
	}
}
