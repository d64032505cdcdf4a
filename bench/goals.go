package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// goal is what the gateway is to reach against others, in one run.
type goal struct {
	server, workload string
	// peers are whom it is measured against, the best of them; spawning are all that start a
	// process for each request. Absolute goals have none.
	peers []string
	kind  goalKind
	want  float64
}

var spawning = []string{"nethttp", "lighttpd", "fcgiwrap", "apache", "uwsgi-cgi"}

type goalKind int

const (
	moreRequests    goalKind = iota // requests per second, at least so many times the peer's
	lessCPU                         // CPU per request, at most so many times the peer's
	lessMemory                      // PSS of the process tree, less than so many times the peer's
	shortWait                       // p50, at most so many times the peer's
	nobodyStarves                   // each connection gets its answers, and the longest wait is at most so many milliseconds
	littleGrowth                    // resident memory over that with small answers, at most so many MiB; no peer
	goodput                         // of the peak, when ten times that is asked for
	boundedWait                     // of what is let in then, seconds
	refusedAtOnce                   // 99 % of what is refused then has its 503 within so many milliseconds
	noFailure                       // neither of the load's requests nor of the idle clients'
	littlePerClient                 // resident memory for an idle client, at most so many KB
)

var goals = []goal{
	{"warmcgi", "c", []string{"lighttpd", "nethttp"}, moreRequests, 1.1},
	{"warmcgi", "c", []string{"lighttpd", "nethttp"}, lessCPU, 0.95},

	{"warmcgi-warm", "perl-form", spawning, moreRequests, 20},
	{"warmcgi-warm", "perl-heavy", spawning, moreRequests, 15},
	{"warmcgi-warm", "python-form", spawning, moreRequests, 15},
	{"warmcgi-warm", "python-heavy", spawning, moreRequests, 15},
	{"warmcgi-warm", "ruby-form", spawning, moreRequests, 15},

	// What a reused worker takes is the script's own work, and the way to it.
	{"warmcgi-warm", "perl-form-1", []string{"warmcgi-reuse"}, shortWait, 1.5},
	{"warmcgi-warm", "perl-heavy-1", []string{"warmcgi-reuse"}, shortWait, 1.5},
	{"warmcgi-warm", "python-form-1", []string{"warmcgi-reuse"}, shortWait, 1.5},
	{"warmcgi-warm", "python-heavy-1", []string{"warmcgi-reuse"}, shortWait, 1.5},
	{"warmcgi-warm", "ruby-form-1", []string{"warmcgi-reuse"}, shortWait, 1.5},
	{"warmcgi-warm", "ruby-heavy-1", []string{"warmcgi-reuse"}, shortWait, 1.5},

	{"warmcgi-reuse", "perl-form", []string{"mod_perl"}, moreRequests, 1},
	{"warmcgi-reuse", "perl-heavy", []string{"fcgi-loop"}, moreRequests, 1},
	{"warmcgi-reuse", "perl-form", []string{"mod_perl"}, lessMemory, 1},
	{"warmcgi-reuse", "perl-heavy", []string{"mod_perl"}, lessMemory, 1},
	{"warmcgi-reuse", "python-form", []string{"gunicorn"}, moreRequests, 1.2},
	{"warmcgi-reuse", "python-heavy", []string{"gunicorn", "uwsgi"}, moreRequests, 1.1},
	{"warmcgi-reuse", "ruby-form", []string{"puma"}, moreRequests, 0.8},

	{"warmcgi-php", "php-form-4", []string{"nginx-fpm"}, moreRequests, 1},
	{"warmcgi-php", "php-form-4", []string{"caddy"}, moreRequests, 2.5},
	{"warmcgi-php", "php-form-4", []string{"nginx-fpm-keepalive"}, nobodyStarves, 1000},
	{"warmcgi-php-max", "php-form-4", []string{"nginx-fpm"}, moreRequests, 1},
	{"warmcgi-php-max", "php-form-4", []string{"caddy"}, moreRequests, 2.5},
	{"warmcgi-php-max", "php-form-4", []string{"nginx-fpm-keepalive"}, nobodyStarves, 1000},
	{"warmcgi-php", "php-form-32", []string{"nginx-fpm-keepalive"}, moreRequests, 0.8},
	{"warmcgi-php", "php-100mib", []string{"nginx-fpm"}, moreRequests, 1},
	{"warmcgi-php", "php-100mib", nil, littleGrowth, 8},

	{"warmcgi", "down-100mib", []string{"uwsgi-cgi"}, moreRequests, 1},
	{"warmcgi", "down-100mib", nil, littleGrowth, 8},
	{"warmcgi", "up-100mib", []string{"nethttp"}, moreRequests, 1},
	{"warmcgi", "up-100mib", nil, littleGrowth, 8},

	// What asks a door is the load generator itself: a front server would take the same
	// time before either door, and hide some of the difference.
	{"door-fastcgi", "doors", []string{"door-http"}, moreRequests, 0.8},
	{"door-fastcgi-nginx", "doors", []string{"door-http-nginx"}, moreRequests, 0.8},

	{"warmcgi", "overload", nil, goodput, 0.9},
	{"warmcgi", "overload", nil, boundedWait, 11}, // the queue's own is 10 seconds; a histogram's bucket is 10 % wide
	{"warmcgi", "overload", nil, refusedAtOnce, 100},
	{"warmcgi-warm", "overload", nil, goodput, 0.9},
	{"warmcgi-warm", "overload", nil, boundedWait, 11},
	{"warmcgi-warm", "overload", nil, refusedAtOnce, 100},

	{"warmcgi-reuse", "idle-10000", nil, noFailure, 0},
	{"warmcgi-reuse", "idle-10000", nil, littlePerClient, 20},
}

