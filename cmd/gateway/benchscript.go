package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/measure"
	"warmcgi/internal/serving"
)

func (c *benchCmd) script(ctx context.Context, p *measure.Plan, bar *progress) (*measure.Report, error) {
	s, err := c.subject()
	if err != nil {
		return nil, err
	}
	var modes []cgi.Mode
	for _, m := range []cgi.Mode{cgi.ModeSpawn, cgi.ModeWarm, cgi.ModeReuse} { // once each, in this order
		if slices.Contains(c.Modes, string(m)) {
			modes = append(modes, m)
		}
	}
	if bar.width > 0 && p.Duration > 0 {
		fmt.Fprintf(os.Stderr, "This takes about %s.\n", p.Takes(len(modes)).Round(time.Second))
	}
	return measure.Modes(ctx, p, s, modes, bar)
}

// subject is the script with all that its route is to have.
func (c *benchCmd) subject() (*measure.Script, error) {
	info, err := os.Stat(c.Script)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder: --script takes one script", c.Script)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", c.Script)
	}
	if err := checkExecutable(c.Script, info, c.Interpreter); err != nil {
		return nil, err
	}
	s := &measure.Script{Interpreter: c.Interpreter, Preload: c.Preload, User: c.User, Limits: c.Limit, Gateway: serving.Self()}
	if s.File, err = filepath.Abs(c.Script); err != nil {
		return nil, err
	}
	_, target, _ := strings.Cut(c.Request, ":")
	s.Path = cmp.Or(c.Path, target)
	if s.Path == "/" && c.Request != "" { // GET:/ is the script itself
		s.Path = ""
	}
	if err := checkExtra(s.Path); err != nil {
		return nil, err
	}
	if _, err := url.Parse(s.Path); err != nil {
		return nil, fmt.Errorf("--path: %w", err)
	}
	if s.Env, err = config.ParseEnv(c.Env); err != nil {
		return nil, fmt.Errorf("--env: %w", err)
	}
	_, err = c.rules() // an error of theirs is better said here than by the gateway
	return s, err
}

// printScript is a table of the modes, and one of how they scale.
func printScript(out io.Writer, r *measure.Report) error {
	printHead(out, r)
	var measured []*measure.Series
	for _, s := range r.Series {
		if s.Full() != nil {
			measured = append(measured, s)
		}
	}
	if len(measured) > 0 {
		if err := modesTable(r, measured).print(out); err != nil {
			return err
		}
		if len(measured[0].Steps) > 1 {
			fmt.Fprintln(out, "\nright answers per second, by connections (and the p50):")
			if err := scalingTable(measured).print(out); err != nil {
				return err
			}
		}
	}
	for _, s := range r.Series {
		printNotes(out, s)
	}
	return nil
}

// print leaves nothing out: the figures are what was asked for.
func (t *table) print(out io.Writer) error {
	_, err := t.write(out, 0)
	return err
}

func rateOf(x *measure.Round) float64   { return x.Rate }
func cpuOf(x *measure.Round) float64    { return x.CPU }
func memoryOf(x *measure.Round) float64 { return float64(x.Memory) }
func peakOf(x *measure.Round) float64   { return float64(x.Peak) }

func modesTable(r *measure.Report, measured []*measure.Series) *table {
	t := &table{columns: []column{{"mode", 0}, {"answers/s", 0}, {"(min … max)", 0}, {"ratio", 0}, {"p50", 0}, {"p99", 0}, {"longest", 0}, {"CPU/answer", 0}, {"memory", 0}, {"peak", 0}, {"not right", 0}}}
	first := measured[0].Full()
	for _, s := range measured {
		st := s.Full()
		least, most := st.Range(rateOf)
		row := []string{s.Name, measure.Number(st.Median(rateOf)), fmt.Sprintf("(%s … %s)", measure.Number(least), measure.Number(most)), "×" + measure.Number(st.Ratio(first, rateOf)), "-", "-", "-",
			measure.Seconds(st.Median(cpuOf)), measure.Size(st.Median(memoryOf)), measure.Size(st.Median(peakOf))}
		if l := st.Latency; l != nil {
			row[4], row[5], row[6] = measure.Seconds(l.P50), measure.Seconds(l.P99), measure.Seconds(l.Max)
		}
		t.rows = append(t.rows, append(row, measure.Number(float64(s.Bad()))))
	}
	return t
}

func scalingTable(measured []*measure.Series) *table {
	t := &table{columns: []column{{"connections", 0}}}
	for _, st := range measured[0].Steps {
		t.rows = append(t.rows, []string{fmt.Sprint(st.Connections)})
	}
	for _, s := range measured {
		t.columns = append(t.columns, column{s.Name, 0})
		for i, st := range measured[0].Steps {
			cell := "-"
			for _, of := range s.Steps {
				if of.Connections == st.Connections && of.Latency != nil {
					cell = fmt.Sprintf("%s (%s)", measure.Number(of.Median(rateOf)), measure.Seconds(of.Latency.P50))
				}
			}
			t.rows[i] = append(t.rows[i], cell)
		}
	}
	return t
}

// printNotes says what was not as it should be.
func printNotes(out io.Writer, s *measure.Series) {
	if s.Missing != "" {
		fmt.Fprintf(out, "\nmode %s: not measured, as the script can't be in it: %s\n", s.Name, s.Missing)
		return
	}
	for _, n := range s.Notes {
		fmt.Fprintf(out, "\nmode %s: %s\n", s.Name, n)
	}
	told := false
	for _, st := range s.Steps {
		for _, line := range st.BadKinds() {
			if !told {
				fmt.Fprintf(out, "\nmode %s, not right:\n", s.Name)
				told = true
			}
			fmt.Fprintf(out, "  connections %d: %s\n", st.Connections, line)
		}
		for _, e := range st.Samples {
			fmt.Fprintf(out, "    e.g. %s\n", e)
		}
	}
	if told && s.Log != "" {
		fmt.Fprintf(out, "  The gateway and the script say:\n    %s\n", strings.ReplaceAll(s.Log, "\n", "\n    "))
	}
}
