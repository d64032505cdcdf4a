package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
	"warmcgi/internal/serving"
)

type serveCmd struct {
	Dir    string        `arg:"" optional:"" help:"Folder to serve: its files, the scripts among them, and its cgi-bin. Without it and without --config: the built-in example."`
	Config string        `short:"c" placeholder:"FILE" help:"Configuration file."`
	Listen string        `placeholder:"ADDR" help:"Address for DIR or the example: HOST:PORT or unix:/path (default 127.0.0.1:8080)."`
	Wait   time.Duration `default:"30s" help:"How long requests may go on when the gateway is asked to end (SIGTERM), or another process has taken over (SIGUSR2)."`

	PIDFile string `name:"pid-file" type:"path" placeholder:"FILE" help:"File for the number of the process that serves, also after an upgrade."`
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
	up, err := serving.NewUpgrader(c.PIDFile)
	if err != nil {
		return err
	}
	defer up.Stop()
	conf, err := c.load(dir)
	if err != nil {
		return up.Failed(err)
	}
	log, level := serving.NewLog(conf.Log)
	for _, n := range conf.Notes {
		log.Warn("a key of the configuration may not do what it seems to", "why", n.Summary())
	}
	s, err := gateway.New(conf, gateway.Options{Log: log, Level: level, Shim: shimCommandLine(), Sockets: up.Sockets})
	if err != nil {
		return up.Failed(serving.Friendly(err))
	}
	serving.PrintDoors(out, s)
	if c.Dir == "" && c.Config == "" {
		c.printExample(out, s.Addrs()[0])
	}
	serving.PrintAdmin(out, s)
	p := &serving.Process{Server: s, Log: log, Wait: c.Wait, Upgrader: up, Load: func() (*config.Config, error) { return c.load(dir) }}
	return p.Run()
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

// loadConfigOrFolder reads a file, or makes what serves a folder.
func loadConfigOrFolder(name string) (*config.Config, error) {
	conf, err := loadConfig(name)
	if err == nil {
		return conf, nil
	}
	if dir, derr := config.ForDir(name); derr == nil {
		return dir, nil
	}
	return nil, err
}
