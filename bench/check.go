package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"
)

// checkCommand prints how the gateway stands against others. It is for a machine that does
// other things beside it, so it judges nothing: a figure there is one to look at.
type checkCommand struct {
	Within time.Duration `default:"1m" help:"When that is over, what was measured so far is printed."`
}

// checked are the workloads, the most telling first.
var checked = []string{"c", "perl-form", "python-form", "ruby-form", "perl-heavy", "php-form-4", "down-100mib", "up-100mib", "perl-form-1"}

func (c *checkCommand) Run(ctx context.Context) error { return c.run(ctx, os.Stdout) }

func (c *checkCommand) run(ctx context.Context, out io.Writer) error {
	o := options{Rounds: 2, Seconds: 0.3, Connections: 16, Workloads: checked, Servers: serverNames(), quick: true}
	// It takes long where nothing of it was built before, which the measuring needn't pay for.
	if b, err := exec.CommandContext(ctx, "go", "build", "-o", os.DevNull, gatewayPackage).CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, b)
	}
	limited, cancel := context.WithTimeout(ctx, c.Within)
	defer cancel()
	all, err := measureWorkloads(limited, o, io.Discard)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fmt.Fprintf(out, "speed, at a glance (%d rounds of %g s; %s, load average %s): ratios in one run, which other work on the machine distorts; CPU the least\n\n", o.Rounds, o.Seconds, machine(), loadAverage())
	for _, f := range findings(o, all) {
		if f.measured {
			fmt.Fprintf(out, "  %v\n", f)
		}
	}
	for _, r := range all {
		if r.Missing+r.Failed != "" {
			fmt.Fprintf(out, "  %s%s: not measured: %s%s\n", r.prefix(), r.Workload, r.Missing, r.Failed)
		}
	}
	if limited.Err() != nil {
		fmt.Fprintf(out, "  stopped after %v\n", c.Within)
	} else if err != nil {
		fmt.Fprintf(out, "  %v\n", err)
	}
	return nil
}

// quickServers are those that the goals of a workload name, with the two fastest of those
// that spawn for all of them.
func quickServers(workload string) (names []string) {
	for _, g := range goals {
		if g.workload != workload {
			continue
		}
		names = append(names, g.server)
		if peers := g.peers; len(peers) > 2 {
			names = append(names, peers[:2]...)
		} else {
			names = append(names, peers...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
