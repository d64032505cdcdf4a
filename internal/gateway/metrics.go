package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/live"
)

// metrics are the gateway's own figures. Durations are native histograms, with
// classic buckets for scrapers that can't read those.
type metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	errors      *prometheus.CounterVec
	truncated   prometheus.Counter
	refused     *prometheus.CounterVec
	unheard     *prometheus.CounterVec
	waiting     *prometheus.GaugeVec
	waited      *prometheus.HistogramVec
	kills       *prometheus.CounterVec
	limits      *prometheus.CounterVec
	exits       *prometheus.CounterVec
	cpu         *prometheus.CounterVec
	running     *prometheus.GaugeVec
	leftOut     *prometheus.CounterVec
	retried     *prometheus.CounterVec
	rateLimited *prometheus.CounterVec
	spans       *prometheus.CounterVec
	compressed  *prometheus.CounterVec

	authorizations *prometheus.CounterVec
	acme           *prometheus.CounterVec
	tlsRefused     *prometheus.CounterVec
	ownerRefusals  *prometheus.CounterVec

	found sync.Map // metricKey -> *scriptMetrics
}

type metricKey struct{ route, script, mode string }

// scriptMetrics are those that every request of a script needs: to find them by their
// labels costs more than to count.
type scriptMetrics struct {
	duration prometheus.Observer
	ran      prometheus.Observer // time in the queue, of those that ran
	running  prometheus.Gauge
	cpu      prometheus.Counter
	exitedOK prometheus.Counter
	ok       prometheus.Counter // requests with status 200

	pulse  live.Pulse
	queued atomic.Int64 // requests that wait for a process
}

func (m *metrics) of(route, script, mode string) *scriptMetrics {
	key := metricKey{route, script, mode}
	if s, ok := m.found.Load(key); ok {
		return s.(*scriptMetrics)
	}
	s := &scriptMetrics{
		duration: m.durations.WithLabelValues(route, script, mode),
		ok:       m.requests.WithLabelValues(route, script, mode, "200"),
	}
	if mode == string(config.ModeSpawn) {
		s.ran = m.waited.WithLabelValues(route, "run")
		s.running = m.running.WithLabelValues(route, script)
		s.cpu = m.cpu.WithLabelValues(route, script)
		s.exitedOK = m.exits.WithLabelValues(route, "ok")
	}
	m.found.Store(key, s)
	return s
}

