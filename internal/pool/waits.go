package pool

import "time"

// waitLimits are the upper ends of the classes that waits are counted in.
var waitLimits = [...]time.Duration{
	time.Millisecond, 4 * time.Millisecond, 16 * time.Millisecond, 64 * time.Millisecond,
	256 * time.Millisecond, time.Second, 4 * time.Second,
}

// Waits says how many requests waited how long for a worker.
type Waits struct {
	// UpTo is the upper end of the class, in nanoseconds; 0 is without end.
	UpTo     time.Duration `json:"up_to"`
	Requests int64         `json:"requests"`
}

// waited counts one that had to wait.
func (p *Pool) waited(d time.Duration) {
	p.metrics.wait.Observe(d.Seconds())
	class := 0
	for class < len(waitLimits) && d > waitLimits[class] {
		class++
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits[class]++
}

// waitsLocked is the histogram, without the classes that nobody was in. The caller must
// hold p.mu.
func (p *Pool) waitsLocked() []Waits {
	var all []Waits
	for class, n := range p.waits {
		if n == 0 {
			continue
		}
		w := Waits{Requests: n}
		if class < len(waitLimits) {
			w.UpTo = waitLimits[class]
		}
		all = append(all, w)
	}
	return all
}
