package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"warmcgi/internal/cgi"
)

// printReport is all there is to say of one workload: medians of the rounds.
func printReport(out io.Writer, o options, w *workload, results []*result) {
	results = slices.DeleteFunc(measured(results), func(r *result) bool { return len(r.Rounds) == 0 })
	fmt.Fprintf(out, "\n%s, %d connections, %d rounds of %gs in turns; %s\n\n", w.name, o.asking(w), o.Rounds, o.Seconds, machine())
	if len(results) == 0 {
		return
	}
	if w.trial != nil {
		printTrial(out, results)
	} else {
		printServers(out, results)
		printRatios(out, results)
	}
	if w.class == classPHP || w.moves() > 0 {
		printBulk(out, w, results)
	}
	switch {
	case w.class == classPHP, w.trial != nil:
	case w.class == classDoor:
		printDoors(out, results)
	default:
		printInside(out, results)
	}
	fmt.Fprintf(out, "\nload average of the machine at the end: %s. CPU is counted by %s. The load generator took %.0f us per request beside it.\n\n", loadAverage(), counting(results), loadPerRequest(results))
	for _, r := range results {
		note := ""
		if r.Counted == byProc && (r.Server == "fcgiwrap" || r.Server == "apache") {
			note = " (no cgroup to be had, run as root: its CPU is without its scripts)"
		}
		fmt.Fprintf(out, "  %-19s %s%s\n", r.Server, r.Version, note)
	}
}

func printServers(out io.Writer, results []*result) {
	t := table(out)
	fmt.Fprintln(t, "server\trequests/s\t(min\tmax)\tCPU us/request\t(min\tmax)\tp50\tp99\tlongest\tstarving\tPSS MiB\twrong\t")
	for _, r := range results {
		rps, cpu := r.each((*round).rps), r.each((*round).cpuPerRequest)
		fmt.Fprintf(t, "%s\t%.0f\t(%.0f\t%.0f)\t%.0f\t(%.0f\t%.0f)\t%v\t%v\t%v\t%s\t%.1f\t%d\t\n", r.Server,
			median(rps), slices.Min(rps), slices.Max(rps), median(cpu), slices.Min(cpu), slices.Max(cpu),
			r.duration(p50), r.duration(func(x *round) time.Duration { return x.P99 }), r.longest(), r.starving(),
			median(r.each(func(x *round) float64 { return float64(x.Memory) }))/(1<<20), r.wrong())
	}
	t.Flush()
}

func p50(x *round) time.Duration { return x.P50 }

// printRatios compares each of ours (or what comes first) with each of the others.
func printRatios(out io.Writer, results []*result) {
	ours := slices.DeleteFunc(slices.Clone(results), func(r *result) bool { return r.kind.mode == "" })
	if len(ours) == 0 {
		ours = results[:1]
	}
	peers := slices.DeleteFunc(slices.Clone(results), func(r *result) bool { return slices.Contains(ours, r) })
	if len(peers) == 0 {
		return
	}
	fmt.Fprint(out, "\nrequests/s and CPU per request, as multiples of the peer's (median of the rounds' ratios):\n\n")
	t := table(out)
	for _, r := range ours {
		fmt.Fprintf(t, "\t%s\t", r.Server)
	}
	fmt.Fprintln(t)
	for _, p := range peers {
		fmt.Fprint(t, p.Server)
		for _, r := range ours {
			fmt.Fprintf(t, "\tx %.3f\tx %.3f", ratio(r, p, (*round).rps), ratio(r, p, (*round).cpuPerRequest))
		}
		fmt.Fprintln(t, "\t")
	}
	t.Flush()
	if spawning := spawningPeers(results); len(spawning) > 0 {
		fmt.Fprintf(out, "\nbest peer that spawns, by requests/s: %s; by CPU per request: %s\n",
			best(spawning, (*round).rps, 1).Server, best(spawning, (*round).cpuPerRequest, -1).Server)
	}
}

// printInside says where the time goes in the gateway.
func printInside(out io.Writer, results []*result) {
	var reused *result
	for _, r := range results {
		if r.kind.mode == cgi.ModeReuse {
			reused = r
		}
	}
	ours := slices.DeleteFunc(slices.Clone(results), func(r *result) bool { return r.kind.mode == "" })
	if len(ours) == 0 {
		return
	}
	fmt.Fprint(out, "\nwhere it goes (CPU us/request; fork: order to idle; leave: answer to exit; wait: for a worker):\n\n")
	t := table(out)
	fmt.Fprintln(t, "\tgateway\tscripts\tfork\tp95\tleave\tp95\twaited\tmean\tp95\tp50 over reuse's\t")
	for _, r := range ours {
		own := r.ownCPU()
		fmt.Fprintf(t, "%s\t%.0f\t%.0f", r.Server, own, median(r.each((*round).cpuPerRequest))-own)
		for _, of := range []func(*round) spread{
			func(x *round) spread { return x.Inside.Fork },
			func(x *round) spread { return x.Inside.Leave },
		} {
			fmt.Fprintf(t, "\t%s\t%s", r.spread(of, mean), r.spread(of, p95))
		}
		wait := func(x *round) spread { return x.Inside.Wait }
		fmt.Fprintf(t, "\t%.1f %%\t%s\t%s", 100*median(r.each(func(x *round) float64 {
			return float64(x.Inside.Wait.Count) / float64(max(x.Requests, 1))
		})), r.spread(wait, mean), r.spread(wait, p95))
		over := "-"
		if reused != nil && r != reused {
			over = (r.duration(p50) - reused.duration(p50)).String()
		}
		fmt.Fprintf(t, "\t%s\t\n", over)
	}
	t.Flush()
}

func mean(s spread) time.Duration { return s.Mean }
func p95(s spread) time.Duration  { return s.P95 }

// spread is the median of a figure over the rounds in which there was one.
func (r *result) spread(of func(*round) spread, figure func(spread) time.Duration) string {
	var v []float64
	for _, x := range r.Rounds {
		if s := of(x); s.Count > 0 {
			v = append(v, float64(figure(s)))
		}
	}
	if len(v) == 0 {
		return "-"
	}
	return time.Duration(median(v)).Round(10 * time.Microsecond).String()
}

func table(out io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func ratio(a, b *result, of func(*round) float64) float64 {
	return median(ratios(a.each(of), b.each(of)))
}

func spawningPeers(results []*result) []*result {
	return slices.DeleteFunc(slices.Clone(results), func(r *result) bool { return !r.kind.spawns })
}

// best is the peer with the highest median of a figure, or with sign -1 the lowest.
func best(peers []*result, of func(*round) float64, sign float64) *result {
	return slices.MaxFunc(peers, func(a, b *result) int {
		return cmp.Compare(sign*median(a.each(of)), sign*median(b.each(of)))
	})
}
