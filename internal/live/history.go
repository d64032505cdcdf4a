package live

import (
	"slices"
	"time"
)

// A Sample is one second of a gateway.
type Sample struct {
	At     int64   `json:"t"`      // Unix time, in milliseconds
	Rate   float64 `json:"rate"`   // requests that have ended, per second
	Errors float64 `json:"errors"` // of those, per second: 5xx, or broken off
	// P50, P95 and P99 are percentiles of the time that requests took, in seconds, over the
	// last ten of them; null where there was none.
	P50     *float64 `json:"p50"`
	P95     *float64 `json:"p95"`
	P99     *float64 `json:"p99"`
	Queue   int      `json:"queue"`   // requests that wait
	Running int      `json:"running"` // requests under way
}

const (
	// keep is how many samples are kept.
	keep = 300
	// window is how many of them percentiles are taken over.
	window = 10
)

// History are the samples of the last minutes. It is not safe for concurrent use.
type History struct {
	samples []Sample
	before  []*Counts // at the last samples, the oldest first
	at      time.Time
}

// Take makes the next sample.
func (h *History) Take(now time.Time, c *Counts, queue, running int) Sample {
	s := Sample{At: now.UnixMilli(), Queue: queue, Running: running}
	if len(h.before) > 0 {
		last := c.Since(h.before[len(h.before)-1])
		if d := now.Sub(h.at).Seconds(); d > 0 {
			s.Rate, s.Errors = float64(last.Total)/d, float64(last.Failed)/d
		}
		w := c.Since(h.before[0])
		s.P50, s.P95, s.P99 = w.percentile(0.5), w.percentile(0.95), w.percentile(0.99)
	}
	h.at = now
	if h.before = append(h.before, c); len(h.before) > window {
		h.before = slices.Delete(h.before, 0, 1)
	}
	if h.samples = append(h.samples, s); len(h.samples) > keep {
		h.samples = slices.Delete(h.samples, 0, 1)
	}
	return s
}

func (c *Counts) percentile(share float64) *float64 {
	p, ok := c.Percentile(share)
	if !ok {
		return nil
	}
	return &p
}

// Samples are the last minutes, the oldest first.
func (h *History) Samples() []Sample { return append([]Sample{}, h.samples...) }
