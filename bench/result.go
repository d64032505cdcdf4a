package main

import (
	"cmp"
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
	Failed                    string `json:",omitempty"` // what went wrong, which ended its part in the run
	Rounds                    []*round

	kind kind
}

// measured leaves out the servers that are not installed, and those that failed.
func measured(all []*result) []*result {
	return slices.DeleteFunc(slices.Clone(all), func(r *result) bool { return r.Missing != "" || r.Failed != "" })
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

// loadAverage is that of the last minute, by which a reader can judge what else there was.
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	of, _, _ := strings.Cut(string(b), " ")
	return cmp.Or(of, "unknown")
}

// record is a whole run, as --json writes it and the command render reads it.
type record struct {
	Machine string    `json:"machine"`
	Load    string    `json:"load"` // average of the machine at the end
	Date    string    `json:"date"`
	Command string    `json:"command"`
	Options options   `json:"options"`
	Results []*result `json:"results"`
}

func newRecord(o options, all []*result) *record {
	return &record{
		machine(), loadAverage(), time.Now().UTC().Format(time.DateOnly),
		strings.TrimSpace("go run ./bench " + strings.Join(os.Args[1:], " ")), o, all,
	}
}

func (r *record) writeJSON(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// readRecord reads what writeJSON wrote.
func readRecord(file string) (*record, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, x := range r.Results {
		if x.Server == "" {
			continue // a workload that could not be prepared
		}
		if x.kind, err = kindOf(x.Server); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return &r, nil
}
