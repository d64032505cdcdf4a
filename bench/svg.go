package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

// A picture shows the medians of one workload as bars, a panel for each of two figures. It is
// one file without anything to load, and has colours for light and dark pages.

// bar is one server's figure.
type bar struct {
	Name, Label string
	value       float64
	Ours        bool
	Y, Text     int
	Length, End float64
}

// panel is one figure of all servers.
type panel struct {
	Title  string
	X, Bar int // where the panel and its bars begin
	Bars   []bar
}

type picture struct {
	Title, Below  string
	Width, Height int
	Panels        []panel
}

const (
	rowHeight = 22
	headRoom  = 58
	barWidth  = 170 // the longest
	nameWidth = 150
)

// writePictures writes a file for each workload that has servers to compare.
func (rec *record) writePictures(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, of := range byWorkload(rec.Results) {
		p, ok := rec.draw(of)
		if !ok {
			continue
		}
		var b strings.Builder
		if err := svgTemplate.Execute(&b, p); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, pictureName(of[0].Workload)), []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func pictureName(workload string) string { return workload + ".svg" }

// byWorkload groups what was measured, in the order of the run.
func byWorkload(all []*result) (groups [][]*result) {
	for _, r := range measured(all) {
		if n := len(groups); n > 0 && groups[n-1][0].Workload == r.Workload {
			groups[n-1] = append(groups[n-1], r)
		} else if len(r.Rounds) > 0 {
			groups = append(groups, []*result{r})
		}
	}
	return groups
}

// draw says no where there is nothing to compare.
func (rec *record) draw(of []*result) (picture, bool) {
	w := workloadOf(of[0].Workload)
	if len(of) < 2 || w == nil || w.trial != nil {
		return picture{}, false
	}
	p := picture{Title: w.about(), Below: fmt.Sprintf("Medians of %d rounds in turns. %s", len(of[0].Rounds), rec.Machine)}
	cpu := figure{"CPU per request, ms (short is good)", (*round).cpuPerRequest, func(us float64) string { return short(us / 1000) }}
	speed := figure{"requests/s (long is good)", (*round).rps, short}
	switch {
	case w.modes != nil:
		speed = figure{"p50, ms (short is good)", func(r *round) float64 { return float64(r.P50) }, func(ns float64) string { return short(ns / float64(time.Millisecond)) }}
	case w.moves() > 0:
		size := float64(w.moves()) / 1e6
		speed = figure{"MB/s (long is good)", func(r *round) float64 { return r.rps() * size }, short}
	}
	for i, f := range []figure{speed, cpu} {
		p.Panels = append(p.Panels, f.panel(of, 16+i*(nameWidth+barWidth+90)))
	}
	p.Width, p.Height = 16+2*(nameWidth+barWidth+90), headRoom+len(of)*rowHeight+34
	return p, true
}

// figure is what a panel shows.
type figure struct {
	title string
	of    func(*round) float64
	label func(float64) string
}

func (f figure) panel(of []*result, x int) panel {
	p := panel{Title: f.title, X: x, Bar: x + nameWidth}
	most := 0.0
	for i, r := range of {
		v := median(r.each(f.of))
		most = max(most, v)
		y := headRoom + i*rowHeight
		p.Bars = append(p.Bars, bar{Name: r.Server, Label: f.label(v), value: v, Ours: r.kind.mode != "", Y: y, Text: y + 13})
	}
	for i := range p.Bars {
		b := &p.Bars[i]
		b.Length = max(1.5, barWidth*b.value/cmp.Or(most, 1))
		b.End = float64(p.Bar) + b.Length + 4
	}
	return p
}

// short has three digits that count, and thousands apart.
func short(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// workloadOf is nil where there is none of that name.
func workloadOf(name string) *workload {
	if i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name }); i >= 0 {
		return &workloads[i]
	}
	return nil
}

var svgTemplate = template.Must(template.New("").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.Width}} {{.Height}}" width="{{.Width}}" height="{{.Height}}" role="img">
<title>{{html .Title}}</title>
<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: #57606a }
.value { font-variant-numeric: tabular-nums }
rect { fill: #8c959f }
rect.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .quiet { fill: #9198a1 }
  rect { fill: #6e7681 }
  rect.ours { fill: #4493f8 }
}
</style>
<text class="title" x="16" y="22">{{html .Title}}</text>
{{range .Panels}}{{$bar := .Bar}}{{$x := .X}}<text class="quiet" x="{{.Bar}}" y="46">{{html .Title}}</text>
{{range .Bars}}<text x="{{$x}}" y="{{.Text}}">{{html .Name}}</text><rect{{if .Ours}} class="ours"{{end}} x="{{$bar}}" y="{{.Y}}" width="{{printf "%.1f" .Length}}" height="16" rx="2"/><text class="value" x="{{printf "%.1f" .End}}" y="{{.Text}}">{{html .Label}}</text>
{{end}}{{end}}<text class="quiet" x="16" y="{{.Height}}" dy="-12">{{html .Below}}</text>
</svg>
`))
