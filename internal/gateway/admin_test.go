package gateway

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (g *testGateway) admin(path string, fields ...string) *answer {
	g.t.Helper()
	r, err := newURLRequest("http://" + g.AdminAddr().String() + path)
	require.NoError(g.t, err)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	return doWith(g.t, g.http, r)
}

// metrics reads /metrics as a scraper does.
func (g *testGateway) scrape(accept string) map[string]*dto.MetricFamily {
	g.t.Helper()
	a := g.admin("/metrics", "Accept", accept)
	require.Equal(g.t, 200, a.StatusCode)
	d := expfmt.NewDecoder(strings.NewReader(a.body), expfmt.ResponseFormat(a.Header))
	families := map[string]*dto.MetricFamily{}
	for {
		var f dto.MetricFamily
		if d.Decode(&f) != nil {
			return families
		}
		families[f.GetName()] = &f
	}
}

func TestTheAdminDoorHasAPageAndWhatItAsksFor(t *testing.T) {
	g := newSite(t).serve(scripts)
	a := g.admin("/")
	assert.Equal(t, 200, a.StatusCode)
	assert.Contains(t, a.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'")
	assert.Equal(t, "http://"+g.AdminAddr().String()+"/", g.AdminURL())
	for _, path := range []string{"/dashboard.js", "/charts.js", "/dashboard.css", "/icon.svg", "/metrics", "/status", "/healthz", "/readyz", "/api/v1/about"} {
		assert.Equal(t, 200, g.admin(path).StatusCode, path)
	}
	assert.Equal(t, 404, g.admin("/none").StatusCode)
	assert.Equal(t, 404, g.admin("/debug/pprof/").StatusCode, "on request only")
	none := g.admin("/api/v1/none")
	assert.Equal(t, 404, none.StatusCode)
	assert.Contains(t, none.body, "docs/admin-api.md")
}

func TestTheMetricsOfRequestsAndProcesses(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.script("cgi-bin/fails", "exit 1")
	s.script("cgi-bin/hangs", hello, "touch up", "await go")
	s.write("html/a.txt", "x")
	g := s.serve(scripts + "  - {path: /, files: {root: html}}\n")
	for range 3 {
		g.get("/cgi-bin/p/info?x")
	}
	g.get("/cgi-bin/fails")
	g.get("/a.txt")
	g.get("/none")
	hanging := g.dial().send("GET /cgi-bin/hangs HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	g.logged(6)

	a := g.admin("/metrics")
	assert.Contains(t, a.Header.Get("Content-Type"), "text/plain")
	for _, line := range []string{
		`warmcgi_requests_total{mode="spawn",route="/cgi-bin/",script="/cgi-bin/p",status="200"} 3`,
		`warmcgi_requests_total{mode="spawn",route="/cgi-bin/",script="/cgi-bin/fails",status="502"} 1`,
		`warmcgi_requests_total{mode="files",route="/",script="",status="200"} 1`,
		`warmcgi_requests_total{mode="",route="/",script="",status="404"} 1`,
		`warmcgi_request_duration_seconds_count{mode="spawn",route="/cgi-bin/",script="/cgi-bin/p"} 3`,
		`warmcgi_request_duration_seconds_bucket{mode="spawn",route="/cgi-bin/",script="/cgi-bin/p",le="+Inf"} 3`,
		`warmcgi_request_errors_total{why="no_output"} 1`,
		`warmcgi_request_errors_total{why="not_found"} 1`,
		`warmcgi_process_exits_total{how="ok",route="/cgi-bin/"} 3`,
		`warmcgi_process_exits_total{how="status",route="/cgi-bin/"} 1`,
		`warmcgi_processes{route="/cgi-bin/",script="/cgi-bin/hangs"} 1`,
		`warmcgi_processes{route="/cgi-bin/",script="/cgi-bin/p"} 0`,
		`warmcgi_queue_wait_seconds_count{end="run",route="/cgi-bin/"} 5`,
		`warmcgi_truncated_total 0`,
	} {
		assert.Contains(t, a.body, "\n"+line+"\n")
	}
	for _, family := range []string{"warmcgi_process_cpu_seconds_total", "go_goroutines", "process_open_fds", "warmcgi_request_duration_seconds"} {
		assert.Contains(t, a.body, "# TYPE "+family+" ")
		assert.Contains(t, a.body, "# HELP "+family+" ")
	}
	assert.Greater(t, g.metric("warmcgi_process_cpu_seconds_total", "script=/cgi-bin/p"), 0.0)
	s.touch("cgi-bin/go")
	hanging.answer("GET")
	g.awaitMetric(0, "warmcgi_processes")
}

func TestDurationsAreNativeHistograms(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts)
	g.get("/cgi-bin/p")
	g.logged(1)
	families := g.scrape(string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	for _, name := range []string{"warmcgi_request_duration_seconds", "warmcgi_queue_wait_seconds"} {
		require.Contains(t, families, name)
		h := families[name].Metric[0].GetHistogram()
		assert.EqualValues(t, 1, h.GetSampleCount(), name)
		assert.NotNil(t, h.Schema, "%s: a native histogram", name)
		assert.NotZero(t, len(h.PositiveDelta)+int(h.GetZeroCount()), name)
		assert.NotEmpty(t, h.Bucket, "%s: and a classic one", name)
	}
	text := g.scrape(string(expfmt.NewFormat(expfmt.TypeTextPlain).WithEscapingScheme(model.NoEscaping)))
	assert.Contains(t, text, "warmcgi_request_duration_seconds")
}

// Clients choose URLs, so URLs must not become metrics.
func TestAClientCannotMakeMetricsOfItsOwn(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.write("html/a.txt", "x")
	g := s.serve(scripts + "  - {path: /prog, cgi: {program: cgi-bin/p}}\n  - {path: /, files: {root: html}}\n")
	ask := func(n int) {
		for _, path := range []string{"/cgi-bin/p", "/prog"} {
			g.get(path)
			g.get("/" + path + strings.Repeat("/x", n))
			g.get("/." + path + "?" + strings.Repeat("y", n))
		}
		g.get("/none" + strings.Repeat("z", n))
		g.get("/a.txt?" + strings.Repeat("z", n))
		g.get("/cgi-bin/none" + strings.Repeat("z", n))
		http1(t, g.raw("X"+strings.Repeat("Z", n)+" /cgi-bin/p HTTP/1.1\r\nHost: "+strings.Repeat("h", n)+"\r\nConnection: close\r\n\r\n"))
	}
	series := func() (n int) {
		families, err := g.Server.metrics.registry.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "warmcgi_") {
				n += len(f.Metric)
			}
		}
		return n
	}
	ask(1)
	g.logged(10)
	before := series()
	for n := 2; n < 5; n++ {
		ask(n)
	}
	g.logged(40)
	assert.Equal(t, before, series())
}

