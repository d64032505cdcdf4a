package main

import (
	"cmp"
	"fmt"
	"io"
	"os"

	"warmcgi/internal/measure"
)

// print writes what was measured, in the form that was asked for.
func (c *benchCmd) print(out io.Writer, r *measure.Report) (err error) {
	switch {
	case c.JSON:
		err = r.WriteJSON(out)
	case c.Benchstat:
		err = r.WriteBenchstat(out)
	case r.Script:
		err = printScript(out, r)
	default:
		err = printURL(out, r)
	}
	if err == nil && c.Report != "" {
		if err = writeReport(c.Report, r); err == nil && !c.JSON && !c.Benchstat {
			fmt.Fprintf(out, "\nThe report is in %s.\n", c.Report)
		}
	}
	switch {
	case err != nil:
		return err
	case r.Bad() > 0 || r.Right() == 0:
		return errSilent
	}
	return nil
}

func writeReport(file string, r *measure.Report) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return cmp.Or(r.WriteHTML(f), f.Close())
}

// printHead says what was measured, and how.
func printHead(out io.Writer, r *measure.Report) {
	fmt.Fprintf(out, "%s\n%s; %s\n", r.Subject, r.Request, r.Protocol)
	fmt.Fprintf(out, "%s; %s\n", r.Load(), r.Length())
	fmt.Fprintf(out, "right: %s\n", r.Answer)
	fmt.Fprintf(out, "%s\n", r.Machine)
	if r.Interrupted {
		fmt.Fprintln(out, "It was interrupted: this is what there is.")
	}
	fmt.Fprintln(out)
}

func printURL(out io.Writer, r *measure.Report) error {
	printHead(out, r)
	st := r.Series[0].Full()
	if st == nil {
		_, err := fmt.Fprintln(out, "nothing was measured")
		return err
	}
	line := func(name, format string, a ...any) { fmt.Fprintf(out, "%-10s %s\n", name, fmt.Sprintf(format, a...)) }
	rate := func(x *measure.Round) float64 { return x.Rate }
	least, most := st.Range(rate)
	if len(st.Rounds) > 1 {
		line("rate", "%s right answers per second (%s to %s)", measure.Number(st.Median(rate)), measure.Number(least), measure.Number(most))
	} else {
		line("rate", "%s right answers per second", measure.Number(st.Median(rate)))
	}
	var right, octets, opened, again, unsent, blocked, interrupted int64
	var seconds, cpu, all float64
	for i := range st.Rounds {
		x := &st.Rounds[i]
		right, octets, opened, again = right+x.Right, octets+x.Octets, opened+x.Opened, again+x.Again
		unsent, blocked, interrupted = unsent+x.Unsent, blocked+x.Blocked, interrupted+x.Interrupted
		n := float64(x.Right + x.Bad() - x.Unsent)
		seconds, cpu, all = seconds+x.Seconds, cpu+x.GeneratorCPU*n, all+n
	}
	line("answers", "%s right, %s not, in %.2f s", measure.Number(float64(right)), measure.Number(float64(r.Bad())), seconds)
	printLatency(out, "latency", st.Latency)
	printBad(out, st)
	if st.Refused != nil {
		printLatency(out, "  of wrong", st.Refused)
	}
	if r.Rate > 0 && st.Late != nil {
		line("sent", "behind their time by: p50 %s, p99 %s, at most %s; it counts as latency", measure.Seconds(st.Late.P50), measure.Seconds(st.Late.P99), measure.Seconds(st.Late.Max))
		if blocked > 0 {
			line("", "%s found all %d connections busy: the server does not keep up with this rate", measure.Number(float64(blocked)), r.Connections)
		}
	}
	line("bodies", "%s, %s/s", measure.Size(float64(octets)), measure.Size(float64(octets)/max(seconds, 1e-9)))
	more := ""
	if again > 0 {
		more = fmt.Sprintf("; %d requests asked again, as the server had closed a kept connection", again)
	}
	line("opened", "%d connections%s", opened, more)
	line("generator", "%s of processor time per request, %.0f %% of one core", measure.Seconds(cpu/max(all, 1)), 100*cpu/max(seconds, 1e-9))
	if interrupted > 0 {
		line("", "%d requests were under way when it was interrupted, and are not counted", interrupted)
	}
	for _, n := range r.Series[0].Notes {
		fmt.Fprintf(out, "\n%s\n", n)
	}
	return nil
}

func printLatency(out io.Writer, name string, l *measure.Latency) {
	if l == nil {
		fmt.Fprintf(out, "%-10s none\n", name)
		return
	}
	fmt.Fprintf(out, "%-10s mean %s, deviation %s\n", name, measure.Seconds(l.Mean), measure.Seconds(l.StdDev))
	fmt.Fprintf(out, "%-10s p50 %s  p75 %s  p90 %s  p95 %s\n", "", measure.Seconds(l.P50), measure.Seconds(l.P75), measure.Seconds(l.P90), measure.Seconds(l.P95))
	fmt.Fprintf(out, "%-10s p99 %s  p99.9 %s  p99.99 %s  longest %s\n", "", measure.Seconds(l.P99), measure.Seconds(l.P999), measure.Seconds(l.P9999), measure.Seconds(l.Max))
}

// printBad lists what was not right, by kind.
func printBad(out io.Writer, st *measure.Step) {
	for _, line := range st.BadKinds() {
		fmt.Fprintf(out, "%-10s %s\n", "  not", line)
	}
	for _, s := range st.Samples {
		fmt.Fprintf(out, "%-10s e.g. %s\n", "", s)
	}
}
