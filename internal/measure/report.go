// Package measure measures a URL, or a script in the modes that it can be in, and reports it: as figures, for benchstat,
// and as a page with charts.
package measure

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"warmcgi/internal/load"
)

// Report is all that was measured. Times are in seconds, sizes in octets.
type Report struct {
	Software string    `json:"software"`
	Command  string    `json:"command"`
	Began    time.Time `json:"began"`
	Machine  Machine   `json:"machine"`
	// Subject is the URL, or the script's file.
	Subject string `json:"subject"`
	Script  bool   `json:"script"`
	// Request is its method and target, Answer what a right answer is.
	Request  string `json:"request"`
	Protocol string `json:"protocol"`
	Answer   string `json:"answer"`
	// Rate is that of an open loop; 0 is a closed one.
	Rate        float64 `json:"rate,omitempty"`
	Connections int     `json:"connections"`
	Streams     int     `json:"streams,omitempty"`
	Duration    float64 `json:"duration,omitempty"`
	Requests    int64   `json:"requests,omitempty"`
	WarmUp      float64 `json:"warm_up"`
	Rounds      int     `json:"rounds"`
	// Interrupted: it was ended before all was measured.
	Interrupted bool      `json:"interrupted,omitempty"`
	Series      []*Series `json:"series"`
}

// Series is one thing that was measured: the URL, or a mode of the script.
type Series struct {
	Name string `json:"name"`
	// Missing is why it could not be measured.
	Missing string `json:"missing,omitempty"`
	// Notes are what a reader should know about the figures.
	Notes []string `json:"notes,omitempty"`
	// Log is what gateway and script have said last, if answers were not right.
	Log string `json:"log,omitempty"`
	// Steps are by number of connections, ascending.
	Steps []*Step `json:"steps,omitempty"`

	why string // answers came in another mode
}

// Step is one number of connections.
type Step struct {
	Connections int     `json:"connections"`
	Rounds      []Round `json:"rounds"`
	// Latency is of the right answers of all rounds; Refused of answers with a wrong status; Late of the time from
	// when a request was due to when it was sent (open loop).
	Latency *Latency     `json:"latency,omitempty"`
	Refused *Latency     `json:"refused,omitempty"`
	Late    *Latency     `json:"late,omitempty"`
	Curve   [][2]float64 `json:"curve,omitempty"` // quantile, seconds
	Samples []string     `json:"samples,omitempty"`

	latency, refused, late *hdrhistogram.Histogram
}

// Round is one measurement.
type Round struct {
	Seconds float64 `json:"seconds"`
	// Rate is right answers per second.
	Rate  float64 `json:"rate"`
	Right int64   `json:"right"`
	// Octets is the size of all bodies.
	Octets      int64               `json:"octets"`
	Failures    map[load.Kind]int64 `json:"failures,omitempty"`
	Status      map[int]int64       `json:"wrong_status,omitempty"`
	WrongBody   int64               `json:"wrong_body,omitempty"`
	Unsent      int64               `json:"unsent,omitempty"`
	Blocked     int64               `json:"sent_late,omitempty"`
	Interrupted int64               `json:"interrupted,omitempty"`
	Gone        bool                `json:"gone,omitempty"`
	Opened      int64               `json:"connections_opened"`
	Again       int64               `json:"asked_again,omitempty"`
	Latency     *Latency            `json:"latency,omitempty"`
	// GeneratorCPU is processor time of the load generator, per request.
	GeneratorCPU float64 `json:"generator_cpu"`
	// CPU is processor time of the server's whole process tree, per request, Gateway the part of the gateway's own
	// process in it. Memory is the tree's PSS: the median of looks during the load, Peak the largest.
	CPU     float64 `json:"cpu,omitempty"`
	Gateway float64 `json:"gateway_cpu,omitempty"`
	Memory  int64   `json:"memory,omitempty"`
	Peak    int64   `json:"peak,omitempty"`
	// Elsewhere is how many answers came in another mode, by mode.
	Elsewhere map[string]int64 `json:"other_mode,omitempty"`
}

// Latency is a distribution.
type Latency struct {
	Count  int64   `json:"count"`
	Mean   float64 `json:"mean"`
	StdDev float64 `json:"stddev"`
	P50    float64 `json:"p50"`
	P75    float64 `json:"p75"`
	P90    float64 `json:"p90"`
	P95    float64 `json:"p95"`
	P99    float64 `json:"p99"`
	P999   float64 `json:"p99.9"`
	P9999  float64 `json:"p99.99"`
	Max    float64 `json:"max"`
}

func latencyOf(h *hdrhistogram.Histogram) *Latency {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e9 }
	return &Latency{
		Count: h.TotalCount(), Mean: h.Mean() / 1e9, StdDev: h.StdDev() / 1e9,
		P50: at(50), P75: at(75), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9), P9999: at(99.99), Max: float64(h.Max()) / 1e9,
	}
}

