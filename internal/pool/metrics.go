package pool

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the pools tell of themselves. What changes with every look, like the
// number of workers, is collected when somebody asks.
type metrics struct {
	set       *Set
	fork      *prometheus.HistogramVec
	leave     *prometheus.HistogramVec
	wait      *prometheus.HistogramVec
	demotions *prometheus.CounterVec
	retries   *prometheus.CounterVec
	workers   *prometheus.Desc
	memory    *prometheus.Desc
	state     *prometheus.Desc
	answers   *prometheus.Desc
	forks     *prometheus.Desc
	waiting   *prometheus.Desc
	perScript sync.Map // script -> *scriptMetrics
}

// scriptMetrics are those that each request needs.
type scriptMetrics struct{ fork, leave, wait prometheus.Observer }

func newMetrics(s *Set) *metrics {
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help,
			Buckets:                         prometheus.ExponentialBuckets(0.00025, 4, 9),
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"script"})
	}
	return &metrics{
		set:   s,
		fork:  histogram("warmcgi_worker_fork_seconds", "Time from the order to fork a worker until it waits for a request."),
		leave: histogram("warmcgi_worker_leave_seconds", "Time from the end of a worker's answer to its exit."),
		wait:  histogram("warmcgi_worker_wait_seconds", "Time that requests waited because no worker was idle."),
		demotions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_demotions_total",
			Help: "Times that a script lost its mode, by the mode and the reason (unsafe, broken, captured, trouble; ended: for as long as it was loaded anew).",
		}, []string{"script", "mode", "reason"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warmcgi_worker_retries_total",
			Help: "Requests given to a second worker because the first died before it answered.",
		}, []string{"script"}),
		workers: prometheus.NewDesc("warmcgi_workers", "Workers, by script and state.", []string{"script", "state"}, nil),
		memory:  prometheus.NewDesc("warmcgi_parent_memory_bytes", "Memory (PSS) of a script's warm parent.", []string{"script"}, nil),
		state:   prometheus.NewDesc("warmcgi_script_state", "1 for the state that a script is in (cold, loading, ready, unsafe, broken, no runner) and the mode in which it is answered.", []string{"script", "state", "mode"}, nil),
		answers: prometheus.NewDesc("warmcgi_script_answers_total", "Requests answered, by script and mode.", []string{"script", "mode"}, nil),
		forks:   prometheus.NewDesc("warmcgi_worker_forks_total", "Workers forked.", []string{"script"}, nil),
		waiting: prometheus.NewDesc("warmcgi_worker_queue_depth", "Requests that wait for a worker.", []string{"script"}, nil),
	}
}

func (m *metrics) register(r prometheus.Registerer) {
	r.MustRegister(m.fork, m.leave, m.wait, m.demotions, m.retries, m)
}

func (m *metrics) of(script string) *scriptMetrics {
	if s, ok := m.perScript.Load(script); ok {
		return s.(*scriptMetrics)
	}
	s, _ := m.perScript.LoadOrStore(script, &scriptMetrics{
		fork: m.fork.WithLabelValues(script), leave: m.leave.WithLabelValues(script), wait: m.wait.WithLabelValues(script),
	})
	return s.(*scriptMetrics)
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.workers, m.memory, m.state, m.answers, m.forks, m.waiting} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector]. A script in two routes is counted as one.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	seen := map[string]bool{}
	for _, s := range merge(m.set.counted()) {
		if seen[s.Script] {
			continue
		}
		seen[s.Script] = true
		gauge(m.workers, float64(s.Idle), s.Script, "idle")
		gauge(m.workers, float64(s.Busy), s.Script, "busy")
		gauge(m.workers, float64(s.Starting), s.Script, "starting")
		gauge(m.memory, float64(s.ParentMemory), s.Script)
		if s.State != Gone {
			gauge(m.state, 1, s.Script, string(s.State), string(s.Mode))
		}
		gauge(m.waiting, float64(s.Waiting), s.Script)
		counter(m.forks, float64(s.Forks), s.Script)
		for mode, n := range s.Answers {
			counter(m.answers, float64(n), s.Script, string(mode))
		}
	}
}
