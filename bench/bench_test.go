package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
	"warmcgi/internal/proctree"
)

// TestMain lets the benchmark start the test binary as its net/http/cgi server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == nethttpRole {
		if serveNetHTTP(os.Args[2:]) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// load measures a handler for a moment.
func load(t *testing.T, h http.HandlerFunc) *client {
	srv := httptest.NewServer(h)
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var c client
	c.run(ctx, &server{addr: srv.Listener.Addr().String()}, &workload{file: "x", body: hello})
	return &c
}

func TestRightAnswersAreCountedHoweverTheyAreFramed(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"Content-Length": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, hello) },
		"chunked": func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, hello)
		},
		"closed behind": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			io.WriteString(w, hello)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, h)
			assert.NotEmpty(t, c.times)
			assert.Zero(t, c.wrong)
		})
	}
}

func TestWrongAnswersAreCountedAsWrong(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"other body":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "Hello, wurld\n") },
		"longer body": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, hello+hello) },
		"status":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); io.WriteString(w, hello) },
		"broken off":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, h)
			assert.Empty(t, c.times)
			assert.NotZero(t, c.wrong)
		})
	}
}

func TestAnswersAreReadAsTheyAreFramed(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct {
		answer string
		keep   bool
		err    string
	}{
		"length":             {ok + "content-length: 13\r\n\r\n" + hello, true, ""},
		"length, close":      {ok + "Connection: close\r\nContent-Length: 13\r\n\r\n" + hello, false, ""},
		"two chunks":         {ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n8;x=y\r\n, world\n\r\n0\r\nT: v\r\n\r\n", true, ""},
		"to the end":         {ok + "\r\n" + hello, false, ""},
		"interim":            {"HTTP/1.1 102 Processing\r\n\r\n" + ok + "Content-Length: 13\r\n\r\n" + hello, true, ""},
		"HTTP/1.0":           {"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\n" + hello, false, ""},
		"HTTP/1.0 kept":      {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 13\r\n\r\n" + hello, true, ""},
		"shorter":            {ok + "Content-Length: 5\r\n\r\nHello", false, "right body: false"},
		"broken off":         {ok + "Content-Length: 13\r\n\r\nHello", false, "broken off"},
		"broken off, no end": {ok + "\r\nHello", false, "broken off"},
		"longer, no end":     {ok + "\r\n" + hello + "!", false, "right body: false"},
		"last chunk missing": {ok + "Transfer-Encoding: chunked\r\n\r\nd\r\n" + hello + "\r\n", false, "broken off"},
		"chunk too many":     {ok + "Transfer-Encoding: chunked\r\n\r\nd\r\n" + hello + "\r\n1\r\n!\r\n", false, "right body: false"},
		"too few chunks":     {ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n\r\n", false, "right body: false"},
		"no HTTP":            {"220 mail.example ESMTP\r\n\r\n", false, "not an HTTP/1 answer"},
	} {
		t.Run(name, func(t *testing.T) {
			keep, err := readAnswer(bufio.NewReader(strings.NewReader(c.answer)), whole(hello))
			assert.Equal(t, c.keep, keep)
			if c.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.err)
			}
		})
	}
}

func TestTheTreeOfAProcessHoldsItsChildren(t *testing.T) {
	c := exec.Command("sh", "-c", "sleep 20 & sleep 20 & wait")
	ownGroup(c)
	require.NoError(t, c.Start())
	s := &server{procs: []*exec.Cmd{c}, output: &output{}}
	defer s.stop()
	require.Eventually(t, func() bool { return len(proctree.List(c.Process.Pid)) == 3 }, 5*time.Second, 10*time.Millisecond)
	u, err := s.usage()
	require.NoError(t, err)
	assert.Positive(t, u.memory)
}

func TestWhatAServerLeavesBehindEndsWithItsGroup(t *testing.T) {
	g := proctree.NewCgroup("test")
	if g == nil {
		t.Skip("no cgroup to be had: this needs root and version 2 groups")
	}
	if _, err := os.Stat(g.Dir() + "/cgroup.kill"); err != nil {
		g.Remove()
		t.Skip("the kernel is older than 5.14")
	}
	s := &server{output: &output{}, group: g}
	require.NoError(t, s.start("setsid", "-f", "sleep", "20"))
	procs := func() string { b, _ := os.ReadFile(g.Dir() + "/cgroup.procs"); return string(b) }
	require.Eventually(t, func() bool { return procs() != "" }, 5*time.Second, 10*time.Millisecond)
	s.stop()
	assert.NoDirExists(t, g.Dir())
}

func TestMediansAndRatios(t *testing.T) {
	assert.Equal(t, 2.0, median([]float64{3, 1, 2}))
	assert.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
	assert.Zero(t, median(nil))
	assert.Equal(t, []float64{2, 0.5}, ratios([]float64{4, 1}, []float64{2, 2}))
}

func TestAServerThatIsNotThereIsNamedOrRefused(t *testing.T) {
	_, err := find("no-such-server", "no-such-package")
	assert.EqualError(t, err, "no-such-server is not installed (apt-get install no-such-package)")
}

func TestOptionsThatCannotBeMetAreRefused(t *testing.T) {
	good := options{Rounds: 1, Seconds: 1, Connections: 1, Servers: []string{"warmcgi"}}
	assert.NoError(t, good.Validate())
	for _, change := range []func(*options){
		func(o *options) { o.Rounds = 0 },
		func(o *options) { o.Seconds = -1 },
		func(o *options) { o.Connections = 1 << 20 },
		func(o *options) { o.Servers = []string{"none"} },
		func(o *options) { o.Require = []string{"lighttpd"} },
		func(o *options) { o.Workloads = []string{"none"} },
	} {
		o := good
		change(&o)
		assert.Error(t, o.Validate())
	}
}

// figures is a result of one round of a second.
func figures(server, workload string, requests int, cpu float64, median time.Duration) *result {
	k, err := kindOf(server)
	if err != nil {
		panic(err)
	}
	r := &round{Requests: requests, Within: float64(requests), Seconds: 1, CPU: cpu, Load: 0.001, P50: median}
	if k.mode != "" {
		r.Inside = &inside{Own: cpu / 4, Fork: spread{10, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond}}
	}
	return &result{Server: server, Workload: workload, Counted: byCgroup, kind: k, Rounds: []*round{r}}
}

func TestEachOfOurModesIsComparedWithEachPeer(t *testing.T) {
	results := []*result{
		figures("warmcgi", "perl-form", 200, 0.2, 0), figures("warmcgi-reuse", "perl-form", 1600, 0.16, 0),
		figures("nethttp", "perl-form", 160, 0.32, 0), figures("lighttpd", "perl-form", 100, 0.08, 0), {Server: "puma", Missing: "not installed"},
	}
	var out strings.Builder
	printReport(&out, options{}, &workload{name: "c"}, results)
	assert.Regexp(t, `nethttp +x 1\.250 +x 0\.500 +x 10\.000 +x 0\.050`, out.String())
	assert.Contains(t, out.String(), "best peer that spawns, by requests/s: nethttp; by CPU per request: lighttpd")
	assert.Regexp(t, `warmcgi-reuse +25 +75 +1ms +2ms `, out.String())
	assert.NotContains(t, out.String(), "puma")
}

func TestEachGoalIsNamedWithWhatWasMeasured(t *testing.T) {
	results := []*result{
		figures("warmcgi-warm", "perl-form", 2000, 1, 5*time.Millisecond), figures("warmcgi-reuse", "perl-form", 5000, 1, 1*time.Millisecond),
		figures("nethttp", "perl-form", 100, 1, 0), figures("lighttpd", "perl-form", 90, 1, 0), figures("mod_perl", "perl-form", 10000, 1, 0),
		figures("warmcgi", "c", 1000, 1, 0), figures("nethttp", "c", 1000, 1, 0), figures("lighttpd", "c", 900, 0.45, 0),
		figures("warmcgi-warm", "perl-form-1", 200, 1, 5*time.Millisecond), figures("warmcgi-reuse", "perl-form-1", 500, 1, 4*time.Millisecond),
		{Server: "warmcgi-warm", Workload: "ruby-form", Failed: "it does not answer"},
	}
	results[1].Rounds[0].Memory, results[4].Rounds[0].Memory = 30<<20, 40<<20
	var out strings.Builder
	printGoals(&out, options{Workloads: []string{"c", "perl-form", "ruby-form", "perl-form-1"}}, results)
	for _, want := range []string{
		"warmcgi-warm perl-form: 20.00 times the requests/s of nethttp, at 0.050 of its CPU (goal: at least 20): met\n",
		"warmcgi-reuse perl-form: 0.50 times the requests/s of mod_perl, at 2.000 of its CPU (goal: at least 1): MISSED\n",
		"warmcgi-reuse perl-form: 0.75 times the memory (PSS) of mod_perl (goal: less than 1): met\n",
		"warmcgi-warm ruby-form: not measured\n",
		"warmcgi c: 1.00 times the requests/s of nethttp, at 1.000 of its CPU (goal: at least 1.1): MISSED\n",
		"warmcgi c: 2.00 times the CPU per request of lighttpd (goal: at most 0.95): MISSED\n",
		"warmcgi-warm perl-form-1: 1.25 times the p50 of warmcgi-reuse, 5ms to 4ms (goal: at most 1.5): met\n",
	} {
		assert.Contains(t, out.String(), want)
	}
	assert.NotContains(t, out.String(), "python")
	out.Reset()
	printGoals(&out, options{Workloads: []string{"sh"}}, results)
	assert.Empty(t, out.String())
}

func TestEachGoalIsOfAWorkloadAndServersThatThereAre(t *testing.T) {
	for _, g := range goals {
		w := workloadOf(g.workload)
		require.NotNil(t, w, g.workload)
		for _, name := range append([]string{g.server}, g.peers...) {
			k, err := kindOf(name)
			require.NoError(t, err)
			assert.True(t, k.serves(w), "%s %s", name, g.workload)
		}
	}
}

func TestAHistogramIsReadForTheMeasuredTimeAlone(t *testing.T) {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", NativeHistogramBucketFactor: 1.1})
	read := func() *dto.Histogram {
		var m dto.Metric
		require.NoError(t, h.Write(&m))
		return m.Histogram
	}
	for range 50 {
		h.Observe(3)
	}
	before := read()
	for range 90 {
		h.Observe(0.001)
	}
	for range 10 {
		h.Observe(0.02)
	}
	s := spreadSince(before, read())
	assert.Equal(t, 100, s.Count)
	assert.InDelta(t, 2.9, s.Mean.Seconds()*1000, 0.001)
	assert.InEpsilon(t, 0.02, s.P95.Seconds(), 0.1)
	assert.InEpsilon(t, 0.02, s.Most.Seconds(), 0.1)
	whole := spreadSince(nil, read())
	assert.Equal(t, 150, whole.Count)
	assert.InEpsilon(t, 3, whole.P95.Seconds(), 0.1)
	assert.Zero(t, spreadSince(before, before))
	assert.Zero(t, spreadSince(nil, nil))
}

func TestBucketsOfAnotherResolutionAreMadeWider(t *testing.T) {
	fine := octaves(&dto.Histogram{
		Schema:       new(int32(3)),
		PositiveSpan: []*dto.BucketSpan{{Offset: new(int32(-3)), Length: new(uint32(2))}, {Offset: new(int32(1)), Length: new(uint32(3))}},
		// -3: 1, -2: 3, 0: 2, 1: 4, 2: 1
		PositiveDelta: []int64{1, 2, -1, 2, -3},
	}, 2)
	assert.Equal(t, map[int32]int64{-1: 4, 0: 2, 1: 5}, fine)
}

func TestAnswersInAnotherModeFailTheRun(t *testing.T) {
	pages := map[string]string{"/status": `{"scripts": [{"script": "/cgi-bin/x", "mode": "spawn", "state": "broken", "why": "it crashes"}]}`}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, pages[r.URL.Path]) }))
	defer srv.Close()
	c := exec.Command("sleep", "20")
	ownGroup(c)
	require.NoError(t, c.Start())
	s := &server{procs: []*exec.Cmd{c}, output: &output{}, gateway: &admin{addr: srv.Listener.Addr().String(), mode: cgi.ModeWarm, script: "/cgi-bin/x"}}
	defer s.stop()
	answers := func(warm, spawn int) {
		pages["/metrics"] = fmt.Sprintf(`# TYPE warmcgi_requests_total counter
warmcgi_requests_total{script="/cgi-bin/x",mode="warm",status="200"} %d
warmcgi_requests_total{script="/cgi-bin/x",mode="spawn",status="200"} %d
warmcgi_requests_total{script="/cgi-bin/y",mode="spawn",status="200"} %d
`, warm, spawn, warm)
	}
	answers(100, 7)
	before, err := s.look()
	require.NoError(t, err)
	answers(150, 7)
	_, err = s.since(before, 40)
	assert.NoError(t, err)
	_, err = s.since(before, 60)
	assert.ErrorContains(t, err, "only 50 answers came in mode warm")
	answers(200, 9)
	_, err = s.since(before, 40)
	assert.ErrorContains(t, err, "2 answers came in mode spawn and not warm; it is broken: it crashes")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	assert.ErrorContains(t, s.gateway.await(ctx), "the script is in mode spawn and not warm: broken, it crashes")
}

