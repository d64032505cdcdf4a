package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// goal is what the modes are to reach against others, in one run.
type goal struct {
	server, workload string
	// peer is whom it is measured against; "" is the best of those that spawn.
	peer string
	kind goalKind
	want float64
}

type goalKind int

const (
	moreRequests goalKind = iota // requests per second, at least so many times the peer's
	lessCPU                      // CPU per request, at most so many times the peer's
	latencyOver                  // p50 over the peer's, at most so many milliseconds; at one connection
)

var goals = []goal{
	{"warmcgi-warm", "perl-form", "", moreRequests, 15},
	{"warmcgi-warm", "python-heavy", "", moreRequests, 12},
	{"warmcgi-warm", "ruby-form", "", moreRequests, 12},
	{"warmcgi-reuse", "perl-form", "mod_perl", lessCPU, 1},
	{"warmcgi-reuse", "python-form", "gunicorn", moreRequests, 1},
	{"warmcgi-reuse", "python-heavy", "gunicorn", moreRequests, 1},
	// What a reused worker takes is the script's own work, and the way to it.
	{"warmcgi-warm", "perl-form", "warmcgi-reuse", latencyOver, 3},
	{"warmcgi-warm", "python-heavy", "warmcgi-reuse", latencyOver, 3},
	{"warmcgi-warm", "ruby-form", "warmcgi-reuse", latencyOver, 3},
}

// printGoals names each goal with what was measured. It judges a quiet machine; a busy
// one distorts requests per second.
func printGoals(out io.Writer, o options, all []*result) {
	var lines []string
	for _, g := range goals {
		if (g.kind == latencyOver) == (o.Connections == 1) && slices.Contains(o.Workloads, g.workload) {
			lines = append(lines, g.report(measured(all)))
		}
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "\ngoals, at %d connections (%s):\n\n  %s\n", o.Connections, others(o), strings.Join(lines, "\n  "))
}

// others says how the goals are measured that this run is not for.
func others(o options) string {
	if o.Connections == 1 {
		return "those of requests/s and CPU: --connections 16"
	}
	return "those of latency: --connections 1"
}

func (g goal) report(all []*result) string {
	var us, peer *result
	var spawning []*result
	for _, r := range all {
		switch {
		case r.Workload != g.workload:
		case r.Server == g.server:
			us = r
		case r.Server == g.peer:
			peer = r
		case r.kind.spawns:
			spawning = append(spawning, r)
		}
	}
	if g.peer == "" && len(spawning) > 0 {
		peer = best(spawning, (*round).rps, 1)
	}
	if us == nil || peer == nil {
		return fmt.Sprintf("%s %s: not measured", g.server, g.workload)
	}
	text, met := g.compare(us, peer)
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	return fmt.Sprintf("%s %s: %s: %s", g.server, g.workload, text, verdict)
}

func (g goal) compare(us, peer *result) (text string, met bool) {
	switch g.kind {
	case moreRequests:
		x := ratio(us, peer, (*round).rps)
		return fmt.Sprintf("%.2f times the requests/s of %s, at %.3f of its CPU (goal: at least %g)", x, peer.Server, ratio(us, peer, (*round).cpuPerRequest), g.want), x >= g.want
	case lessCPU:
		x := ratio(us, peer, (*round).cpuPerRequest)
		return fmt.Sprintf("%.2f times the CPU per request of %s (goal: at most %g)", x, peer.Server, g.want), x <= g.want
	default:
		d := us.duration(p50) - peer.duration(p50)
		most := time.Duration(g.want * float64(time.Millisecond))
		return fmt.Sprintf("p50 %v over the %v of %s (goal: at most %v)", d, peer.duration(p50), peer.Server, most), d <= most
	}
}