func TestHealthAndReadiness(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "touch up", "await go", helloWorld)
	g := s.serve(scripts + "    workers: {max: 1}\n    queue: {length: 0}\n")
	for _, path := range []string{"/healthz", "/readyz"} {
		a := g.admin(path)
		assert.Equal(t, 200, a.StatusCode, path)
		assert.Equal(t, "ok\n", a.body, path)
	}
	assert.Equal(t, 404, g.admin("/none").StatusCode)
	assert.Equal(t, 405, doWith(t, g.http, must(http.NewRequest("POST", "http://"+g.AdminAddr().String()+"/metrics", nil))).StatusCode)
	assert.Equal(t, 404, g.get("/metrics").StatusCode, "not at the doors")

	// A gateway whose scripts are all stuck is alive, and ready.
	stuck := g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	assert.Equal(t, 503, g.get("/cgi-bin/p").StatusCode)
	assert.Equal(t, 200, g.admin("/readyz").StatusCode)

	// One that is shutting down is alive, and not ready.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- g.Shutdown(ctx) }()
	eventually(t, func() bool { return g.admin("/readyz").StatusCode == 503 }, "not ready")
	assert.Equal(t, 200, g.admin("/healthz").StatusCode)
	assert.Equal(t, 200, g.admin("/metrics").StatusCode)
	s.touch("cgi-bin/go")
	assert.Equal(t, 200, stuck.answer("GET").StatusCode)
	assert.NoError(t, <-down)
	assert.NoError(t, <-g.served)
	g.stopped = true
}

func TestTheAdminDoorMayBeASocketOfTheOwnersAlone(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts + "admin: unix:admin.sock\n")
	info, err := os.Stat(s.path("admin.sock"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	c := g.dialAddr(g.AdminAddr()).send("GET /healthz HTTP/1.0\r\n\r\n")
	assert.Equal(t, "ok\n", c.answer("GET").body)
}
