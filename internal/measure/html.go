package measure

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// The page is one file: its style, its program and the figures are in it, and it asks for nothing.
var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/page.css
	pageStyle string
	//go:embed page/page.js
	pageProgram string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
)

// page is what the template shows; the charts are drawn from Data.
type page struct {
	Title, Lead string
	Warnings    []string
	Table       pageTable
	Missing     []pageMissing
	Problems    []pageProblem
	Facts       []pageFact
	Style       template.CSS
	Program     template.JS
	Data        template.JS
}

type pageTable struct {
	Head []string
	Rows [][]string
}

type pageMissing struct{ Name, Why string }

type pageProblem struct {
	Title string
	Lines []string
	Log   string
}

type pageFact struct {
	Name, Value string
	Code        bool
}

// WriteHTML writes the page.
func (r *Report) WriteHTML(w io.Writer) error {
	data, err := json.Marshal(r) // which escapes what could end the element that it stands in
	if err != nil {
		return err
	}
	p := page{
		Title: r.Subject, Lead: r.lead(), Table: r.table(), Facts: r.facts(),
		Style: template.CSS(pageStyle), Program: template.JS(pageProgram), Data: template.JS(data),
	}
	if r.Script {
		p.Title = path.Base(r.Subject)
	}
	if r.Interrupted {
		p.Warnings = append(p.Warnings, "The measurement was interrupted: this is what there is.")
	}
	for _, s := range r.Series {
		if s.Missing != "" {
			p.Missing = append(p.Missing, pageMissing{"mode " + s.Name + " is not possible", s.Missing})
		}
		lines := slices.Clone(s.Notes)
		for _, st := range s.Steps {
			for _, b := range st.BadKinds() {
				lines = append(lines, fmt.Sprintf("%s: %s", plural(int64(st.Connections), "connection"), b))
			}
			for _, e := range st.Samples {
				lines = append(lines, "for example: "+e)
			}
		}
		if len(lines) > 0 {
			title := "To be known"
			if s.Bad() > 0 {
				title = "Not all was right"
			}
			if r.Script {
				title += " in mode " + s.Name
			}
			p.Problems = append(p.Problems, pageProblem{title, lines, s.Log})
		}
	}
	return pageTemplate.Execute(w, p)
}

// lead is the result in a sentence.
func (r *Report) lead() string {
	var first *Series
	var parts []string
	for _, s := range r.Series {
		st := s.Full()
		if st == nil {
			continue
		}
		rate := st.Median(func(x *Round) float64 { return x.Rate })
		switch {
		case first == nil:
			first = s
			parts = append(parts, fmt.Sprintf("%s right answers per second", Number(rate)))
			if r.Script {
				parts[0] += " in mode " + s.Name
			}
			if st.Latency != nil && !r.Script {
				parts = append(parts, fmt.Sprintf("half of them within %s, 99 %% within %s", Seconds(st.Latency.P50), Seconds(st.Latency.P99)))
			}
		default:
			ratio := st.Ratio(first.Full(), func(x *Round) float64 { return x.Rate })
			parts = append(parts, fmt.Sprintf("%s times as many in mode %s", Number(ratio), s.Name))
		}
	}
	if len(parts) == 0 {
		return "Nothing was measured."
	}
	return strings.Join(parts, ", ") + "."
}

func (r *Report) table() pageTable {
	t := pageTable{Head: []string{"", "answers/s", "p50", "p99", "longest", "right", "not right"}}
	if r.Script {
		t.Head = []string{"mode", "answers/s", "p50", "p99", "longest", "CPU per answer", "memory", "right", "not right"}
	}
	for _, s := range r.Series {
		st := s.Full()
		if st == nil {
			continue
		}
		row := []string{s.Name, Number(st.Median(func(x *Round) float64 { return x.Rate })), "–", "–", "–"}
		if l := st.Latency; l != nil {
			row = append(row[:2], Seconds(l.P50), Seconds(l.P99), Seconds(l.Max))
		}
		if r.Script {
			row = append(row, Seconds(st.Median(func(x *Round) float64 { return x.CPU })), Size(st.Median(func(x *Round) float64 { return float64(x.Memory) })))
		}
		var right, bad int64
		for i := range st.Rounds {
			right, bad = right+st.Rounds[i].Right, bad+st.Rounds[i].Bad()
		}
		t.Rows = append(t.Rows, append(row, Number(float64(right)), Number(float64(bad))))
	}
	return t
}

func (r *Report) facts() []pageFact {
	facts := []pageFact{
		{"command", r.Command, true},
		{"asked", r.Request, true},
		{"protocol", r.Protocol, false},
		{"load", r.Load() + "; " + r.Length(), false},
		{"right", r.Answer, false},
		{"machine", r.Machine.String(), false},
		{"software", r.Software + ", " + r.Machine.Go, false},
		{"begun", r.Began.Format(time.RFC1123Z), false},
	}
	if r.Script {
		facts = slices.Insert(facts, 1, pageFact{"script", r.Subject, true})
	}
	return facts
}

// Load says who asks how much.
func (r *Report) Load() string {
	if r.Rate > 0 {
		return fmt.Sprintf("%s requests per second, over at most %s", Number(r.Rate), plural(int64(r.Connections), "connection"))
	}
	if r.Connections == 1 {
		return "1 connection, which asks as soon as it is answered"
	}
	return fmt.Sprintf("%s, each asks as soon as it is answered", plural(int64(r.Connections), "connection"))
}

// BadKinds tells of the requests that had no right answer, by kind.
func (st *Step) BadKinds() (lines []string) {
	failures, status := map[string]int64{}, map[int]int64{}
	var body, unsent int64
	for i := range st.Rounds {
		x := &st.Rounds[i]
		for k, n := range x.Failures {
			failures[string(k)] += n
		}
		for k, n := range x.Status {
			status[k] += n
		}
		body, unsent = body+x.WrongBody, unsent+x.Unsent
	}
	for _, k := range slices.Sorted(maps.Keys(failures)) {
		lines = append(lines, Number(float64(failures[k]))+" "+k)
	}
	for _, k := range slices.Sorted(maps.Keys(status)) {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s wrong status: %d %s", Number(float64(status[k])), k, http.StatusText(k))))
	}
	if body > 0 {
		lines = append(lines, Number(float64(body))+" wrong body")
	}
	if unsent > 0 {
		lines = append(lines, Number(float64(unsent))+" never sent: due before the end, but all connections were busy. Their time is not among the latencies")
	}
	return lines
}
