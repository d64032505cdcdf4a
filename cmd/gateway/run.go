package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
)

type runCmd struct {
	Script string `arg:"" help:"The program."`
	requestFlags
	Env         []string      `sep:"none" placeholder:"NAME=VALUE" help:"Variable of the base environment; may be given again."`
	Interpreter string        `placeholder:"PROGRAM" help:"What runs the file if it is not executable."`
	Timeout     time.Duration `default:"60s" help:"How long it may take."`
	confineFlags
}

// Run sends one request through the gateway as it is, without a network, and prints
// the answer as HTTP. What the script writes to standard error goes to ours.
func (c *runCmd) Run(out io.Writer) error {
	conf, err := c.config()
	if err != nil {
		return err
	}
	r, err := c.request(filepath.Base(c.Script))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	s, err := gateway.New(conf, gateway.Options{
		Log:    log,
		Shim:   shimCommandLine(),
		Stderr: func(_ *cgi.Request, line string) { fmt.Fprintln(os.Stderr, line) },
	})
	if err != nil {
		return err
	}
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w := &printer{out: out, header: http.Header{}}
	broken := answer(s, w, r.WithContext(interrupted)) // a script ends with us, and all that it has started
	if err := shutdown(s); err != nil {
		return err
	}
	if broken || w.status >= 500 {
		return errSilent
	}
	return w.err
}

// config is a site of this one program.
func (c *runCmd) config() (*config.Config, error) {
	file, err := filepath.Abs(c.Script)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder; `gateway serve %s` serves it", c.Script, c.Script)
	}
	if err := checkExecutable(c.Script, info, c.Interpreter); err != nil {
		return nil, err
	}
	conf, err := config.ForDir(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	rt := conf.Routes[0]
	rt.Path, rt.Files, rt.Mode = "/", nil, config.ModeSpawn
	if err := c.confine(&rt); err != nil {
		return nil, err
	}
	rt.CGI = &config.CGI{Dir: filepath.Dir(file)}
	rt.Symlinks = config.SymlinksFollow
	rt.Authorization = config.AuthorizationPass
	d := config.Duration(c.Timeout)
	rt.Timeout.FirstByte, rt.Timeout.Idle, rt.Timeout.Total = d, d, d
	if c.Interpreter != "" {
		rt.Interpreters = map[string]string{filepath.Ext(file): c.Interpreter}
	}
	if rt.Env, err = config.ParseEnv(c.Env); err != nil {
		return nil, fmt.Errorf("--env: %w", err)
	}
	conf.Routes, conf.Listen = []config.Route{rt}, nil
	conf.Log.Access.Format = config.AccessOff
	return conf, nil
}

// answer reports whether the answer broke off.
func answer(s *gateway.Server, w http.ResponseWriter, r *http.Request) (broken bool) {
	defer func() {
		if e := recover(); e != nil {
			if err, ok := e.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(e)
			}
			broken = true
		}
	}()
	s.ServeHTTP(w, r)
	return false
}

// printer is an [http.ResponseWriter] that prints.
type printer struct {
	out    io.Writer
	header http.Header
	status int
	err    error
}

func (p *printer) Header() http.Header { return p.header }

func (p *printer) WriteHeader(code int) { p.WriteStatus(code, http.StatusText(code)) }

// WriteStatus takes a script's own reason phrase.
func (p *printer) WriteStatus(code int, reason string) {
	if p.status != 0 || code < 200 {
		return
	}
	p.status = code
	_, p.err = fmt.Fprintf(p.out, "HTTP/1.1 %d %s\r\n", code, reason)
	p.header.Write(p.out)
	io.WriteString(p.out, "\r\n")
}

func (p *printer) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	n, err := p.out.Write(b)
	if err != nil {
		p.err = err
	}
	return n, err
}

func (p *printer) Flush() {}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
