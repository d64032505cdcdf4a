package main

import (
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

// limited answers so many requests at once, each after a while, and refuses the others.
func limited(room int, takes time.Duration) http.HandlerFunc {
	free := make(chan struct{}, room)
	return func(w http.ResponseWriter, _ *http.Request) {
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
			time.Sleep(takes)
			io.WriteString(w, hello)
		default:
			http.Error(w, "busy", http.StatusServiceUnavailable)
		}
	}
}

func openLoopAt(t *testing.T, h http.HandlerFunc, rate float64, d time.Duration) *round {
	srv := httptest.NewServer(h)
	defer srv.Close()
	s, w := &server{addr: srv.Listener.Addr().String()}, &workload{file: "x", body: hello}
	g := &openLoop{s: s, w: w, request: requestFor(s.addr, w)}
	g.run(t.Context(), rate, d)
	return g.round(d)
}

func TestAFixedRateIsAskedForWhateverIsAnswered(t *testing.T) {
	r := openLoopAt(t, limited(2, 20*time.Millisecond), 1000, 500*time.Millisecond)
	o := r.Offered
	assert.Equal(t, 500, o.Sent+o.Held)
	assert.Equal(t, o.Sent, r.Requests+o.Refused)
	assert.NotZero(t, r.Requests)
	assert.NotZero(t, o.Refused)
	assert.Zero(t, o.Failed, o.Failure)
	assert.GreaterOrEqual(t, r.P50, 20*time.Millisecond)
	assert.LessOrEqual(t, o.RefusedP50, o.RefusedP99)
}

func TestWhatIsNeitherTheAnswerNorARefusalHasFailed(t *testing.T) {
	r := openLoopAt(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "something else") }, 200, 200*time.Millisecond)
	assert.Zero(t, r.Requests)
	assert.Equal(t, r.Offered.Sent, r.Offered.Failed)
	assert.Equal(t, r.Offered.Failed, r.Wrong)
	assert.Contains(t, r.Offered.Failure, "right body: false")
}

// process is a server whose memory is that of some process.
func process(t *testing.T, h http.HandlerFunc) *server {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c := exec.Command("sleep", "20")
	ownGroup(c)
	require.NoError(t, c.Start())
	s := &server{addr: srv.Listener.Addr().String(), procs: []*exec.Cmd{c}, output: &output{}}
	t.Cleanup(s.stop)
	return s
}

func TestIdleClientsAreAnsweredBeforeAndAfterTheLoad(t *testing.T) {
	s := process(t, limited(1000, 0))
	r, err := s.withIdle(t.Context(), &workload{file: "x", body: hello}, 4, 100*time.Millisecond, 50)
	require.NoError(t, err)
	assert.Equal(t, 50, r.Idle.Clients)
	rest := s.rest
	assert.Positive(t, rest)
	_, err = s.withIdle(t.Context(), &workload{file: "x", body: hello}, 4, 50*time.Millisecond, 50)
	require.NoError(t, err)
	assert.Equal(t, rest, s.rest, "each round is compared with the time before the first clients")
	assert.Zero(t, r.Idle.Failed, r.Idle.Failure)
	assert.NotZero(t, r.Requests)
}

func TestIdleClientsThatWereNotKeptHaveFailed(t *testing.T) {
	s := process(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, hello)
	})
	r, err := s.withIdle(t.Context(), &workload{file: "x", body: hello}, 2, 50*time.Millisecond, 10)
	require.NoError(t, err)
	assert.Equal(t, 20, r.Idle.Failed)
	assert.Contains(t, r.Idle.Failure, "not kept")
}

func TestGoalsUnderOverloadAndWithIdleClientsAreNamed(t *testing.T) {
	over, idle := figures("warmcgi-warm", "overload", 190, 1, 0), figures("warmcgi-reuse", "idle-10000", 100, 1, 0)
	over.Rounds[0].Offered = &offered{Peak: 200, Rate: 2000, Good: 190, Refused: 1000, RefusedP50: time.Millisecond, RefusedP99: 300 * time.Millisecond}
	over.Rounds[0].Longest, over.Rounds[0].Inside.Queue.Most = 4*time.Second, 3*time.Second
	idle.Rounds[0].Idle = &idling{Clients: 10000, PerClient: 19_000, Failed: 1}
	o := options{Rounds: 1, Workloads: []string{"overload", "idle-10000"}}
	var out strings.Builder
	printGoals(&out, o, []*result{over, idle})
	for _, want := range []string{
		"warmcgi-warm overload: 95 % of the peak when 10 times that was asked for (goal: at least 90 %): met\n",
		"warmcgi-warm overload: who ran had waited in the queue for 3,000 ms at most, and was answered in 4,000 ms (goal: at most 11 s in the queue): met\n",
		"warmcgi-warm overload: 503 after 1.00 ms (p50), 300 ms (p99); 0 other failures (goal: p99 at most 100 ms, none): MISSED\n",
		"warmcgi overload: not measured\n",
		"warmcgi-reuse idle-10000: 1 failed requests (goal: none): MISSED\n",
		"warmcgi-reuse idle-10000: 19.0 KB for an idle client (goal: at most 20 KB): met\n",
	} {
		assert.Contains(t, out.String(), want)
	}
	out.Reset()
	printReport(&out, o, workloadOf("overload"), []*result{over})
	assert.Regexp(t, `warmcgi-warm +200 +2000 +190 +95 %`, out.String())
	out.Reset()
	printReport(&out, o, workloadOf("idle-10000"), []*result{idle})
	assert.Regexp(t, `warmcgi-reuse +10000 +19\.0 +19\.0 +1 +100`, out.String())
}