func TestARunMeasuresTheGatewayBesideItsPeers(t *testing.T) {
	var out strings.Builder
	file := t.TempDir() + "/figures.json"
	err := run(t.Context(), options{
		Rounds: 1, Seconds: 0.3, Connections: 2, Workloads: []string{"sh"},
		Servers: []string{"warmcgi", "nethttp", "lighttpd"}, JSON: file,
	}, &out)
	require.NoError(t, err)
	for _, want := range []string{"warmcgi", "nethttp", "best peer that spawns, by requests/s", "CPU is counted by"} {
		assert.Contains(t, out.String(), want)
	}
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(b), `"Requests": 0,`)
	assert.Contains(t, string(b), `"Wrong": 0,`)
}

// assertMeasured measures servers for a moment: each has answered, and no answer was wrong. It
// returns the report.
func assertMeasured(t *testing.T, workload string, servers []string) string {
	t.Helper()
	var out strings.Builder
	o := options{
		Rounds: 1, Seconds: 0.3, Connections: 2, Workloads: []string{workload}, Servers: servers, Require: servers,
		JSON: t.TempDir() + "/figures.json",
	}
	require.NoError(t, run(t.Context(), o, &out))
	b, err := os.ReadFile(o.JSON)
	require.NoError(t, err)
	assert.Equal(t, len(servers), strings.Count(string(b), `"Wrong": 0,`), "%s", out.String())
	assert.NotContains(t, string(b), `"Requests": 0,`)
	return out.String()
}

