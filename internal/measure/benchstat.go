package measure

import (
	"fmt"
	"io"
	"runtime"
	"strings"
)

// WriteBenchstat writes a line for each round, as the testing package does for each run of a benchmark, so that
// golang.org/x/perf/cmd/benchstat compares two files, or within one its modes: benchstat -col /mode FILE.
func (r *Report) WriteBenchstat(w io.Writer) error {
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\n", runtime.GOOS, r.Machine.Arch)
	if r.Machine.CPU != "" {
		fmt.Fprintf(w, "cpu: %s\n", r.Machine.CPU)
	}
	// Keys begin with a lower case letter; a value ends with its line.
	fmt.Fprintf(w, "subject: %s\nrequest: %s\nprotocol: %s\n", oneLine(r.Subject), oneLine(r.Request), r.Protocol)
	fmt.Fprint(w, "Unit req/s better=higher\n")
	for _, s := range r.Series {
		for _, st := range s.Steps {
			name := fmt.Sprintf("BenchmarkURL/connections=%d", st.Connections)
			if r.Script {
				name = fmt.Sprintf("BenchmarkScript/mode=%s/connections=%d", s.Name, st.Connections)
			}
			if r.Rate > 0 {
				name += fmt.Sprintf("/rate=%g", r.Rate)
			}
			for i := range st.Rounds {
				if x := &st.Rounds[i]; x.Latency != nil {
					if _, err := fmt.Fprintf(w, "%s-%d %d %s\n", name, r.Machine.Cores, x.Right, strings.Join(x.units(), " ")); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// units are a round's figures.
func (x *Round) units() []string {
	u := []string{
		fmt.Sprintf("%.0f ns/op", x.Latency.Mean*1e9),
		fmt.Sprintf("%.2f req/s", x.Rate),
		fmt.Sprintf("%.0f p50-ns", x.Latency.P50*1e9),
		fmt.Sprintf("%.0f p99-ns", x.Latency.P99*1e9),
		fmt.Sprintf("%d wrong", x.Bad()),
	}
	if x.CPU > 0 {
		u = append(u, fmt.Sprintf("%.0f cpu-ns/op", x.CPU*1e9), fmt.Sprintf("%d pss-B", x.Memory))
	}
	return u
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
