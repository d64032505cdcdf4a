package admin

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the door tells of itself.
type metrics struct {
	actions   *prometheus.CounterVec
	refused   *prometheus.CounterVec
	listeners prometheus.Gauge

	mu   sync.Mutex
	told map[string]time.Time // when a refusal was last logged, by why
}

func newMetrics() *metrics {
	return &metrics{
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_admin_actions_total",
			Help: "Control actions at the admin door, by action and result (done, failed).",
		}, []string{"action", "result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_admin_refused_total",
			Help: "Requests that the admin door did not let in, by why (host, token, origin, header, listeners).",
		}, []string{"why"}),
		listeners: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "warmcgi_admin_listeners",
			Help: "Open streams of events at the admin door.",
		}),
		told: map[string]time.Time{},
	}
}

func (m *metrics) register(r *prometheus.Registry) { r.MustRegister(m.actions, m.refused, m.listeners) }

// logRefusal writes a line, of one kind at most once a second: the counter has them all.
func (d *Door) logRefusal(r *http.Request, no *refusal) {
	m := d.metrics
	m.mu.Lock()
	now := time.Now()
	quiet := now.Sub(m.told[no.why]) < time.Second
	if !quiet {
		m.told[no.why] = now
	}
	m.mu.Unlock()
	if !quiet {
		d.c.Log.Warn("admin door: not let in", "why", no.why, "by", who(r), "method", r.Method, "path", r.URL.Path, "host", r.Host)
	}
}