func TestEveryModeAndEveryResidentPeerGivesTheRightAnswers(t *testing.T) {
	for _, workload := range []string{"perl-form", "perl-heavy", "python-form", "python-heavy", "ruby-form", "ruby-heavy", "post-64k"} {
		t.Run(workload, func(t *testing.T) {
			servers := append([]string{"warmcgi", "warmcgi-warm", "warmcgi-reuse"}, workloadOf(workload).residents...)
			assert.Regexp(t, `warmcgi-reuse +\d+ +\d+ `, assertMeasured(t, workload, servers))
		})
	}
}

func TestEveryPeerThatSpawnsGivesTheRightAnswers(t *testing.T) {
	for _, workload := range []string{"c", "post-64k", "down-100mib", "up-100mib"} {
		t.Run(workload, func(t *testing.T) {
			assertMeasured(t, workload, append([]string{"warmcgi"}, spawning...))
		})
	}
}

func TestAServerThatFailsIsLeftOutAndNamed(t *testing.T) {
	broken := append(slices.Clone(kinds), kind{name: "broken", spawns: true, start: func(context.Context, task) (*server, error) {
		s, err := newServer("broken")
		if err != nil {
			return nil, err
		}
		return s, errors.New("out of order")
	}})
	defer func(before []kind) { kinds = before }(kinds)
	kinds = broken
	var out strings.Builder
	o := options{Rounds: 1, Seconds: 0.2, Connections: 1, Workloads: []string{"sh"}, Servers: []string{"nethttp", "broken"}}
	assert.EqualError(t, run(t.Context(), o, &out), "workload sh: broken: out of order")
	assert.Regexp(t, `nethttp +\d+ `, out.String())
	assert.Contains(t, out.String(), "broken: out of order\n")
}

