package main

import (
	"bytes"
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

func TestTheTreeOfAProcessHoldsItsChildren(t *testing.T) {
	c := exec.Command("sh", "-c", "sleep 20 & sleep 20 & wait")
	ownGroup(c)
	require.NoError(t, c.Start())
	s := &server{procs: []*exec.Cmd{c}, output: &bytes.Buffer{}}
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

func TestARunMeasuresTheGatewayBesideItsPeers(t *testing.T) {
	var out strings.Builder
	file := t.TempDir() + "/figures.json"
	err := run(t.Context(), options{
		Rounds: 1, Seconds: 0.3, Connections: 2, Workloads: []string{"sh"},
		Servers: []string{"warmcgi", "nethttp", "lighttpd"}, JSON: file,
	}, &out)
	require.NoError(t, err)
	for _, want := range []string{"warmcgi", "nethttp", "requests/s x"} {
		assert.Contains(t, out.String(), want)
	}
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(b), `"Requests": 0,`)
	assert.Contains(t, string(b), `"Wrong": 0,`)
}
