package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
	"warmcgi/internal/fcgi"
	"warmcgi/internal/gateway"
	"warmcgi/internal/pool"
)

func statusOf50(now time.Time) gateway.Status {
	st := gateway.Status{Software: "warmcgi/test"}
	for i := range 50 {
		st.Scripts = append(st.Scripts, pool.Status{
			Script: fmt.Sprintf("/cgi-bin/department/of/very/long/names/report-%02d.pl", i), Mode: cgi.ModeWarm, Wanted: cgi.ModeAuto, State: pool.Ready,
			Idle: 2, Rate: 10, ForkRate: 10, ForkTime: 1500 * time.Microsecond, ParentMemory: 20 << 20,
			Answers: map[cgi.Mode]int64{cgi.ModeSpawn: 4, cgi.ModeWarm: 12345}, LastUse: now.Add(-time.Minute),
		})
	}
	return st
}

func TestTheStatusTableFitsTheTerminal(t *testing.T) {
	now := time.Now()
	for _, width := range []int{80, 120} {
		var b strings.Builder
		require.NoError(t, printStatus(&b, statusOf50(now), now, width))
		lines := strings.Split(b.String(), "\n")
		for _, l := range lines[:51] {
			assert.LessOrEqual(t, utf8.RuneCountInString(l), width, l)
		}
		assert.Contains(t, lines[0], "STATE")
		assert.Contains(t, lines[50], "names/report-49.pl", "the end of a name tells it from others")
		assert.Contains(t, lines[51], "(no room for FORKS/S", "what is left out is said")
	}
	var b strings.Builder
	require.NoError(t, printStatus(&b, statusOf50(now), now, 0))
	assert.Contains(t, b.String(), "/cgi-bin/department/of/very/long/names/report-49.pl  warm  auto    ready  2     0     0     10.0   10.0     1.5ms  20.0M   4      12345  0      1m0s\n")
	assert.NotContains(t, b.String(), "no room")
}

func TestStatusSaysAReasonOnceForAllScriptsThatHaveIt(t *testing.T) {
	st := gateway.Status{}
	for _, name := range []string{"/a.sh", "/b.sh", "/c.sh"} {
		st.Scripts = append(st.Scripts, pool.Status{Script: name, Mode: cgi.ModeSpawn, Wanted: cgi.ModeAuto, State: pool.NoRunner, Why: "no runner for it: it runs by /bin/sh"})
	}
	st.Scripts = append(st.Scripts,
		pool.Status{
			Script: "/d.pl", State: pool.Broken, Why: "syntax error\nCompilation failed\n", Demotions: map[string]int64{"broken": 2, "captured": 1},
			Waits: []pool.Waits{{UpTo: 4 * time.Millisecond, Requests: 3}, {Requests: 1}},
		},
		pool.Status{Script: "/e.pl", Mode: cgi.ModeWarm, State: pool.Ready, Why: "it captures"})
	var b strings.Builder
	require.NoError(t, printStatus(&b, st, time.Now(), 0))
	_, below, _ := strings.Cut(b.String(), "\n\n")
	assert.Equal(t, `/a.sh is spawned: no runner for it: it runs by /bin/sh
  so are: /b.sh, /c.sh

/d.pl is broken: syntax error
  Compilation failed

/e.pl is only warm: it captures

/d.pl has lost its mode: broken, 2 times; captured, 1 time
/d.pl had requests that waited for a worker: 3 up to 4ms, 1 longer
`, below)
}

func TestStatusShowsTheFastCGIServers(t *testing.T) {
	st := gateway.Status{Applications: []gateway.ApplicationStatus{
		{Route: "/api", Role: "responder", Waiting: 2, Servers: []fcgi.ServerStatus{{Server: "tcp:app-1:9000", Requests: 3, Room: 32, Idle: 1}, {Server: "tcp:app-2:9000", Room: 32, Out: fcgi.WhyUnreachable}}},
		{Route: "/maps", Role: "authorizer", Program: true, Servers: []fcgi.ServerStatus{{Server: "pid 7", Room: 1}}},
		{Route: "/far", Role: "responder"},
	}}
	var b strings.Builder
	require.NoError(t, printStatus(&b, st, time.Now(), 0))
	var rows []string
	for line := range strings.Lines(b.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	assert.Equal(t, []string{
		"ROUTE SERVER STATE REQUESTS ROOM KEPT WAIT",
		"/api tcp:app-1:9000 in 3 32 1 2",
		"/api tcp:app-2:9000 unreachable 0 32 0 2",
		"/maps (authorizer) pid 7 in 0 1 0 -",
		"/far none is known - - - - 0",
		"",
	}, rows)
}