func TestAWorkloadIsOnlyAskedOfServersThatCanServeIt(t *testing.T) {
	var names []string
	for _, k := range kinds {
		if k.serves(&workload{name: "sh"}) {
			names = append(names, k.name)
		}
	}
	assert.Equal(t, append([]string{"warmcgi"}, spawning...), names)
	of := func(c class) (names []string) {
		for _, k := range kinds {
			if k.serves(&workload{name: "x", class: c}) {
				names = append(names, k.name)
			}
		}
		return names
	}
	assert.Equal(t, []string{"warmcgi-php", "warmcgi-php-max", "nginx-fpm", "nginx-fpm-keepalive", "caddy", "apache-fpm"}, of(classPHP))
	assert.Equal(t, []string{"door-http", "door-fastcgi", "door-http-nginx", "door-fastcgi-nginx"}, of(classDoor))
	for _, k := range kinds {
		if k.asked {
			assert.True(t, k.serves(&workload{name: "ruby-form", warm: true}), k.name)
			assert.NotContains(t, usualServers(), k.name)
			continue
		}
		assert.Equal(t, k.name == "warmcgi-warm" || k.name == "warmcgi-reuse" || k.name == "puma" || slices.Contains(names, k.name),
			k.serves(&workload{name: "ruby-form", warm: true, residents: []string{"puma"}}), k.name)
	}
}
