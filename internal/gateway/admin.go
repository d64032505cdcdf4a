package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"warmcgi/internal/cgi"
	"warmcgi/internal/pool"
)

// openAdmin is the door for those who run the gateway. It never asks a script for
// anything, so it answers also when every script is stuck.
func (s *Server) openAdmin(inherited map[string][]net.Listener) (*door, error) {
	l, err := listen(s.config.Admin, 0o600, inherited)
	if err != nil {
		return nil, fmt.Errorf("admin door %s: %w", s.config.Admin, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{Registry: s.metrics.registry}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		// A full queue is no reason to be taken out of service: then nobody would answer.
		if s.isStopping() {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.Status())
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s\n\n/metrics  for Prometheus\n/status   how scripts are run, as JSON; `gateway status` makes a table of it\n"+
			"/healthz  ok while the gateway lives\n/readyz   ok while it takes requests\n", cgi.Software)
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout, IdleTimeout: keepAlive}
	d := &door{kind: "http", listener: l, unix: l.Addr().Network() == "unix", run: srv.Serve, kill: srv.Close}
	d.stop = func(ctx context.Context) error { return srv.Shutdown(ctx) }
	return d, nil
}

// Status is what the admin door tells at /status.
type Status struct {
	Software string        `json:"software"`
	Scripts  []pool.Status `json:"scripts"`
}

// Status tells of every script that may be warm. It asks no script for anything.
func (s *Server) Status() Status {
	st := Status{Software: cgi.Software, Scripts: []pool.Status{}}
	if s.pools != nil {
		st.Scripts = append(st.Scripts, s.pools.Status()...)
	}
	return st
}
