// Package admin is the admin door's HTTP: who may come in, the JSON API under /api/v1
// (docs/admin-api.md), its stream of events, and the dashboard (docs/dashboard.md). What
// there is to tell and to control it asks of a [Gateway].
//
// It guarantees that
//
//   - nobody controls the gateway who was not let in: by the token, by a certificate, or
//     by being on this machine; and no web page does it behind the back of somebody who was;
//   - whatever is refused or done is counted and logged, with who asked for it;
//   - nobody who listens slowly holds anything up.
package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"warmcgi/internal/live"
)

// A Gateway is what the door leads to. It never makes anybody wait for a script.
type Gateway interface {
	// Ready reports why it takes no requests, or "".
	Ready() (why string)
	// Status, Live and About are objects of the API: how scripts are run, what goes on this
	// second, and what does not change.
	Status() any
	Live() any
	About() any
	// Tick is called once a second; watched says whether anybody looks.
	Tick(now time.Time, watched bool)
	History() []live.Sample
	// Failures are the last ones, the newest first; FailureChanges counts up when there is
	// something new.
	Failures(script string, most int) []live.Failure
	FailureChanges() int64

	Control
}

// Config sets up a [Door].
type Config struct {
	Guard    Guard
	Pprof    bool
	Registry *prometheus.Registry
	Log      *slog.Logger
}

// A Door answers at the admin address.
type Door struct {
	g       Gateway
	c       Config
	metrics *metrics
	handler http.Handler
	hub     *hub

	mu     sync.Mutex
	closed bool
	stop   context.CancelFunc // nil: it has not begun
	loop   sync.WaitGroup
}

// New makes a door. Start it when the gateway is ready for it.
func New(g Gateway, c Config) *Door {
	d := &Door{g: g, c: c, metrics: newMetrics(), hub: newHub()}
	d.metrics.register(c.Registry)
	mux := http.NewServeMux()
	for _, e := range d.endpoints() {
		mux.Handle(e.pattern, e.handler)
	}
	d.handler = d.withHeaders(mux)
	return d
}

// Start begins to look at the gateway, once a second. Close the door then.
func (d *Door) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.loop.Go(func() { d.tick(ctx) }) // ends with Close
}

// Close ends that, and the streams of events.
func (d *Door) Close() {
	d.mu.Lock()
	d.closed = true
	if d.stop != nil {
		d.stop()
	}
	d.mu.Unlock()
	d.hub.close()
	d.loop.Wait()
}

// endpoint is one thing that the door answers.
type endpoint struct {
	pattern string
	handler http.Handler
}

func (d *Door) endpoints() []endpoint {
	all := []endpoint{
		// For whoever can reach the door: they say nothing.
		{"GET /healthz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })},
		{"GET /readyz", http.HandlerFunc(d.ready)},

		// The page holds nothing; what it shows it asks for.
		{"GET /{$}", d.local(page("index.html", "text/html; charset=utf-8"))},
		{"GET /dashboard.js", d.local(page("dashboard.js", "text/javascript; charset=utf-8"))},
		{"GET /charts.js", d.local(page("charts.js", "text/javascript; charset=utf-8"))},
		{"GET /dashboard.css", d.local(page("dashboard.css", "text/css; charset=utf-8"))},
		{"GET /icon.svg", d.local(page("icon.svg", "image/svg+xml"))},

		{"GET /metrics", d.reads(promhttp.HandlerFor(d.c.Registry, promhttp.HandlerOpts{Registry: d.c.Registry}).ServeHTTP)},
		{"GET /status", d.reads(d.status)}, // as it was before there was an API
		{"GET /api/v1/about", d.reads(func(w http.ResponseWriter, _ *http.Request) { answer(w, d.g.About()) })},
		{"GET /api/v1/status", d.reads(d.status)},
		{"GET /api/v1/live", d.reads(func(w http.ResponseWriter, _ *http.Request) { answer(w, d.g.Live()) })},
		{"GET /api/v1/history", d.reads(func(w http.ResponseWriter, _ *http.Request) { answer(w, d.history()) })},
		{"GET /api/v1/failures", d.reads(d.failures)},
		{"GET /api/v1/events", d.reads(d.events)},
		{"GET /api/v1/openapi.json", d.reads(page("openapi.json", "application/json"))},

		{"POST /api/v1/reload", d.controls("reload", d.reload)},
		{"POST /api/v1/upgrade", d.controls("upgrade", d.upgrade)},
		{"PUT /api/v1/drain", d.controls("drain", d.drain)},
		{"PUT /api/v1/log-level", d.controls("log_level", d.logLevel)},
		{"POST /api/v1/scripts/restart", d.controls("restart", d.restart)},
		{"PUT /api/v1/scripts/workers", d.controls("workers", d.workers)},
		{"PUT /api/v1/scripts/mode", d.controls("mode", d.mode)},
		{"/api/", d.reads(func(w http.ResponseWriter, r *http.Request) {
			refuse(w, http.StatusNotFound, "there is no "+r.Method+" "+r.URL.Path+" here; see docs/admin-api.md")
		})},
	}
	if d.c.Pprof {
		all = append(all,
			endpoint{"/debug/pprof/", d.reads(pprof.Index)},
			endpoint{"/debug/pprof/cmdline", d.reads(pprof.Cmdline)},
			endpoint{"/debug/pprof/profile", d.reads(pprof.Profile)},
			endpoint{"/debug/pprof/symbol", d.reads(pprof.Symbol)},
			endpoint{"/debug/pprof/trace", d.reads(pprof.Trace)})
	}
	return all
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.handler.ServeHTTP(w, r) }

// withHeaders has a browser load and show nothing but what is the door's own.
func (d *Door) withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// ready: a full queue is no reason to be taken out of service. Then nobody would answer.
func (d *Door) ready(w http.ResponseWriter, _ *http.Request) {
	if why := d.g.Ready(); why != "" {
		text(w, http.StatusServiceUnavailable, why)
		return
	}
	text(w, http.StatusOK, "ok")
}

func (d *Door) status(w http.ResponseWriter, _ *http.Request) { answer(w, d.g.Status()) }
