// Bench measures CGI servers side by side, in one run: see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Rounds      int      `default:"5" help:"How often each server is measured; they take turns: A B C A B C …"`
	Seconds     float64  `default:"3" help:"Length of one measurement."`
	Connections int      `default:"16" help:"Keep-alive connections that ask as fast as they are answered."`
	Workloads   []string `default:"c,perl-form,python-heavy,python-form,ruby-form" help:"Programs to run: hello in c, sh, perl, python; perl-form, python-heavy, python-form, ruby-form."`
	Servers     []string `default:"warmcgi,warmcgi-warm,warmcgi-reuse,nethttp,lighttpd,fcgiwrap,apache,mod_perl,gunicorn,puma" help:"Servers to measure, each where it can serve the workload."`
	Require     []string `help:"Servers that must be there; others are only reported as not installed."`
	JSON        string   `placeholder:"FILE" help:"Also write all figures there."`
}

// Validate is called by kong.
func (o *options) Validate() error {
	if o.Rounds < 1 || o.Rounds > 1000 || o.Connections < 1 || o.Connections > 1024 || !(o.Seconds > 0 && o.Seconds <= 600) {
		return errors.New("--rounds is 1 to 1000, --connections 1 to 1024, --seconds above 0 and at most 600")
	}
	for _, name := range o.Servers {
		if _, err := kindOf(name); err != nil {
			return err
		}
	}
	for _, name := range o.Require {
		if !slices.Contains(o.Servers, name) {
			return fmt.Errorf("--require %s: it is not one of --servers", name)
		}
	}
	return nil
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == nethttpRole {
		if err := serveNetHTTP(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	kong.Parse(&o, kong.Name("bench"), kong.Description("CGI servers side by side: requests per second, latency, and CPU per request of the whole process tree."))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted; the servers were stopped")
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures one workload after the other.
func run(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "warmcgi-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // servers may drop root
		return err
	}
	var all []*result
	for _, name := range o.Workloads {
		w, err := prepare(name, dir)
		if err != nil {
			return fmt.Errorf("workload %s: %w", name, err)
		}
		results, err := measureAll(ctx, o, w, dir, out)
		if err != nil {
			return fmt.Errorf("workload %s: %w", name, err)
		}
		printReport(out, o, w, results)
		all = append(all, results...)
	}
	printGoals(out, o, all)
	if o.JSON != "" {
		return writeJSON(o.JSON, o, all)
	}
	return nil
}

// measureAll starts the servers and lets them take turns.
func measureAll(ctx context.Context, o options, w *workload, dir string, out io.Writer) ([]*result, error) {
	var results []*result
	running := map[string]*server{}
	for _, name := range o.Servers {
		k, err := kindOf(name)
		if err != nil {
			return nil, err
		}
		if !k.serves(w) {
			continue
		}
		s, err := k.start(ctx, task{dir, w, o.Connections})
		var missing notInstalled
		if errors.As(err, &missing) && !slices.Contains(o.Require, name) {
			fmt.Fprintf(out, "%s: %v\n", name, err)
			results = append(results, &result{Server: name, Workload: w.name, Missing: err.Error()})
			continue
		}
		if s != nil {
			defer s.stop() // also one that has started in part
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := s.await(ctx, w); err != nil {
			return nil, fmt.Errorf("%s does not answer: %w", name, err)
		}
		if s.gateway != nil {
			if err := s.gateway.await(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		results = append(results, &result{Server: name, Version: s.version, Workload: w.name, Counted: s.counted(), kind: k})
		running[name] = s
	}
	for range o.Rounds {
		for _, r := range measured(results) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			round, err := running[r.Server].measure(ctx, w, o.Connections, time.Duration(o.Seconds*float64(time.Second)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.Server, err)
			}
			r.Rounds = append(r.Rounds, round)
		}
	}
	return results, nil
}
