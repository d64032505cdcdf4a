package gateway

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"warmcgi/internal/cgi"
)

// metrics are the gateway's own figures. Durations are native histograms, with
// classic buckets for scrapers that can't read those.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	errors    *prometheus.CounterVec
	truncated prometheus.Counter
	waiting   *prometheus.GaugeVec
	waited    *prometheus.HistogramVec
	kills     *prometheus.CounterVec
	exits     *prometheus.CounterVec
	cpu       *prometheus.CounterVec
	running   *prometheus.GaugeVec
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
	}
	m.registry.MustRegister(m.requests, m.durations, m.errors, m.truncated, m.waiting, m.waited, m.kills, m.exits, m.cpu, m.running,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
	m.requests.WithLabelValues(route, x.script, x.mode, strconv.Itoa(x.status)).Inc()
	m.durations.WithLabelValues(route, x.script, x.mode).Observe(time.Since(x.began).Seconds())
}

// ended counts a process that has ended.
func (m *metrics) ended(req *cgi.Request, e cgi.Exit) {
	if !e.Started {
		return
	}
	how := "ok"
	switch {
	case e.Signal != "":
		how = "signal"
	case e.Code != 0:
		how = "status"
	}
	m.exits.WithLabelValues(req.Route, how).Inc()
	m.cpu.WithLabelValues(req.Route, req.Script.Name).Add((e.User + e.System).Seconds())
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
	g := b.m.running.WithLabelValues(req.Route, req.Script.Name)
	g.Inc()
	req.AtEnd(func(cgi.Exit) { g.Dec() })
	return b.next.RoundTrip(ctx, req)
}

// waitingChanged and waitedFor are what the queue reports.
func (m *metrics) waitingChanged(req *cgi.Request, delta int) {
	m.waiting.WithLabelValues(req.Route, req.Script.Name).Add(float64(delta))
}

func (m *metrics) waitedFor(req *cgi.Request, d time.Duration, err error) {
	end := "run"
	switch {
	case errors.Is(err, cgi.ErrQueueFull):
		end = "full"
	case errors.Is(err, cgi.ErrQueueWait):
		end = "timeout"
	case err != nil:
		end = "gone"
	}
	m.waited.WithLabelValues(req.Route, end).Observe(d.Seconds())
}
