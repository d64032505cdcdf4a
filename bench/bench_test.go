package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	c.run(ctx, srv.Listener.Addr().String(), &workload{file: "x", body: hello})
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
			keep, err := readAnswer(bufio.NewReader(strings.NewReader(c.answer)), hello)
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
	require.Eventually(t, func() bool { return len(tree(c.Process.Pid)) == 3 }, 5*time.Second, 10*time.Millisecond)
	u, err := s.usage()
	require.NoError(t, err)
	assert.Positive(t, u.memory)
}

func TestCPUOfChildrenThatWereWaitedForCounts(t *testing.T) {
	before, err := cpuTicks(os.Getpid())
	require.NoError(t, err)
	require.NoError(t, exec.Command("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").Run())
	after, err := cpuTicks(os.Getpid())
	require.NoError(t, err)
	assert.Greater(t, after, before)
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
	err = run(t.Context(), options{Workloads: []string{"sh"}, Servers: []string{"none"}}, io.Discard)
	assert.ErrorContains(t, err, `no server "none"`)
}

func TestOptionsThatCannotBeMetAreRefused(t *testing.T) {
	good := options{Rounds: 1, Seconds: 1, Connections: 1, Servers: []string{"warmcgi"}}
	assert.NoError(t, good.Validate())
	for _, change := range []func(*options){
		func(o *options) { o.Rounds = 0 },
		func(o *options) { o.Seconds = -1 },
		func(o *options) { o.Connections = 1 << 20 },
		func(o *options) { o.Require = []string{"lighttpd"} },
	} {
		o := good
		change(&o)
		assert.Error(t, o.Validate())
	}
}

func TestTheBestPeerIsTheOneToBeat(t *testing.T) {
	peer := func(name string, requests int, cpu float64) *result {
		return &result{Server: name, Counted: "cgroup", Rounds: []*round{{Requests: requests, Seconds: 1, CPU: cpu, Load: 0.001}}}
	}
	results := []*result{peer("ours", 200, 0.2), peer("fast", 160, 0.32), peer("frugal", 100, 0.08), {Server: "absent", Missing: "not installed"}}
	var out strings.Builder
	printTable(&out, options{}, &workload{name: "c"}, results)
	assert.Contains(t, out.String(), "best peer by requests/s: fast, x 1.250")
	assert.Contains(t, out.String(), "best peer by CPU per request: frugal, x 1.250")
	assert.NotContains(t, out.String(), "absent")
}

func TestARunMeasuresTheGatewayBesideItsPeers(t *testing.T) {
	var out strings.Builder
	file := t.TempDir() + "/figures.json"
	err := run(t.Context(), options{
		Rounds: 1, Seconds: 0.3, Connections: 2, Workloads: []string{"sh"},
		Servers: []string{"warmcgi", "nethttp", "lighttpd"}, JSON: file,
	}, &out)
	require.NoError(t, err)
	for _, want := range []string{"warmcgi", "nethttp", "requests/s x", "best peer by CPU per request", "CPU is counted by"} {
		assert.Contains(t, out.String(), want)
	}
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(b), `"Requests": 0,`)
	assert.Contains(t, string(b), `"Wrong": 0,`)
}
