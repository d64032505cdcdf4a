package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result is all rounds of one server.
type result struct {
	Server, Version, Workload string
	Counted                   string `json:",omitempty"` // what its CPU time comes from
	Missing                   string `json:",omitempty"` // why it was not measured
	Rounds                    []*round

	kind kind
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