// ofScript is for what the backends report.
func (m *metrics) ofScript(req *cgi.Request) *scriptMetrics {
	return m.of(req.Route, req.Script.Name, string(config.ModeSpawn))
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_requests_total",
			Help: "Requests answered, by route, script, mode and HTTP status (499: the client had gone).",
		}, []string{"route", "script", "mode", "status"}),
		durations: prometheus.NewHistogramVec(histogram("warmcgi_request_duration_seconds",
			"Time from the head of a request to the end of its answer."), []string{"route", "script", "mode"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_request_errors_total",
			Help: "Requests that failed, by the kind of failure.",
		}, []string{"why"}),
		truncated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "warmcgi_truncated_total",
			Help: "Answers that broke off after their head; the client's connection was aborted.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_fastcgi_door_connections_refused_total",
			Help: "Connections to a FastCGI door from peers that were not let in, by why (address, tls).",
		}, []string{"door", "why"}),
		unheard: newUnheard(),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "warmcgi_queue_depth",
			Help: "Requests that wait for a process, by route and script.",
		}, []string{"route", "script"}),
		waited: prometheus.NewHistogramVec(histogram("warmcgi_queue_wait_seconds",
			"Time that requests waited for a process, by route and how it ended (run, full, timeout, gone)."), []string{"route", "end"}),
		kills: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_kills_total",
			Help: "Processes that the gateway ended, by route and reason.",
		}, []string{"route", "reason"}),
		limits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_limit_ends_total",
			Help: "Script processes that a limit of the route has ended, or not let start, by route and limit (cpu, file_size, script.memory, script.processes).",
		}, []string{"route", "limit"}),
		ownerRefusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_owner_refusals_total",
			Help: "Requests whose script was not run as its owner, by route and why (user, group, folder, writable, setuid, outside, file).",
		}, []string{"route", "why"}),
		exits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_process_exits_total",
			Help: "Script processes that have ended, by route and how (ok, status, signal).",
		}, []string{"route", "how"}),
		cpu: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_process_cpu_seconds_total",
			Help: "CPU time of ended script processes and of the children that they waited for.",
		}, []string{"route", "script"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "warmcgi_processes",
			Help: "Script processes that run now, by route and script.",
		}, []string{"route", "script"}),
		leftOut: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_fastcgi_left_out_total",
			Help: "Times that a FastCGI server was left out, by why (unreachable, failing, unhealthy).",
		}, []string{"route", "server", "why"}),
		retried: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_fastcgi_retries_total",
			Help: "Requests that were sent to another FastCGI server, or once more, by why (unreachable, lost, overloaded).",
		}, []string{"route", "why"}),
		rateLimited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_rate_limited_total",
			Help: "Requests that were refused because their client asks too often, by route.",
		}, []string{"route"}),
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_trace_spans_total",
			Help: "Spans to be exported that have ended (ended), that the collector has taken (exported), or not (failed). Those that are neither wait, or were too many.",
		}, []string{"outcome"}),
		compressed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_compression_octets_total",
			Help: "Octets of answers that were compressed, before (in) and after (out), by coding.",
		}, []string{"coding", "side"}),
		authorizations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_authorizations_total",
			Help: "Requests that a route's authorizer was asked about, by route and outcome (allowed, denied, failed, gone).",
		}, []string{"route", "outcome"}),
	}
	m.acme, m.tlsRefused = newACMEMetrics()
	m.registry.MustRegister(m.acme, m.tlsRefused, m.requests, m.durations, m.errors, m.truncated, m.refused, m.unheard, m.waiting, m.waited, m.kills, m.limits, m.ownerRefusals, m.exits, m.cpu, m.running,
		m.leftOut, m.retried, m.compressed, m.spans, m.rateLimited, m.authorizations, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help,
		Buckets:                         prometheus.ExponentialBuckets(0.001, 4, 9),
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// observe counts an exchange that has ended.
func (m *metrics) observe(x *exchange) {
	route := x.route.label()
	f := m.of(route, x.script, x.mode)
	took := time.Since(x.began)
	f.duration.Observe(took.Seconds())
	failed := x.failed()
	f.pulse.Add(took, failed)
	x.s.watch.ended(x, took, failed)
	if x.status == http.StatusOK {
		f.ok.Inc()
	} else {
		m.requests.WithLabelValues(route, x.script, x.mode, strconv.Itoa(x.status)).Inc()
	}
}

// ended counts a process that has ended.
func (m *metrics) ended(req *cgi.Request, e cgi.Exit) {
	if !e.Started {
		return
	}
	f := m.ofScript(req)
	f.cpu.Add((e.User + e.System).Seconds())
	switch {
	case e.Signal != "":
		m.exits.WithLabelValues(req.Route, "signal").Inc()
	case e.Code != 0:
		m.exits.WithLabelValues(req.Route, "status").Inc()
	default:
		f.exitedOK.Inc()
	}
	for _, limit := range e.Met {
		m.limits.WithLabelValues(req.Route, limit).Inc()
	}
	if e.Limit != "" {
		m.limits.WithLabelValues(req.Route, e.Limit).Inc()
	}
	if e.Killed != "" {
		m.kills.WithLabelValues(req.Route, e.Killed).Inc()
	}
}

// counted counts the processes of next.
func (m *metrics) counted(next cgi.Backend) cgi.Backend { return countedBackend{m, next} }

type countedBackend struct {
	m    *metrics
	next cgi.Backend
}

func (b countedBackend) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	g := b.m.ofScript(req).running
	g.Inc()
	req.AtEnd(func(cgi.Exit) { g.Dec() })
	return b.next.RoundTrip(ctx, req)
}

// waitingChanged and waitedFor are what the queue reports.
func (m *metrics) waitingChanged(req *cgi.Request, delta int) {
	m.waiting.WithLabelValues(req.Route, req.Script.Name).Add(float64(delta))
	m.ofScript(req).queued.Add(int64(delta))
}

func (m *metrics) waitedFor(req *cgi.Request, d time.Duration, err error) {
	if req.Waited != nil {
		req.Waited(d, err)
	}
	if err == nil {
		m.ofScript(req).ran.Observe(d.Seconds())
		return
	}
	end := "gone"
	switch {
	case errors.Is(err, cgi.ErrQueueFull):
		end = "full"
	case errors.Is(err, cgi.ErrQueueWait):
		end = "timeout"
	}
	m.waited.WithLabelValues(req.Route, end).Observe(d.Seconds())
}
