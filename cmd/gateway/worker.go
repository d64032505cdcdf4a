package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/confine"
	"warmcgi/internal/pool"
)

type workerCmd struct {
	Script      string        `arg:"" type:"existingfile" help:"The script."`
	Mode        string        `enum:"warm,reuse" default:"warm" help:"Mode: warm or reuse."`
	Runner      string        `type:"existingfile" placeholder:"FILE" help:"A runner in place of the built-in one of the script's language (docs/worker-protocol.md)."`
	Interpreter string        `placeholder:"PROGRAM" help:"What runs the file if it is not executable."`
	Captured    bool          `help:"Reuse a Perl script that captures lexicals all the same."`
	Preload     []string      `placeholder:"MODULE" help:"A module that is loaded before the script, as preload of a route; may be given again."`
	Env         []string      `sep:"none" placeholder:"NAME=VALUE" help:"Variable of the base environment; may be given again. PATH is what a configuration without env has."`
	Query       string        `placeholder:"a=1" help:"The query of each request."`
	Body        string        `type:"existingfile" placeholder:"FILE" help:"A file with the body of each request."`
	Requests    int           `default:"3" help:"How many requests are made, one after another."`
	Timeout     time.Duration `default:"30s" help:"How long it may take to be loaded, and for one answer."`
	Quiet       bool          `short:"q" help:"Leave the protocol's lines out."`
	confineFlags
}

// Run loads the script as the gateway would in mode warm or reuse, shows each line of the
// worker protocol, and compares the answers with those of plain CGI.
func (c *workerCmd) Run(out io.Writer) (err error) {
	if err := c.runnable(); err != nil {
		return err
	}
	t := &workerTest{workerCmd: c, out: &lockedWriter{w: out}}
	if t.rules, err = c.rules(); err != nil {
		return err
	}
	if t.file, err = filepath.Abs(c.Script); err != nil {
		return err
	}
	if t.env, err = baseEnv(filepath.Dir(t.file), c.Env); err != nil {
		return err
	}
	if c.Body != "" {
		if t.body, err = os.ReadFile(c.Body); err != nil {
			return err
		}
	}
	if c.Runner != "" {
		if c.Runner, err = filepath.Abs(c.Runner); err != nil {
			return err
		}
	}
	var stop context.CancelFunc
	t.interrupted, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return t.run()
}

// baseEnv is what scripts of a folder get without a configuration, and more.
func baseEnv(dir string, words []string) (list []string, err error) {
	more, err := config.ParseEnv(words)
	if err != nil {
		return nil, fmt.Errorf("--env: %w", err)
	}
	conf, err := config.ForDir(dir)
	if err != nil {
		return nil, err
	}
	maps.Copy(conf.Env, more)
	for name, value := range conf.Env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list, nil
}

// runnable: something has to run the file.
func (c *workerCmd) runnable() error {
	info, err := os.Stat(c.Script)
	if err != nil {
		return err
	}
	return checkExecutable(c.Script, info, c.Interpreter+c.Runner)
}

// workerTest is a pool of one script.
type workerTest struct {
	*workerCmd
	file string
	body []byte
	// rules are who the script runs as, and its limits.
	rules *confine.Rules
	env   []string
	out   *lockedWriter
	set   *pool.Set
	// interrupted ends with Ctrl-C, and what was started ends with it.
	interrupted context.Context
}

// closeTime is how long what was started may take to end.
const closeTime = 30 * time.Second

func (t *workerTest) stopped() bool { return t.interrupted.Err() != nil }

func (t *workerTest) run() error {
	log := slog.New(slog.DiscardHandler)
	stderr := func(_ *cgi.Request, line string) { fmt.Fprintln(t.out, "stderr:", line) }
	spawn, err := cgi.NewSpawn(cgi.SpawnConfig{Log: log, Stderr: stderr, Shim: shimCommandLine()})
	if err != nil {
		return err
	}
	conf := pool.Config{Spawn: spawn, Shim: shimCommandLine(), Processors: 1, Log: log, Stderr: stderr}
	if !t.Quiet {
		conf.Trace = func(sent bool, line string) {
			if sent {
				fmt.Fprintln(t.out, "->", line)
			} else {
				fmt.Fprintln(t.out, "<-", line)
			}
		}
	}
	if t.set, err = pool.New(conf); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		t.set.Close(ctx)
		spawn.Close(ctx)
	}()
	return t.compare()
}