// step is that of a number of connections.
func (s *Series) step(connections int) *Step {
	for _, st := range s.Steps {
		if st.Connections == connections {
			return st
		}
	}
	st := &Step{Connections: connections, latency: load.NewHistogram(), refused: load.NewHistogram(), late: load.NewHistogram()}
	s.Steps = append(s.Steps, st)
	slices.SortFunc(s.Steps, func(a, b *Step) int { return a.Connections - b.Connections })
	return st
}

// Full is the step with all connections; nil is none.
func (s *Series) Full() *Step {
	if len(s.Steps) == 0 {
		return nil
	}
	return s.Steps[len(s.Steps)-1]
}

const maxSamples = 5

// add takes in what came of a run.
func (st *Step) add(x *load.Result) *Round {
	st.latency.Merge(x.Latency)
	st.refused.Merge(x.Refused)
	st.late.Merge(x.Late)
	st.Latency, st.Refused, st.Late = latencyOf(st.latency), latencyOf(st.refused), latencyOf(st.late)
	st.Curve = st.Curve[:0]
	for _, p := range load.Curve(st.latency) {
		st.Curve = append(st.Curve, [2]float64{p.Quantile, p.Time.Seconds()})
	}
	for _, s := range x.Samples {
		if len(st.Samples) < maxSamples && !slices.Contains(st.Samples, s) {
			st.Samples = append(st.Samples, s)
		}
	}
	all := x.Right + x.Failed() + x.Wrong()
	st.Rounds = append(st.Rounds, Round{
		Seconds: x.Elapsed.Seconds(), Rate: x.Rate(), Right: x.Right, Octets: x.Octets,
		Failures: x.Failures, Status: x.Status, WrongBody: x.WrongBody, Unsent: x.Unsent, Blocked: x.Blocked,
		Interrupted: x.Interrupted, Gone: x.Gone, Opened: x.Opened, Again: x.Again,
		Latency: latencyOf(x.Latency), GeneratorCPU: x.CPU / float64(max(all, 1)),
	})
	return &st.Rounds[len(st.Rounds)-1]
}

// Median is that of a figure of the rounds.
func (st *Step) Median(of func(*Round) float64) float64 {
	return median(st.each(of))
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Ratio compares a figure with that of another step, round by round: those next to each other saw the same machine. It is
// the median of the rounds' ratios.
func (st *Step) Ratio(to *Step, of func(*Round) float64) float64 {
	a, b := st.each(of), to.each(of)
	v := make([]float64, min(len(a), len(b)))
	for i := range v {
		v[i] = a[i] / max(b[i], 1e-9)
	}
	return median(v)
}

// Range is the least and the most of it.
func (st *Step) Range(of func(*Round) float64) (least, most float64) {
	v := st.each(of)
	if len(v) == 0 {
		return 0, 0
	}
	return slices.Min(v), slices.Max(v)
}

func (st *Step) each(of func(*Round) float64) []float64 {
	v := make([]float64, len(st.Rounds))
	for i := range st.Rounds {
		v[i] = of(&st.Rounds[i])
	}
	return v
}

// Bad is how many requests had no right answer.
func (r *Round) Bad() int64 {
	n := r.WrongBody + r.Unsent
	for _, k := range r.Failures {
		n += k
	}
	for _, k := range r.Status {
		n += k
	}
	return n
}

// Right is how many answers were right in all.
func (r *Report) Right() (n int64) {
	for _, x := range r.all() {
		n += x.Right
	}
	return n
}

// Bad is how many requests had no right answer.
func (r *Report) Bad() (n int64) {
	for _, x := range r.all() {
		n += x.Bad()
	}
	return n
}

func (r *Report) all() (all []*Round) {
	for _, s := range r.Series {
		all = append(all, s.all()...)
	}
	return all
}

func (s *Series) all() (all []*Round) {
	for _, st := range s.Steps {
		for i := range st.Rounds {
			all = append(all, &st.Rounds[i])
		}
	}
	return all
}

// Bad is how many requests had no right answer, with all numbers of connections.
func (s *Series) Bad() (n int64) {
	for _, x := range s.all() {
		n += x.Bad()
	}
	return n
}

// WriteJSON writes all figures.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Length says how long it was measured.
func (r *Report) Length() string {
	var each []string
	if r.Requests > 0 {
		each = append(each, fmt.Sprintf("%d requests", r.Requests))
	}
	if r.Duration > 0 {
		each = append(each, time.Duration(r.Duration*float64(time.Second)).String())
	}
	s := strings.Join(each, " or ")
	if r.Rounds > 1 {
		s = fmt.Sprintf("%d rounds of %s", r.Rounds, s)
	}
	if r.WarmUp > 0 {
		s += " after " + time.Duration(r.WarmUp*float64(time.Second)).String() + " of warm-up"
	}
	return s
}
