package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// writeMarkdown writes goals and figures into a page that has marks for them, and else a page
// of its own.
func (rec *record) writeMarkdown(file, pictures string) error {
	if err := checkPage(file); err != nil {
		return err
	}
	goals, figures := rec.markdownGoals(), rec.markdownFigures(file, pictures)
	page, err := os.ReadFile(file)
	text := string(page)
	if err != nil {
		text = "# Figures\n\n" + goals + "\n" + figures
	}
	for _, part := range []struct{ name, text string }{{"goals", goals}, {"figures", figures}} {
		if before, after, ok := cutMarks(text, part.name); ok {
			text = before + "\n" + part.text + "\n" + after
		}
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// checkPage says whether tables can be written to a file: to one that has marks, or a new
// one in a folder that is there.
func checkPage(file string) error {
	if file == "" {
		return nil
	}
	page, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		_, err = os.Stat(filepath.Dir(file))
		return err
	}
	if err != nil {
		return err
	}
	for _, name := range []string{"goals", "figures"} {
		if _, _, ok := cutMarks(string(page), name); ok {
			return nil
		}
	}
	return fmt.Errorf("%s is a page without <!-- bench goals --> or <!-- bench figures -->: not written over", file)
}

// cutMarks gives what is before and behind the text between two marks, with the marks.
func cutMarks(page, name string) (before, after string, ok bool) {
	begin, end := "<!-- bench "+name+" -->\n", "<!-- bench end -->"
	head, rest, ok := strings.Cut(page, begin)
	if !ok {
		return "", "", false
	}
	_, tail, ok := strings.Cut(rest, end)
	return head + begin, end + tail, ok
}

// markdownFigures are a table and a picture for each workload.
func (rec *record) markdownFigures(file, pictures string) string {
	var b strings.Builder
	for _, of := range byWorkload(rec.Results) {
		w := workloadOf(of[0].Workload)
		if w == nil {
			continue
		}
		fmt.Fprintf(&b, "### %s: %s\n\n", w.name, w.about())
		if _, ok := rec.draw(of); ok && pictures != "" {
			fmt.Fprintf(&b, "![%s](%s)\n\n", w.about(), pictureLink(file, pictures, w.name))
		}
		markdownTable(&b, w, of)
		b.WriteString("\n")
	}
	markdownAbsent(&b, rec.Results)
	markdownVersions(&b, rec.Results)
	return b.String()
}

// pictureLink is from the page to the picture.
func pictureLink(page, pictures, workload string) string {
	file := filepath.Join(pictures, pictureName(workload))
	if rel, err := filepath.Rel(filepath.Dir(page), file); err == nil {
		file = rel
	}
	return filepath.ToSlash(file)
}

// markdownGoals says how the run was made, and has a line for each goal.
func (rec *record) markdownGoals() string {
	var b strings.Builder
	o := rec.Options
	fmt.Fprintf(&b, "`%s`, %s. %s. %d rounds of %g s for each server, in turns; %d connections where nothing else is said. Load average of the machine at the end: %s.\n\n",
		rec.Command, rec.Date, rec.Machine, o.Rounds, o.Seconds, o.Connections, rec.Load)
	b.WriteString("| mode, workload | goal | measured | | measured alone by |\n|---|---|---|---|---|\n")
	for _, f := range findings(o, rec.Results) {
		verdict := f.verdict()
		if f.measured && !f.met {
			verdict = "**missed**"
		}
		fmt.Fprintf(&b, "| %s, %s | %s | %s | %s | `%s` |\n", f.server, f.workload, f.goalText(), f.text, verdict, f.command())
	}
	return b.String()
}

// markdownTable has what printServers and printTrial have.
func markdownTable(b *strings.Builder, w *workload, of []*result) {
	switch first := of[0].Rounds[0]; {
	case first.Offered != nil:
		b.WriteString("| server | peak/s | asked for/s | answered/s | of the peak | p50 | longest | refused: p50 | p99 | other failures |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
		for _, r := range of {
			v := func(f func(*offered) float64) float64 {
				return median(r.each(func(x *round) float64 { return f(x.Offered) }))
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %.0f %% | %v | %v | %v | %v | %d |\n", r.Server, short(v(func(o *offered) float64 { return o.Peak })), short(v(func(o *offered) float64 { return o.Rate })),
				short(v(func(o *offered) float64 { return o.Good })), 100*v(func(o *offered) float64 { return o.Good / o.Peak }), ms(r.duration(p50)), ms(r.longest()),
				ms(r.duration(func(x *round) time.Duration { return x.Offered.RefusedP50 })), ms(r.duration(func(x *round) time.Duration { return x.Offered.RefusedP99 })), r.wrong())
		}
	case first.Idle != nil:
		b.WriteString("| server | idle clients | KB each | at most, in later rounds | their failures | requests/s beside them | p50 | p99 | wrong |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
		for _, r := range of {
			fmt.Fprintf(b, "| %s | %d | %.1f | %.1f | %d | %s | %v | %v | %d |\n", r.Server, first.Idle.Clients, r.perIdleClient()/1000, r.perLaterClient()/1000, r.idleFailures(),
				short(median(r.each((*round).rps))), ms(r.duration(p50)), ms(r.duration(p99)), r.wrong())
		}
	default:
		speed, growth := "requests/s", ""
		if w.moves() > 0 {
			speed, growth = "MB/s", " growth MiB |"
		}
		fmt.Fprintf(b, "| server | %s | CPU ms/request | the gateway's of it | p50 | p99 | longest | starving | PSS MiB |%s wrong |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|%s--:|\n", speed, growth, strings.Repeat("--:|", strings.Count(growth, "|")))
		for _, r := range of {
			v := median(r.each((*round).rps))
			if w.moves() > 0 {
				v, growth = r.megabytes(w), fmt.Sprintf(" %.1f |", float64(r.growth())/mebi)
			}
			own := ""
			if r.kind.mode != "" {
				own = short(r.ownCPU() / 1000)
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %v | %v | %v | %s | %.0f |%s %d |\n", r.Server, short(v), short(median(r.each((*round).cpuPerRequest))/1000), own,
				ms(r.duration(p50)), ms(r.duration(p99)), ms(r.longest()), r.starving(), median(r.each((*round).memory))/mebi, growth, r.wrong())
		}
	}
}

func p99(x *round) time.Duration { return x.P99 }

// ms is a time in milliseconds.
func ms(d time.Duration) string { return short(float64(d)/float64(time.Millisecond)) + " ms" }

// markdownAbsent names what was not measured, and what it would take.
func markdownAbsent(b *strings.Builder, all []*result) {
	var lines []string
	for _, r := range all {
		line := ""
		switch {
		case r.Missing != "":
			line = fmt.Sprintf("- %s: %s", r.Server, r.Missing)
		case r.Failed != "":
			reason, _, _ := strings.Cut(r.Failed, "\n")
			line = fmt.Sprintf("- %s%s: %s", r.prefix(), r.Workload, reason)
		}
		if line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "### Not measured\n\n%s\n\n", strings.Join(lines, "\n"))
	}
}

func markdownVersions(b *strings.Builder, all []*result) {
	b.WriteString("### Versions\n\n")
	var lines []string
	for _, r := range measured(all) {
		if line := fmt.Sprintf("- %s: %s", r.Server, r.Version); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	fmt.Fprintf(b, "%s\n\nCPU is counted by %s.\n", strings.Join(lines, "\n"), counting(measured(all)))
}