// finding is what was measured for a goal.
type finding struct {
	goal
	text     string // what was measured
	aim      string
	met      bool
	measured bool
}

// verdict is a word for it.
func (f finding) verdict() string {
	switch {
	case !f.measured:
		return "not measured"
	case f.met:
		return "met"
	}
	return "MISSED"
}

func (f finding) String() string {
	if !f.measured {
		return fmt.Sprintf("%s %s: not measured", f.server, f.workload)
	}
	return fmt.Sprintf("%s %s: %s (goal: %s): %s", f.server, f.workload, f.text, f.aim, f.verdict())
}

// findings are those of the workloads that were run.
func findings(o options, all []*result) (found []finding) {
	for _, g := range goals {
		if slices.Contains(o.Workloads, g.workload) {
			found = append(found, g.judge(measured(all)))
		}
	}
	return found
}

// printGoals names each goal with what was measured. It judges a quiet machine; a busy
// one distorts requests per second.
func printGoals(out io.Writer, o options, all []*result) {
	found := findings(o, all)
	if len(found) == 0 {
		return
	}
	fmt.Fprintf(out, "\ngoals (ratios are medians of those of each round):\n\n")
	for _, f := range found {
		fmt.Fprintf(out, "  %v\n", f)
	}
}

func (g goal) judge(all []*result) finding {
	var us *result
	var peers []*result
	for _, r := range all {
		switch {
		case r.Workload != g.workload || len(r.Rounds) == 0:
		case r.Server == g.server:
			us = r
		case slices.Contains(g.peers, r.Server):
			peers = append(peers, r)
		}
	}
	f := finding{goal: g}
	if us == nil || g.peers != nil && len(peers) == 0 {
		return f
	}
	f.measured = true
	if g.peers == nil {
		f.text, f.aim, f.met = g.absolute(us)
	} else {
		f.text, f.aim, f.met = g.compare(us, peers)
	}
	return f
}

func (g goal) compare(us *result, peers []*result) (text, aim string, met bool) {
	least, most := fmt.Sprintf("at least %g", g.want), fmt.Sprintf("at most %g", g.want)
	fastest := best(peers, (*round).rps, 1)
	switch g.kind {
	case lessCPU:
		peer := best(peers, (*round).cpuPerRequest, -1)
		x := ratio(us, peer, (*round).cpuPerRequest)
		return fmt.Sprintf("%.2f times the CPU per request of %s", x, peer.Server), most, x <= g.want
	case lessMemory:
		peer := best(peers, (*round).memory, -1)
		x := ratio(us, peer, (*round).memory)
		return fmt.Sprintf("%.2f times the memory (PSS) of %s", x, peer.Server), fmt.Sprintf("less than %g", g.want), x < g.want
	case shortWait:
		x := ratio(us, peers[0], func(r *round) float64 { return float64(r.P50) })
		return fmt.Sprintf("%.2f times the p50 of %s, %v to %v", x, peers[0].Server, us.duration(p50), peers[0].duration(p50)), most, x <= g.want
	case nobodyStarves:
		longest := time.Duration(g.want * float64(time.Millisecond))
		return fmt.Sprintf("%s connections starve, the longest wait was %v; with %s %s and %v", us.starving(), us.longest(), fastest.Server, fastest.starving(), fastest.longest()),
			fmt.Sprintf("none, at most %v", longest), us.starved() == 0 && us.unanswered() == 0 && us.longest() <= longest
	default:
		x := ratio(us, fastest, (*round).rps)
		return fmt.Sprintf("%.2f times the requests/s of %s, at %.3f of its CPU", x, fastest.Server, ratio(us, fastest, (*round).cpuPerRequest)), least, x >= g.want
	}
}

