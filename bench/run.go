package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// namesForHelp are the names that options may have.
func namesForHelp() kong.Vars {
	return kong.Vars{"workloads": strings.Join(workloadNames(), ", "), "servers": strings.Join(serverNames(), ", ")}
}

// run measures one workload after the other. A server that fails is left out, and an error
// at the end.
func run(ctx context.Context, o options, out io.Writer) error {
	all, err := measureWorkloads(ctx, o, out)
	if err != nil { // the figures so far are not lost, but make no page
		o.Markdown, o.SVG = "", ""
		return errors.Join(err, writeFiles(o, all))
	}
	printGoals(out, o, all)
	return errors.Join(writeFiles(o, all), failures(all))
}

// measureWorkloads returns with an error what was measured before it.
func measureWorkloads(ctx context.Context, o options, out io.Writer) (all []*result, err error) {
	dir, err := os.MkdirTemp("", "warmcgi-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // servers may drop root
		return nil, err
	}
	for _, name := range o.Workloads {
		w, err := prepare(name, dir)
		if err != nil {
			fmt.Fprintf(out, "\n%s: %v\n", name, err)
			all = append(all, &result{Workload: name, Failed: err.Error()})
			continue
		}
		results, err := measureAll(ctx, o, w, dir, out)
		all = append(all, results...)
		if err != nil {
			return all, fmt.Errorf("workload %s: %w", name, err)
		}
		printReport(out, o, w, results)
	}
	return all, nil
}

// writeFiles writes what options ask for beside the report.
func writeFiles(o options, all []*result) error {
	r := newRecord(o, all)
	var errs []error
	if o.JSON != "" {
		errs = append(errs, r.writeJSON(o.JSON))
	}
	return errors.Join(append(errs, r.publish(o.Markdown, o.SVG))...)
}

// publish writes tables and pictures, each where a name is given.
func (r *record) publish(markdown, pictures string) error {
	var errs []error
	if pictures != "" {
		errs = append(errs, r.writePictures(pictures))
	}
	if markdown != "" {
		errs = append(errs, r.writeMarkdown(markdown, pictures))
	}
	return errors.Join(errs...)
}

// renderCommand writes tables and pictures of a run that has been.
type renderCommand struct {
	File     string `arg:"" help:"What peers --json has written."`
	Markdown string `placeholder:"FILE" help:"Write tables there."`
	SVG      string `placeholder:"DIR" help:"Write a picture for each workload there."`
}

// Validate is called by kong.
func (c *renderCommand) Validate() error {
	if c.Markdown+c.SVG == "" {
		return errors.New("nothing to write: --markdown FILE, --svg DIR")
	}
	return nil
}

// Run is the command render.
func (c *renderCommand) Run() error {
	r, err := readRecord(c.File)
	if err != nil {
		return err
	}
	return r.publish(c.Markdown, c.SVG)
}

// failures is an error that names each server that failed.
func failures(all []*result) error {
	var errs []error
	for _, r := range all {
		if r.Failed != "" {
			errs = append(errs, fmt.Errorf("workload %s: %s%s", r.Workload, r.prefix(), r.Failed))
		}
	}
	return errors.Join(errs...)
}

// asking is how many connections measure a workload.
func (o options) asking(w *workload) int { return cmp.Or(w.connections, o.Connections) }

// length is that of one measurement.
func (o options) length() time.Duration { return time.Duration(o.Seconds * float64(time.Second)) }

// measureAll starts the servers and lets them take turns.
func measureAll(ctx context.Context, o options, w *workload, dir string, out io.Writer) ([]*result, error) {
	var results []*result
	running := map[string]*server{}
	for _, name := range o.Servers {
		k, err := kindOf(name)
		if err != nil {
			return nil, err
		}
		if !k.serves(w) || o.quick && !slices.Contains(quickServers(w.name), name) {
			continue
		}
		r := &result{Server: name, Workload: w.name, kind: k}
		results = append(results, r)
		s, err := k.start(ctx, task{dir, w, o.asking(w)})
		if s != nil {
			defer s.stop() // also one that has started in part
		}
		if err == nil {
			r.Version, r.Counted = s.version, s.counted()
			err = s.ready(ctx, w, o.asking(w))
		}
		if err := ctx.Err(); err != nil {
			return results, err
		}
		var missing notInstalled
		if errors.As(err, &missing) && !slices.Contains(o.Require, name) {
			r.Missing = err.Error()
			fmt.Fprintf(out, "%s: %v\n", name, err)
		} else if err != nil {
			r.fail(out, err)
		}
		running[name] = s
	}
	if len(results) == 0 {
		fmt.Fprintf(out, "%s: none of the servers serves it\n", w.name)
	}
	for range o.Rounds {
		for _, r := range measured(results) {
			round, err := running[r.Server].turn(ctx, w, o.asking(w), o.length())
			if ctx.Err() != nil {
				return results, ctx.Err()
			}
			if err != nil {
				r.fail(out, err)
				continue
			}
			r.Rounds = append(r.Rounds, round)
		}
	}
	return results, nil
}

// fail takes the server out of the run.
func (r *result) fail(out io.Writer, err error) {
	r.Failed = err.Error()
	fmt.Fprintf(out, "%s: %s\n", r.Server, r.Failed)
}

// prefix names the server, where it is known which one.
func (r *result) prefix() string {
	if r.Server == "" {
		return ""
	}
	return r.Server + ": "
}

// ready waits until a server answers as it is to be measured.
func (s *server) ready(ctx context.Context, w *workload, connections int) error {
	if err := s.await(ctx, w); err != nil {
		return fmt.Errorf("it does not answer: %w", err)
	}
	if s.gateway != nil {
		if err := s.gateway.await(ctx); err != nil {
			return err
		}
	}
	return s.settle(ctx, w, connections)
}

// trial measures in a way of its own.
type trial func(ctx context.Context, s *server, w *workload, n int, d time.Duration) (*round, error)

// turn is one measurement.
func (s *server) turn(ctx context.Context, w *workload, n int, d time.Duration) (*round, error) {
	if w.trial != nil {
		return w.trial(ctx, s, w, n, d)
	}
	return s.measure(ctx, w, n, d)
}
