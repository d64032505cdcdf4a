package load

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what came of a run.
type Result struct {
	Plan Plan
	// Elapsed is from the first request to the end of the plan's duration, or to the last answer of a plan of so many.
	Elapsed time.Duration
	// Right is how many answers were right. Within counts those that ended behind Elapsed for the part before it.
	Right  int64
	Within float64
	// Failures are requests without a whole answer; Status and WrongBody are answers that were not the right ones.
	Failures  map[Kind]int64
	Status    map[int]int64
	WrongBody int64
	// Samples are the texts of some of them.
	Samples []string
	// Unsent were due and never sent, as all connections were busy (open loop). Blocked were sent late for the same reason.
	Unsent, Blocked int64
	// Interrupted were under way when the run was ended from outside.
	Interrupted int64
	// Gone: nobody accepted connections any more, so the run ended early.
	Gone bool
	// Latency is of the right answers, Refused of those with a wrong status, Late from when requests were due to when
	// they were sent (open loop); all in nanoseconds.
	Latency, Refused, Late *hdrhistogram.Histogram
	// Octets is the size of all bodies that came.
	Octets int64
	// Opened is how many connections were made. Again is how many requests were asked again because the server had closed
	// a kept connection.
	Opened, Again int64
	// CPU is the processor time of the generator's process, in seconds.
	CPU float64
}

func (r *recorder) result() *Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.stopped
	if r.plan.Duration <= 0 && r.last.After(r.began) {
		end = r.last
	}
	x := &Result{
		Plan: r.plan, Elapsed: end.Sub(r.began), Right: r.latency.TotalCount(), Within: r.spans.within,
		Failures: r.failures, Status: r.status, WrongBody: r.wrongBody, Samples: r.samples,
		Unsent: r.unsent, Blocked: r.blocked.Load(), Interrupted: r.interrupted, Gone: r.gone,
		Latency: r.latency, Refused: r.refused, Late: r.late, Octets: r.octets.Load(),
		Opened: r.g.counts.opened.Load() - r.opened, Again: r.g.counts.again.Load() - r.again, CPU: ownCPU() - r.cpu,
	}
	return x
}

// Rate is right answers per second.
func (r *Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return r.Within / r.Elapsed.Seconds()
}

// Failed is how many requests had no whole answer.
func (r *Result) Failed() (n int64) {
	for _, k := range r.Failures {
		n += k
	}
	return n
}

// Wrong is how many answers were not right.
func (r *Result) Wrong() int64 {
	n := r.WrongBody
	for _, k := range r.Status {
		n += k
	}
	return n
}

// Bad is all that makes a result one to look at twice.
func (r *Result) Bad() int64 { return r.Failed() + r.Wrong() + r.Unsent }

// Point is one of a distribution: so much of all answers (0 to 1) took at most so long.
type Point struct {
	Quantile float64
	Time     time.Duration
}

// Curve is a distribution with as much detail towards its slow end as there are answers for: a point for each equal step
// of the logarithm of 1/(1-q), and the maximum at the quantile of the last answer.
func Curve(h *hdrhistogram.Histogram) []Point {
	n := h.TotalCount()
	if n == 0 {
		return nil
	}
	const steps = 16 // per factor of ten
	var points []Point
	for i := 0; ; i++ {
		q := 1 - math.Pow(10, -float64(i)/steps)
		if float64(n)*(1-q) < 1 {
			break
		}
		points = append(points, Point{q, time.Duration(h.ValueAtQuantile(100 * q))})
	}
	return append(points, Point{1 - 1/float64(n)/2, time.Duration(h.Max())})
}
