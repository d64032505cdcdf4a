package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is all rounds of one server.
type result struct {
	Server, Version, Workload string
	Counted                   string `json:",omitempty"` // what its CPU time comes from
	Missing                   string `json:",omitempty"` // why it was not measured
	Rounds                    []*round

	server *server
}

// measured leaves out the servers that are not installed.
func measured(all []*result) []*result {
	return slices.DeleteFunc(slices.Clone(all), func(r *result) bool { return r.Missing != "" })
}

// each gives a figure of every round.
func (r *result) each(f func(*round) float64) []float64 {
	v := make([]float64, len(r.Rounds))
	for i, x := range r.Rounds {
		v[i] = f(x)
	}
	return v
}

// median of an even number is the mean of the middle two.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// ratios divides round by round: the rounds next to each other saw the same machine.
func ratios(a, b []float64) []float64 {
	v := make([]float64, min(len(a), len(b)))
	for i := range v {
		v[i] = a[i] / b[i]
	}
	return v
}

// printTable shows medians, and the first server's ratios to each other one.
func printTable(out io.Writer, o options, w *workload, results []*result) {
	results = measured(results)
	fmt.Fprintf(out, "\n%s hello, %d connections, %d rounds of %gs in turns; %s\n\n", w.name, o.Connections, o.Rounds, o.Seconds, machine())
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\trequests/s\t(min\tmax)\tCPU us/request\t(min\tmax)\tp50\tp99\tPSS MiB\twrong\t")
	for _, r := range results {
		rps, cpu := r.each((*round).rps), r.each((*round).cpuPerRequest)
		fmt.Fprintf(t, "%s\t%.0f\t(%.0f\t%.0f)\t%.0f\t(%.0f\t%.0f)\t%v\t%v\t%.1f\t%d\t\n", r.Server,
			median(rps), slices.Min(rps), slices.Max(rps), median(cpu), slices.Min(cpu), slices.Max(cpu),
			r.duration(func(x *round) time.Duration { return x.P50 }), r.duration(func(x *round) time.Duration { return x.P99 }),
			median(r.each(func(x *round) float64 { return float64(x.Memory) }))/(1<<20), r.wrong())
	}
	t.Flush()
	if len(results) < 2 {
		return
	}
	first := results[0]
	fmt.Fprintf(out, "\n%s against (median of the rounds' ratios):\n", first.Server)
	for _, r := range results[1:] {
		fmt.Fprintf(out, "  %-9s requests/s x %.3f   CPU per request x %.3f\n", r.Server,
			median(ratios(first.each((*round).rps), r.each((*round).rps))),
			median(ratios(first.each((*round).cpuPerRequest), r.each((*round).cpuPerRequest))))
	}
	for _, b := range []struct {
		what string
		of   func(*round) float64
		peer *result
	}{
		{"requests/s", (*round).rps, best(results[1:], (*round).rps, 1)},
		{"CPU per request", (*round).cpuPerRequest, best(results[1:], (*round).cpuPerRequest, -1)},
	} {
		fmt.Fprintf(out, "  best peer by %s: %s, x %.3f\n", b.what, b.peer.Server, median(ratios(first.each(b.of), b.peer.each(b.of))))
	}
	fmt.Fprintf(out, "\nCPU is counted by %s. The load generator took %.0f us per request beside it.\n\n", counting(results), loadPerRequest(results))
	for _, r := range results {
		note := ""
		if r.server != nil && r.server.group == nil && (r.Server == "fcgiwrap" || r.Server == "apache") {
			note = " (no cgroup to be had, run as root: its CPU is without its scripts)"
		}
		fmt.Fprintf(out, "  %-9s %s%s\n", r.Server, r.Version, note)
	}
}

// best is the peer with the highest median of a figure, or with sign -1 the lowest.
func best(peers []*result, of func(*round) float64, sign float64) *result {
	return slices.MaxFunc(peers, func(a, b *result) int {
		return cmp.Compare(sign*median(a.each(of)), sign*median(b.each(of)))
	})
}

// counting names the ways in which the servers' CPU time was counted.
func counting(results []*result) string {
	var ways []string
	for _, r := range results {
		if !slices.Contains(ways, r.Counted) {
			ways = append(ways, r.Counted)
		}
	}
	return strings.Join(ways, " and ")
}

// loadPerRequest is in microseconds.
func loadPerRequest(results []*result) float64 {
	var cpu float64
	n := 0
	for _, r := range results {
		for _, x := range r.Rounds {
			cpu, n = cpu+x.Load, n+x.Requests
		}
	}
	return cpu * 1e6 / float64(max(n, 1))
}

func (r *result) duration(f func(*round) time.Duration) time.Duration {
	return time.Duration(median(r.each(func(x *round) float64 { return float64(f(x)) }))).Round(10 * time.Microsecond)
}

func (r *result) wrong() (n int) {
	for _, x := range r.Rounds {
		n += x.Wrong
	}
	return n
}

func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores, %s %s", runtime.NumCPU(), runtime.GOOS, strings.TrimSpace(string(kernel)))
}

func writeJSON(file string, o options, results []*result) error {
	b, err := json.MarshalIndent(map[string]any{"machine": machine(), "options": o, "results": results}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
