package pool

import (
	"math"
	"time"
)

// rate is how often something happens, in the mean of the last seconds.
type rate struct {
	perSecond float64
	last      time.Time
}

// rateMemory is the time constant of the mean.
const rateMemory = 2 * time.Second

// hit counts one.
func (r *rate) hit(now time.Time) {
	r.decay(now)
	r.perSecond += 1 / rateMemory.Seconds()
}

// at is the rate now.
func (r *rate) at(now time.Time) float64 {
	r.decay(now)
	return r.perSecond
}

func (r *rate) decay(now time.Time) {
	if d := now.Sub(r.last); d > 0 {
		r.perSecond *= math.Exp(-d.Seconds() / rateMemory.Seconds())
		r.last = now
	}
}

// mean is a duration's moving mean.
type mean struct{ d time.Duration }

func (m *mean) add(d time.Duration) {
	if m.d == 0 {
		m.d = d
		return
	}
	m.d += (d - m.d) / 16
}
