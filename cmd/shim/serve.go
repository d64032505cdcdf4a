package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"warmcgi/internal/config"
	"warmcgi/internal/confine"
	"warmcgi/internal/gateway"
	"warmcgi/internal/serving"
)

type serveCmd struct {
	Path   string   `arg:"" help:"A script, which then answers everything, or a folder of scripts, whose names are in the URLs."`
	Listen []string `sep:"none" default:"tcp:127.0.0.1:9000" placeholder:"ADDR" help:"Where to listen for FastCGI: tcp:HOST:PORT, tls:HOST:PORT or unix:/path; may be given again (default ${default})."`
	Prefix string   `placeholder:"/cgi-bin/" help:"The path of the URL at which the front server has PATH. Without it the front server's variables have to say so (see docs/script-host.md): a gateway's and Apache's do, plain nginx's don't."`
	Admin  string   `placeholder:"ADDR" help:"Address of the dashboard, /metrics, /status, /healthz and /readyz: HOST:PORT or unix:/path. One that other machines can reach needs --admin-token-file."`

	AdminTokenFile string `type:"path" placeholder:"FILE" help:"File with the token that the admin door wants for everything but /healthz and /readyz: 16 characters or more."`

	Wait time.Duration `default:"30s" help:"How long requests may go on when the host is asked to end (SIGTERM)."`

	scriptFlags `embed:"" group:"Scripts"`
	doorFlags   `embed:"" group:"Who may come in"`
	logFlags    `embed:"" group:"Logs"`
}

// scriptFlags say how scripts are run. They are keys of the gateway's configuration.
type scriptFlags struct {
	Mode          string            `enum:"auto,spawn,warm,reuse" default:"auto" help:"How scripts are run: spawn, warm, reuse or auto."`
	Workers       int               `placeholder:"N" help:"The most processes of one script at once; 0 is chosen from the machine."`
	Processes     int               `placeholder:"N" help:"The most processes of all scripts together; 0 is chosen from the machine. warmcgi_places says how many, and of how many are busy autoscalers make their decisions."`
	Timeout       time.Duration     `placeholder:"TIME" help:"How long a request may take, and its script be silent (default: 5m, and silent for 1m)."`
	Env           []string          `sep:"none" placeholder:"NAME=VALUE" help:"Variable of the scripts' environment; may be given again. Of the host's own they get nothing."`
	Interpreter   map[string]string `mapsep:"none" placeholder:".EXT=PROGRAM" help:"What runs files with this extension that are not executable; may be given again."`
	Authorization string            `enum:"hide,pass" default:"hide" help:"Whether scripts get the client's password and tokens, as HTTP_AUTHORIZATION: hide or pass."`
	User          string            `placeholder:"USER" help:"Run the scripts as this user (or USER:GROUP). The host has to be root for that."`
	Limit         map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"A limit of the scripts' processes: memory=512MiB, cpu=30s, processes=64, files=256, file_size=1GiB; may be given again."`
}

// doorFlags say who may come in.
type doorFlags struct {
	TLSCert     string   `name:"tls-cert" type:"path" placeholder:"FILE" help:"Certificate for tls: addresses (PEM); read again when it changes."`
	TLSKey      string   `name:"tls-key" type:"path" placeholder:"FILE" help:"Its private key (PEM)."`
	TLSClientCA string   `name:"tls-client-ca" type:"path" placeholder:"FILE" help:"Certificates of those who sign a front server's (PEM): without such a certificate nobody gets in."`
	Allow       []string `placeholder:"NETWORK" help:"Networks or addresses that may connect by tcp: and tls: (10.0.0.0/8); may be given again. Without it, all."`
	SocketMode  string   `default:"0660" help:"Permissions of unix: sockets."`
}

type logFlags struct {
	AccessLog string `placeholder:"FILE" help:"Log each request in the combined format, to a file (reopened on SIGUSR1) or to the word stdout. The front server has one already, so there is none by default."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"The least that the log on standard error shows; debug also says why a URL names no script."`
	LogFormat string `enum:"text,json" default:"text" help:"Form of that log: text or json."`
}

// Help is what `shim serve --help` says beside the flags.
func (serveCmd) Help() string {
	return `Examples:

  shim serve /srv/cgi-bin --listen tcp:10.0.0.5:9000 --allow 10.0.0.0/8
  shim serve /srv/search.pl --listen unix:/run/search.sock --mode reuse

FastCGI has neither secrecy nor identity: who can connect can run the scripts in anybody's name. Listen at a Unix socket or
127.0.0.1, at tls: with --tls-client-ca, or give --allow.

What has no flag here has a key in the gateway's configuration: a gateway with a fastcgi door serves scripts by the same code.`
}

// Run serves until it is told to end.
func (c *serveCmd) Run(out io.Writer) error {
	conf, err := c.config()
	if err != nil {
		return err
	}
	log, level := serving.NewLog(conf.Log)
	s, err := gateway.New(conf, gateway.Options{Log: log, Level: level, Shim: serving.Self()})
	if err != nil {
		return serving.Friendly(err)
	}
	serving.PrintDoors(out, s)
	serving.PrintAdmin(out, s)
	return (&serving.Process{Server: s, Log: log, Wait: c.Wait}).Run()
}

