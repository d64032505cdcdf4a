package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
)

type serveCmd struct {
	Dir    string        `arg:"" optional:"" help:"Folder to serve: its files, the scripts among them, and its cgi-bin. Without it and without --config: the built-in example."`
	Config string        `short:"c" placeholder:"FILE" help:"Configuration file."`
	Listen string        `placeholder:"ADDR" help:"Address for DIR or the example: HOST:PORT or unix:/path (default 127.0.0.1:8080)."`
	Wait   time.Duration `default:"30s" help:"How long requests may go on when the gateway is asked to end (SIGTERM)."`
}

func (c *serveCmd) Run(out io.Writer) error {
	dir := c.Dir
	if dir == "" && c.Config == "" {
		var err error
		if dir, err = exampleSite(); err != nil {
			return fmt.Errorf("writing the example site: %w", err)
		}
		defer os.RemoveAll(dir)
	}
	conf, err := c.load(dir)
	if err != nil {
		return err
	}
	log := newLog(conf.Log)
	for _, n := range conf.Notes {
		log.Warn("a key of the configuration may not do what it seems to", "why", n.Summary())
	}
	s, err := gateway.New(conf, gateway.Options{Log: log, Shim: shimCommandLine()})
	if err != nil {
		return friendly(err)
	}
	for _, url := range s.Addrs() {
		fmt.Fprintln(out, "serving", url)
	}
	if c.Dir == "" && c.Config == "" {
		c.printExample(out, s.Addrs()[0])
	}
	if a := s.AdminAddr(); a != nil {
		fmt.Fprintf(out, "admin   %s (metrics, status, healthz, readyz)\n", adminURL(a))
	}
	stopReaper := reapOrphans(log, s.Owns)
	defer stopReaper()
	return c.serve(s, log)
}

func adminURL(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return "http://" + a.String() + "/"
}

// printExample shows the URLs of the example.
func (c *serveCmd) printExample(out io.Writer, base string) {
	if !strings.HasPrefix(base, "http") || strings.Contains(base, "unix:") {
		return
	}
	for _, p := range examplePrograms() {
		if p.Installed {
			fmt.Fprintf(out, "        %scgi-bin/%s\t%s (%s)\n", base, p.File, p.Shows, p.Language)
		}
	}
}

// load finds the configuration: a file's, or one for a folder.
func (c *serveCmd) load(dir string) (*config.Config, error) {
	switch {
	case c.Config != "" && c.Dir != "":
		return nil, errors.New("give either a folder or --config, not both")
	case c.Config != "" && c.Listen != "":
		return nil, errors.New("--listen goes with a folder; with --config the doors are in the file")
	case c.Config != "":
		return loadConfig(c.Config)
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is a file: to serve a configuration write `gateway serve --config %s`, to run one script `gateway run %s`", dir, dir, dir)
	}
	conf, err := config.ForDir(dir)
	if err != nil {
		return nil, err
	}
	if c.Dir == "" {
		exampleConfig(conf)
	}
	if c.Listen != "" {
		a, err := config.ParseAddress(c.Listen)
		if err != nil {
			return nil, err
		}
		conf.Listen[0].HTTP = a
	}
	return conf, nil
}

// loadConfig reads a file to serve it.
func loadConfig(file string) (*config.Config, error) { return config.Load(file, config.Options{}) }

// serve runs until SIGINT or SIGTERM; a second one does not wait. SIGUSR1 reopens
// the logs.
func (c *serveCmd) serve(s *gateway.Server, log *slog.Logger) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1)
	defer signal.Stop(signals)
	failed := make(chan error, 1)
	go func() { failed <- s.Serve() }() // ends with Shutdown
	for {
		select {
		case err := <-failed:
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return errors.Join(err, s.Shutdown(ctx))
		case sig := <-signals:
			if sig == syscall.SIGUSR1 {
				reopenLogs(s, log)
				continue
			}
			log.Info("ending: waiting for requests", "signal", sig.String(), "at_most", c.Wait)
			ctx, cancel := context.WithTimeout(context.Background(), c.Wait)
			go func() { // ends with the process
				for sig := range signals {
					if sig != syscall.SIGUSR1 {
						cancel()
						return
					}
					reopenLogs(s, log)
				}
			}()
			err := s.Shutdown(ctx)
			cancel()
			return errors.Join(err, <-failed)
		}
	}
}

func reopenLogs(s *gateway.Server, log *slog.Logger) {
	if err := s.ReopenLogs(); err != nil {
		log.Error("can't reopen the access log; the old one stays", "err", err)
	}
}

// newLog is the gateway's own log.
func newLog(c config.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level.Slog()}
	if c.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// friendly adds what to do about the errors that people meet first.
func friendly(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w\nSomething else listens there; choose another address with --listen, or in the configuration file", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w\nPorts below 1024 need root, or the capability CAP_NET_BIND_SERVICE", err)
	}
	return err
}
