package gateway

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"warmcgi/internal/cgi"
)

// places are those that script processes take: max_processes of them. What autoscalers want to
// know is how many were taken on average, which no look now and then tells: so their time is
// summed up, whatever of it has passed.
type places struct {
	limit atomic.Int64 // max_processes
	now   func() time.Time

	mu    sync.Mutex
	taken int
	sum   time.Duration // until since
	since time.Time
}

func newPlaces(limit int64) *places {
	p := &places{now: time.Now, since: time.Now()}
	p.limit.Store(limit)
	return p
}

// changed counts a place that is taken (+1) or free again (-1).
func (p *places) changed(delta int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advanceLocked()
	p.taken += delta
}

// seconds is the time of all places together.
func (p *places) seconds() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advanceLocked()
	return p.sum.Seconds()
}

// advanceLocked adds the time that has passed. The caller must hold p.mu.
func (p *places) advanceLocked() {
	now := p.now()
	if d := now.Sub(p.since); d > 0 {
		p.sum += time.Duration(p.taken) * d
		p.since = now
	}
}

// timed is a backend each of whose requests has one of the places until it ends.
func (p *places) timed(next cgi.Backend) cgi.Backend { return timedBackend{p, next} }

type timedBackend struct {
	p    *places
	next cgi.Backend
}

func (b timedBackend) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	b.p.changed(+1)
	req.AtEnd(func(cgi.Exit) { b.p.changed(-1) })
	return b.next.RoundTrip(ctx, req)
}

var (
	placesLimit = prometheus.NewDesc("warmcgi_places",
		"Script processes that may run at once (max_processes).", nil, nil)
	placesTime = prometheus.NewDesc("warmcgi_place_seconds_total",
		"Time that places were taken by script processes, of all places together: rate(warmcgi_place_seconds_total[1m]) / warmcgi_places is the busy share.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (p *places) Describe(ch chan<- *prometheus.Desc) {
	ch <- placesLimit
	ch <- placesTime
}

// Collect implements [prometheus.Collector].
func (p *places) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(placesLimit, prometheus.GaugeValue, float64(p.limit.Load()))
	ch <- prometheus.MustNewConstMetric(placesTime, prometheus.CounterValue, p.seconds())
}

// processors are those that this program may use: of a container, those that it is given, which
// Go's scheduler knows (and has one more of, see serving.TuneRuntime).
func processors() int { return min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) }
