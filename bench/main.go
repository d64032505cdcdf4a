// Bench measures CGI servers side by side, in one run: see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands is the command line. Without a command it is peers.
type commands struct {
	Peers  options       `cmd:"" default:"withargs" help:"Compare the gateway with the servers that are installed (this is what runs without a command)."`
	Check  checkCommand  `cmd:"" help:"Print the main ratios from a run of a minute. No figure fails it."`
	Render renderCommand `cmd:"" help:"Write the tables and pictures of an earlier run anew."`
}

type options struct {
	Rounds      int      `default:"5" help:"How often each server is measured; they take turns: A B C A B C …"`
	Seconds     float64  `default:"2" help:"Length of one measurement."`
	Connections int      `default:"16" help:"Keep-alive connections that ask as fast as they are answered, where the workload has no number of its own."`
	Workloads   []string `default:"all" help:"Programs to run: ${workloads}."`
	Servers     []string `default:"all" help:"Servers to measure, each where it can serve the workload: ${servers}."`
	Require     []string `help:"Servers that must be there; others are only reported as not installed."`
	JSON        string   `placeholder:"FILE" help:"Also write all figures there."`
	Markdown    string   `placeholder:"FILE" help:"Also write tables of them there: between the lines <!-- bench NAME --> and <!-- bench end --> of a page that has such (NAME is goals or figures), else a page of its own."`
	SVG         string   `placeholder:"DIR" help:"Also write a picture for each workload there; --markdown shows them."`

	// quick leaves out the servers that no goal of a workload names.
	quick bool
}

// Validate is called by kong.
func (o *options) Validate() error {
	if o.Rounds < 1 || o.Rounds > 1000 || o.Connections < 1 || o.Connections > 1024 || !(o.Seconds > 0 && o.Seconds <= 600) {
		return errors.New("--rounds is 1 to 1000, --connections 1 to 1024, --seconds above 0 and at most 600")
	}
	o.Workloads, o.Servers = allOf(o.Workloads, workloadNames()), allOf(o.Servers, usualServers())
	for _, name := range o.Workloads {
		if !slices.Contains(workloadNames(), name) {
			return fmt.Errorf("--workloads %s: %w", name, errNoWorkload)
		}
	}
	for _, name := range o.Servers {
		if _, err := kindOf(name); err != nil {
			return fmt.Errorf("--servers: %w", err)
		}
	}
	for _, name := range o.Require {
		if !slices.Contains(o.Servers, name) {
			return fmt.Errorf("--require %s: it is not one of --servers", name)
		}
	}
	return checkPage(o.Markdown)
}

// allOf replaces the word all.
func allOf(names, all []string) []string {
	if len(names) == 1 && names[0] == "all" {
		return all
	}
	return names
}

// Run is the command peers.
func (o *options) Run(ctx context.Context) error { return run(ctx, *o, os.Stdout) }

func main() {
	if len(os.Args) > 1 && os.Args[1] == nethttpRole {
		if err := serveNetHTTP(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c commands
	k := kong.Parse(&c, kong.Name("bench"), kong.BindTo(ctx, (*context.Context)(nil)), namesForHelp(),
		kong.Description("CGI servers side by side: requests per second, latency, and CPU per request of the whole process tree."))
	if err := k.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted; the servers were stopped")
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
