package live

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// classes of durations: each power of two of microseconds is cut into parts, so that a
// percentile is known to some 12 %. The last ends at 71 minutes.
const (
	parts   = 4
	classes = 32 * parts
)

// A Pulse counts requests, by how long they took.
type Pulse struct {
	counts [classes]atomic.Uint64
	failed atomic.Uint64
}

// Add counts one.
func (p *Pulse) Add(d time.Duration, failed bool) {
	p.counts[class(d)].Add(1)
	if failed {
		p.failed.Add(1)
	}
}

func class(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < parts {
		return int(us)
	}
	n := bits.Len64(us) // of 3 or more
	return min((n-2)*parts+int(us>>(n-3))%parts, classes-1)
}

// begin is the shortest duration of a class, in seconds.
func begin(c int) float64 {
	if c < parts {
		return float64(c) / 1e6
	}
	return float64(uint64(parts+c%parts)<<(c/parts-1)) / 1e6
}

// Counts are what a [Pulse] has counted up to a moment, or between two.
type Counts struct {
	counts [classes]uint64
	Total  uint64
	Failed uint64
}

// Read is what was counted up to now.
func (p *Pulse) Read() *Counts {
	c := &Counts{Failed: p.failed.Load()}
	for i := range p.counts {
		c.counts[i] = p.counts[i].Load()
		c.Total += c.counts[i]
	}
	return c
}

// Since is what was counted since an earlier moment; nil is the beginning.
func (c *Counts) Since(before *Counts) *Counts {
	if before == nil {
		return c
	}
	d := &Counts{Total: c.Total - before.Total, Failed: c.Failed - before.Failed}
	for i := range d.counts {
		d.counts[i] = c.counts[i] - before.counts[i]
	}
	return d
}

// Percentile is the duration, in seconds, that a share of the requests did not take longer
// than; false if there were none.
func (c *Counts) Percentile(share float64) (float64, bool) {
	if c.Total == 0 {
		return 0, false
	}
	left := share * float64(c.Total)
	last := 0
	for i, n := range c.counts {
		if n == 0 {
			continue
		}
		last = i
		if f := float64(n); left <= f {
			from := begin(i)
			return from + (begin(i+1)-from)*left/f, true
		} else {
			left -= f
		}
	}
	return begin(last + 1), true
}

// Join adds what another has counted.
func (c *Counts) Join(other *Counts) {
	c.Total += other.Total
	c.Failed += other.Failed
	for i, n := range other.counts {
		c.counts[i] += n
	}
}