// config is what the flags say.
func (c *serveCmd) config() (*config.Config, error) {
	conf, rt, err := config.ForHost(c.Path)
	if err != nil {
		return nil, err
	}
	if err := c.scriptFlags.set(rt); err != nil {
		return nil, err
	}
	if conf.MaxProcesses = c.Processes; c.Processes < 0 {
		return nil, fmt.Errorf("--processes %d: is negative", c.Processes)
	}
	if err := c.logFlags.set(conf); err != nil {
		return nil, err
	}
	if c.Admin != "" {
		if conf.Admin.Listen, err = config.ParseAddress(c.Admin); err != nil {
			return nil, fmt.Errorf("--admin: %w", err)
		}
		if conf.Admin.Listen.Network() == "tls" {
			return nil, fmt.Errorf("--admin %s: only --listen can be tls", c.Admin)
		}
	}
	if conf.Admin.TokenFile = c.AdminTokenFile; c.AdminTokenFile != "" && c.Admin == "" {
		return nil, errors.New("--admin-token-file goes with --admin")
	}
	doors, err := c.doors(c.Listen)
	if err != nil {
		return nil, err
	}
	return conf, conf.Host(rt, c.Prefix, doors...)
}

func (f *scriptFlags) set(rt *config.Route) (err error) {
	rt.Mode, rt.Authorization = config.Mode(f.Mode), config.Authorization(f.Authorization)
	if rt.Workers.Max = f.Workers; f.Workers < 0 {
		return fmt.Errorf("--workers %d: is negative", f.Workers)
	}
	if d := config.Duration(f.Timeout); d > 0 {
		rt.Timeout.FirstByte, rt.Timeout.Idle, rt.Timeout.Total = d, d, d
	} else if d < 0 {
		return fmt.Errorf("--timeout %s: is negative", f.Timeout)
	}
	if rt.Env, err = config.ParseEnv(f.Env); err != nil {
		return fmt.Errorf("--env: %w", err)
	}
	if rt.Limits, err = config.ParseLimits(f.Limit); err != nil {
		return fmt.Errorf("--limit: %w", err)
	}
	if rt.Interpreters = f.Interpreter; rt.Interpreters == nil {
		rt.Interpreters = map[string]string{}
	}
	for ext, program := range rt.Interpreters {
		if !strings.HasPrefix(ext, ".") || !strings.HasPrefix(program, "/") {
			return fmt.Errorf("--interpreter %s=%s: write it like .pl=/usr/bin/perl", ext, program)
		}
	}
	if rt.User = f.User; f.User != "" {
		if !confine.Supported {
			return errors.New("--user needs Linux")
		}
		if rt.RunAs, err = confine.Lookup(f.User); err != nil {
			return fmt.Errorf("--user: %w", err)
		}
	}
	return rt.CheckProgram()
}

// doors are those at the addresses.
func (f *doorFlags) doors(addrs []string) ([]config.Listener, error) {
	var allow config.Prefixes
	for _, text := range f.Allow {
		var p config.Prefix
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return nil, fmt.Errorf("--allow: %w", err)
		}
		if p.Unix {
			return nil, errors.New("--allow unix: who may open a unix socket is what --socket-mode says")
		}
		allow = append(allow, p)
	}
	var mode config.FileMode
	if err := mode.UnmarshalText([]byte(f.SocketMode)); err != nil {
		return nil, fmt.Errorf("--socket-mode: %w", err)
	}
	var list []config.Listener
	secret := false
	for _, text := range addrs {
		l := config.Listener{SocketMode: mode}
		var err error
		if l.FastCGI, err = config.ParseAddress(text); err != nil {
			return nil, fmt.Errorf("--listen: %w", err)
		}
		if l.FastCGI.Network() != "unix" {
			l.Allow = allow
		}
		if l.FastCGI.Network() == "tls" {
			if f.TLSCert == "" || f.TLSKey == "" {
				return nil, fmt.Errorf("--listen %s needs --tls-cert and --tls-key", text)
			}
			secret, l.TLS = true, &config.DoorTLS{Cert: f.TLSCert, Key: f.TLSKey, ClientCA: f.TLSClientCA}
		}
		list = append(list, l)
	}
	if !secret && f.TLSCert+f.TLSKey+f.TLSClientCA != "" {
		return nil, errors.New("--tls-cert, --tls-key and --tls-client-ca go with --listen tls:HOST:PORT")
	}
	return list, nil
}

func (f *logFlags) set(c *config.Config) error {
	c.Log.Level, c.Log.Format = config.LogLevel(f.LogLevel), config.LogFormat(f.LogFormat)
	if f.AccessLog != "" {
		c.Log.Access = config.AccessLog{To: f.AccessLog, Format: config.AccessCombined}
	}
	return nil
}
