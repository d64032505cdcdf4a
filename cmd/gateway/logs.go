package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"warmcgi/internal/gateway"
	"warmcgi/internal/live"
)

type logsCmd struct {
	Script string `arg:"" optional:"" help:"Those of one script (or of a route of FastCGI), as gateway status has it. Without it: of all."`
	adminFlags
	Number int  `short:"n" default:"10" placeholder:"N" help:"At most so many (the gateway keeps 100 of all scripts)."`
	Follow bool `short:"f" help:"Go on, with those that come."`
	JSON   bool `help:"Print each as an object of JSON in a line of its own."`
}

// Help is what is shown, and what is not.
func (logsCmd) Help() string {
	return `A request has gone wrong where it was answered 5xx by no choice of its client, by the gateway or by the script, or where the answer broke off. Each is shown with its id (REQUEST_ID
of the script, X-Request-Id of the answer, id= of the log), what was wrong, and the last 20 lines that the script has written to standard error for it, behind |. The oldest come
first. The gateway keeps the last 100; all that scripts have ever written is in its log.`
}

func (c *logsCmd) Run(out io.Writer) error {
	if c.Number < 0 {
		return fmt.Errorf("-n %d is less than none", c.Number)
	}
	door, err := c.door()
	if err != nil {
		return err
	}
	p := &failurePrinter{c: c, out: out, lines: map[int64]int{}}
	if c.Follow {
		return c.follow(door, p)
	}
	var list failureList
	if err := door.read("/api/v1/failures?most=100", &list); err != nil {
		return err
	}
	if err := p.print(list.Failures); err != nil || p.printed > 0 {
		return err
	}
	return c.explainNothing(door, out)
}

// failureList is the answer of /api/v1/failures.
type failureList struct {
	Failures []live.Failure `json:"failures"` // the newest first
}

// follow ends with SIGINT or SIGTERM, or when the gateway does.
func (c *logsCmd) follow(door *adminDoor, p *failurePrinter) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := door.events(ctx, func(name string, data []byte) error {
		if name != "failures" {
			return nil
		}
		var list failureList
		if err := door.understand(data, &list); err != nil {
			return err
		}
		return p.print(list.Failures)
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// explainNothing says why there is nothing to see.
func (c *logsCmd) explainNothing(door *adminDoor, out io.Writer) error {
	if c.JSON || c.Number == 0 {
		return nil
	}
	var state gateway.LiveState
	if err := door.read("/api/v1/live", &state); err != nil {
		return err
	}
	known := slices.ContainsFunc(state.Scripts, func(s gateway.LiveScript) bool { return s.Script == c.Script })
	switch {
	case c.Script == "":
		fmt.Fprintln(out, "No request has gone wrong since the gateway was started.")
	case known:
		fmt.Fprintf(out, "No request of %s is among the last 100 that went wrong.\n", c.Script)
	default:
		for i := range state.Scripts {
			state.Scripts[i].Pooled = true // here all count
		}
		return fmt.Errorf("nobody has asked for a script %s yet%s", c.Script, meant(c.Script, state.Scripts))
	}
	return nil
}

// failurePrinter prints each failure once.
type failurePrinter struct {
	c       *logsCmd
	out     io.Writer
	begun   bool
	last    int64         // number of the last one that was seen
	lines   map[int64]int // of standard error, by the numbers of those that were printed
	printed int
}

// kept is how many failures the gateway keeps.
const kept = 100

// print prints what is new in a list, the newest first, of all scripts.
func (p *failurePrinter) print(list []live.Failure) error {
	var fresh, late []live.Failure
	for _, f := range list {
		if p.c.Script != "" && f.Script != p.c.Script && f.Route != p.c.Script {
			continue
		}
		if f.Number > p.last {
			fresh = append(fresh, f)
		} else if n, shown := p.lines[f.Number]; shown && len(f.Stderr) > n {
			late = append(late, f)
		}
	}
	if len(list) > 0 {
		p.last = max(p.last, list[0].Number)
	}
	if !p.begun {
		p.begun = true
		fresh = fresh[:min(len(fresh), p.c.Number)]
	}
	for _, f := range slices.Backward(late) {
		if err := p.more(f); err != nil {
			return err
		}
	}
	for _, f := range slices.Backward(fresh) {
		if err := p.one(f); err != nil {
			return err
		}
	}
	maps.DeleteFunc(p.lines, func(number int64, _ int) bool { return number <= p.last-kept })
	return nil
}

// one prints a failure.
func (p *failurePrinter) one(f live.Failure) error {
	p.printed++
	p.lines[f.Number] = len(f.Stderr)
	if p.c.JSON {
		return json.NewEncoder(p.out).Encode(f)
	}
	var b strings.Builder
	if p.printed > 1 {
		b.WriteByte('\n')
	}
	b.WriteString(headOf(f) + "\n")
	for _, line := range detailsOf(f) {
		b.WriteString("  " + line + "\n")
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

// more prints lines of standard error that came after their failure.
func (p *failurePrinter) more(f live.Failure) error {
	from := p.lines[f.Number]
	p.lines[f.Number] = len(f.Stderr)
	if p.c.JSON {
		return json.NewEncoder(p.out).Encode(f)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s has written more:\n", visible(f.ID))
	for _, line := range f.Stderr[from:] {
		b.WriteString("  | " + visible(line) + "\n")
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

// headOf is a failure in a line.
func headOf(f live.Failure) string {
	what := fmt.Sprint(f.Status)
	if f.Broken {
		what += ", broken off"
	}
	url := f.Path
	if f.Query != "" {
		url += "?" + f.Query
	}
	mode := ""
	if f.Mode != "" {
		mode = ", " + f.Mode
	}
	return visible(fmt.Sprintf("%s  %s  %s %s  (%s%s)  id %s", f.At.Local().Format("2006-01-02 15:04:05.000"), what, f.Method, url, f.Why, mode, f.ID))
}

// detailsOf is what else is known of it.
func detailsOf(f live.Failure) (lines []string) {
	if f.Error != "" {
		for line := range strings.SplitSeq(strings.TrimSpace(f.Error), "\n") {
			lines = append(lines, visible(line))
		}
	}
	for _, line := range f.Stderr {
		lines = append(lines, "| "+visible(line))
	}
	return lines
}