func TestThePageHasGoalsTablesAndPictures(t *testing.T) {
	dir := t.TempDir()
	o := options{Rounds: 1, Seconds: 1, Connections: 16, Workloads: []string{"c", "idle-10000"}, Markdown: dir + "/figures.md", SVG: dir + "/pictures"}
	idle := figures("warmcgi-reuse", "idle-10000", 100, 1, 0)
	idle.Rounds[0].Idle = &idling{Clients: 10000, PerClient: 19_000}
	all := []*result{
		figures("warmcgi", "c", 2500, 1, 6*time.Millisecond), figures("nethttp", "c", 2000, 1, 0),
		{Server: "lighttpd", Workload: "c", Missing: "lighttpd is not installed (apt-get install lighttpd)"}, idle,
	}
	require.NoError(t, writeFiles(o, all))
	page, err := os.ReadFile(o.Markdown)
	require.NoError(t, err)
	for _, want := range []string{
		"| warmcgi, c | ≥ 1.1 × the requests/s of the best of lighttpd and nethttp | 1.25 times the requests/s of nethttp, at 0.800 of its CPU | met | `go run ./bench peers --workloads c --servers warmcgi,lighttpd,nethttp` |\n",
		"![hello, C](pictures/c.svg)",
		"| warmcgi | 2,500 | 0.40 | 0.10 | 6.00 ms |",
		"| warmcgi-reuse | 10000 | 19.0 | 19.0 | 0 |",
		"- lighttpd: lighttpd is not installed (apt-get install lighttpd)\n",
	} {
		assert.Contains(t, string(page), want)
	}
	picture, err := os.ReadFile(dir + "/pictures/c.svg")
	require.NoError(t, err)
	assert.Regexp(t, `(?s)<svg .*prefers-color-scheme: dark.*warmcgi.*2,500.*nethttp.*2,000.*</svg>`, string(picture))
	assert.NoFileExists(t, dir+"/pictures/idle-10000.svg")
}

func TestAPageWithMarksGetsTheFiguresBetweenThem(t *testing.T) {
	dir := t.TempDir()
	json, page := dir+"/run.json", dir+"/page.md"
	o := options{Rounds: 1, Seconds: 1, Connections: 16, Workloads: []string{"c"}, JSON: json}
	require.NoError(t, writeFiles(o, []*result{figures("warmcgi", "c", 2500, 1, 6*time.Millisecond), figures("nethttp", "c", 2000, 1, 0)}))
	render := func() error { return (&renderCommand{File: json, Markdown: page}).Run() }

	require.NoError(t, os.WriteFile(page, []byte("# My page\n"), 0o644))
	assert.ErrorContains(t, render(), "not written over")

	require.NoError(t, os.WriteFile(page, []byte("# My page\n<!-- bench goals -->\nold\n<!-- bench end -->\nbetween\n<!-- bench figures -->\n<!-- bench end -->\nbelow\n"), 0o644))
	var last string
	for range 2 {
		require.NoError(t, render())
		b, err := os.ReadFile(page)
		require.NoError(t, err)
		text := string(b)
		assert.Regexp(t, `(?s)^# My page\n<!-- bench goals -->\n.*\| warmcgi, c \|.*<!-- bench end -->\nbetween\n.*### c: hello, C\n.*<!-- bench end -->\nbelow\n$`, text)
		assert.NotContains(t, text, "old")
		if last != "" {
			assert.Equal(t, last, text, "the same a second time")
		}
		last = text
	}
	assert.ErrorContains(t, (&renderCommand{File: page, Markdown: page}).Run(), page)
}

func TestTheCheckPrintsWhatItHasWhenItsTimeIsOver(t *testing.T) {
	var out strings.Builder
	require.NoError(t, (&checkCommand{Within: 5 * time.Second}).run(t.Context(), &out))
	assert.Contains(t, out.String(), "warmcgi c: ")
	assert.Contains(t, out.String(), "stopped after 5s\n")
}