func (t *workerTest) compare() error {
	w := &cgi.Workers{Mode: cgi.Mode(t.Mode), Max: 1, Spare: 1, AcceptCaptured: t.Captured, Runner: t.Runner, Preload: t.Preload}
	plain := t.ask(nil)
	fmt.Fprintf(t.out, "plain CGI:  %s\n", plain)
	if t.stopped() {
		return errSilent
	}
	st, err := t.load(w)
	if err != nil {
		return err
	}
	differ := 0
	for i := range t.Requests {
		a := t.ask(w)
		if t.stopped() {
			return errSilent
		}
		verdict := plain.differs(a)
		fmt.Fprintf(t.out, "request %d:  %s: %s\n", i+1, a, cmp.Or(verdict, "as plain CGI"))
		if a.mode != st.Mode {
			return fmt.Errorf("request %d was answered in mode %s: %s", i+1, a.mode, strings.TrimSpace(t.status().Why))
		}
		if verdict != "" && (t.Runner == "" || plain.err == nil) { // a runner's script need not be a program
			differ++
		}
	}
	if differ > 0 {
		fmt.Fprintf(t.out, "%d of %d answers differ (times, process ids and random numbers do, of course)\n", differ, t.Requests)
		return errSilent
	}
	return nil
}

// load asks once, which begins to load the script while plain CGI answers, and waits until
// it can be asked in its mode.
func (t *workerTest) load(w *cgi.Workers) (pool.Status, error) {
	began := time.Now()
	answered := make(chan struct{})
	go func() { // ends with the answer
		defer close(answered)
		t.ask(w)
	}()
	st, err := t.loaded(began)
	<-answered
	return st, err
}

func (t *workerTest) loaded(began time.Time) (pool.Status, error) {
	for ; time.Since(began) < t.Timeout && !t.stopped(); time.Sleep(5 * time.Millisecond) {
		st := t.status()
		why := strings.TrimSpace(st.Why)
		switch {
		case st.State == pool.Ready && string(st.Mode) == t.Mode:
			fmt.Fprintf(t.out, "loaded:     %s, %d files, after %s\n", st.Language, st.Files, time.Since(began).Round(time.Millisecond))
			return st, nil
		case st.State == pool.Ready:
			return st, fmt.Errorf("it may not be mode %s, only %s: %s", t.Mode, st.Mode, why)
		case st.State == pool.NoRunner:
			return st, fmt.Errorf("it stays in mode spawn: %s", why)
		case st.State == pool.Unsafe || st.State == pool.Broken:
			return st, fmt.Errorf("it is %s: %s", st.State, why)
		}
	}
	return pool.Status{}, fmt.Errorf("it was not loaded after %s", time.Since(began).Round(time.Second))
}

func (t *workerTest) status() pool.Status {
	if all := t.set.Status(); len(all) > 0 {
		return all[0]
	}
	return pool.Status{}
}

// ask makes one request; w nil is plain CGI.
func (t *workerTest) ask(w *cgi.Workers) workerAnswer {
	name := "/" + filepath.Base(t.file)
	req := &cgi.Request{
		ID: "test", Script: cgi.Script{Name: name, File: t.file, Dir: filepath.Dir(t.file), Interpreter: t.Interpreter}, Workers: w, Confine: t.rules,
		Vars: []string{"GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "SERVER_SOFTWARE=" + cgi.Software, "SERVER_NAME=localhost", "SERVER_PORT=80",
			"SCRIPT_NAME=" + name, "SCRIPT_FILENAME=" + t.file, "REMOTE_ADDR=127.0.0.1", "QUERY_STRING=" + t.Query},
		Env:     t.env,
		Timeout: cgi.Timeouts{Total: t.Timeout, Grace: time.Second}, Queue: cgi.QueueLimits{Running: 1, Length: 1, Wait: t.Timeout},
	}
	if t.body == nil {
		req.Vars = append(req.Vars, "REQUEST_METHOD=GET")
	} else {
		req.Vars = append(req.Vars, "REQUEST_METHOD=POST", fmt.Sprintf("CONTENT_LENGTH=%d", len(t.body)), "CONTENT_TYPE=application/x-www-form-urlencoded")
		req.Body, req.Length = bytes.NewReader(t.body), int64(len(t.body))
	}
	ended := make(chan cgi.Exit, 1)
	req.AtEnd(func(e cgi.Exit) { ended <- e })
	began := time.Now()
	var backend cgi.Backend = t.set
	res, err := backend.RoundTrip(t.interrupted, req)
	a := workerAnswer{err: err}
	if err == nil {
		a.status, a.header = res.Status, res.Header
		a.body, a.err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	a.took = time.Since(began)
	a.exit, a.mode = <-ended, req.Mode
	if a.err != nil {
		a.err = fmt.Errorf("%s", strings.TrimPrefix(a.err.Error(), "script "+name+": "))
	}
	return a
}

// lockedWriter: lines of the protocol and of the script come from anywhere.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
