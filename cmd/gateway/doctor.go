package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/doctor"
	"warmcgi/internal/pool"
)

type doctorCmd struct {
	File    string        `arg:"" optional:"" help:"Configuration file, or a folder as for serve."`
	Config  string        `short:"c" placeholder:"FILE" help:"Configuration file, as serve has it."`
	NoLoad  bool          `help:"Look at the files only; load no script."`
	Timeout time.Duration `default:"30s" help:"How long one script may take to load."`
	All     bool          `short:"a" help:"Show scripts that nothing is to be said of, too."`
	JSON    bool          `name:"json" help:"Print a JSON array, an object for each script, server and authority."`
}

// Run ends with status 1 where some request would fail.
func (c *doctorCmd) Run(out io.Writer) error {
	file, err := oneOf(c.File, c.Config)
	if err != nil {
		return fmt.Errorf("%w, or a folder: gateway doctor FILE", err)
	}
	conf, err := loadConfigOrFolder(file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o := doctor.Options{Timeout: c.Timeout}
	if !c.NoLoad {
		o.Pools = loader
	}
	var bad []error
	for _, e := range conf.CheckFiles() {
		bad = append(bad, e)
	}
	if !c.JSON {
		for _, e := range bad {
			fmt.Fprintln(out, e)
		}
		o.Done = func(p doctor.Patient) { c.show(out, p) }
	}
	all, err := doctor.Examine(ctx, conf, o)
	if err != nil {
		return err
	}
	faults := len(bad)
	for _, p := range all {
		if p.Fails() {
			faults++
		}
	}
	if c.JSON {
		if err := json.NewEncoder(out).Encode(all); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(out, doctorSummary(all, faults))
	}
	if faults > 0 {
		return errSilent
	}
	return nil
}

// loader is what loads one script as a gateway does.
func loader() (*pool.Set, func(), error) {
	log := slog.New(slog.DiscardHandler)
	spawn, err := cgi.NewSpawn(cgi.SpawnConfig{Log: log, Shim: shimCommandLine()})
	if err != nil {
		return nil, nil, err
	}
	set, err := pool.New(pool.Config{Spawn: spawn, Shim: shimCommandLine(), Processors: 1, Log: log})
	if err != nil {
		return nil, nil, err
	}
	return set, func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		set.Close(ctx)
		spawn.Close(ctx)
	}, nil
}

func (c *doctorCmd) show(out io.Writer, p doctor.Patient) {
	if len(p.Findings) == 0 && !c.All {
		return
	}
	name := string(p.Kind) + " " + p.Name
	if p.File != "" && p.File != name {
		name += "  " + p.File
	}
	switch {
	case p.Fails():
		name += ": does not work"
	case p.Loaded != "":
		name += ": " + string(p.Mode) + " (" + p.Loaded + ")"
	case p.Mode != "":
		name += ": " + string(p.Mode)
	}
	fmt.Fprintln(out, name)
	for _, f := range p.Findings {
		fmt.Fprintf(out, "  %-8s %s\n", f.Level, f.Text)
		if f.Advice != "" {
			fmt.Fprintf(out, "  %-8s -> %s\n", "", f.Advice)
		}
	}
}

func doctorSummary(all []doctor.Patient, faults int) string {
	modes := map[cgi.Mode]int{}
	scripts, servers, authorities := 0, 0, 0
	for _, p := range all {
		switch {
		case p.Kind == doctor.KindServer:
			servers++
		case p.Kind == doctor.KindAuthority:
			authorities++
		case p.Kind == doctor.KindScript:
			if scripts++; !p.Fails() {
				modes[p.Mode]++
			}
		}
	}
	parts := []string{count(scripts, "script")}
	for _, m := range []cgi.Mode{cgi.ModeReuse, cgi.ModeWarm, cgi.ModeSpawn} {
		if modes[m] > 0 {
			parts = append(parts, fmt.Sprintf("%d may be %s", modes[m], m))
		}
	}
	if servers > 0 {
		parts = append(parts, count(servers, "FastCGI server"))
	}
	switch {
	case authorities == 1:
		parts = append(parts, "1 authority")
	case authorities > 1:
		parts = append(parts, fmt.Sprintf("%d authorities", authorities))
	}
	if faults == 0 {
		return strings.Join(parts, ", ") + ": no fault found"
	}
	return strings.Join(parts, ", ") + ": " + count(faults, "fault")
}