// absolute is of a goal without a peer.
func (g goal) absolute(us *result) (text, aim string, met bool) {
	switch g.kind {
	case littleGrowth:
		mib := float64(us.growth()) / mebi
		return fmt.Sprintf("%.1f MiB over its memory with small requests", mib), fmt.Sprintf("at most %g MiB", g.want), mib <= g.want
	case goodput:
		x := median(us.each(func(r *round) float64 { return r.Offered.Good / r.Offered.Peak }))
		return fmt.Sprintf("%.0f %% of the peak when %d times that was asked for", 100*x, overloadFactor), fmt.Sprintf("at least %.0f %%", 100*g.want), x >= g.want
	case boundedWait:
		most := us.longestQueued()
		return fmt.Sprintf("who ran had waited in the queue for %s at most, and was answered in %s", ms(most), ms(us.longest())), fmt.Sprintf("at most %g s in the queue", g.want),
			most.Seconds() <= g.want && us.wrong() == 0
	case refusedAtOnce:
		p99 := us.duration(func(r *round) time.Duration { return r.Offered.RefusedP99 })
		median := us.duration(func(r *round) time.Duration { return r.Offered.RefusedP50 })
		return fmt.Sprintf("503 after %s (p50), %s (p99); %d other failures", ms(median), ms(p99), us.wrong()), fmt.Sprintf("p99 at most %g ms, none", g.want),
			p99.Seconds()*1000 <= g.want && us.wrong() == 0
	case noFailure:
		n := us.wrong() + us.unanswered() + us.idleFailures()
		return fmt.Sprintf("%d failed requests", n), "none", n == 0
	default:
		kb := us.perIdleClient() / 1000
		return fmt.Sprintf("%.1f KB for an idle client", kb), fmt.Sprintf("at most %g KB", g.want), kb <= g.want
	}
}

// command measures it again.
func (g goal) command() string {
	servers := []string{g.server}
	for _, p := range g.peers {
		if p != g.server {
			servers = append(servers, p)
		}
	}
	return fmt.Sprintf("go run ./bench peers --workloads %s --servers %s", g.workload, strings.Join(servers, ","))
}

// peersText names them.
func (g goal) peersText() string {
	switch {
	case len(g.peers) == 1:
		return g.peers[0]
	case len(g.peers) == len(spawning):
		return "the best that spawns"
	}
	return "the best of " + strings.Join(g.peers, " and ")
}

// goalText is the goal in words, for a table.
func (g goal) goalText() string {
	switch g.kind {
	case moreRequests:
		return fmt.Sprintf("≥ %g × the requests/s of %s", g.want, g.peersText())
	case lessCPU:
		return fmt.Sprintf("≤ %g × the CPU per request of %s", g.want, g.peersText())
	case lessMemory:
		return fmt.Sprintf("< %g × the memory of %s", g.want, g.peersText())
	case shortWait:
		return fmt.Sprintf("≤ %g × the p50 of %s", g.want, g.peersText())
	case nobodyStarves:
		return fmt.Sprintf("no connection starves, no wait above %g ms", g.want)
	case littleGrowth:
		return fmt.Sprintf("grows by ≤ %g MiB", g.want)
	case goodput:
		return fmt.Sprintf("goodput ≥ %g %% of the peak", 100*g.want)
	case boundedWait:
		return fmt.Sprintf("no wait in the queue above %g s", g.want)
	case refusedAtOnce:
		return fmt.Sprintf("the rest 503 within %g ms (p99)", g.want)
	case noFailure:
		return "no failed request"
	default:
		return fmt.Sprintf("≤ %g KB for an idle client", g.want)
	}
}
