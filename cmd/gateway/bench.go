package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"warmcgi/internal/load"
	"warmcgi/internal/measure"
)

type benchCmd struct {
	URL string `arg:"" optional:"" help:"What to ask, on this machine."`

	Script      string   `group:"A script in its modes" placeholder:"FILE" help:"Measure this script in every mode that it can be in, behind a gateway that is started for it, in place of a URL."`
	Modes       []string `group:"A script in its modes" default:"spawn,warm,reuse" enum:"spawn,warm,reuse" help:"The modes to measure (spawn,warm,reuse)."`
	Path        string   `group:"A script in its modes" placeholder:"/x?y=1" help:"Extra path and query behind the script's name."`
	Interpreter string   `group:"A script in its modes" placeholder:"PROGRAM" help:"What runs the file if it is not executable."`
	Env         []string `group:"A script in its modes" sep:"none" placeholder:"NAME=VALUE" help:"Variable of the script's environment; may be given again."`
	Preload     []string `group:"A script in its modes" placeholder:"MODULE" help:"A module that is loaded before the script, as preload of a route; may be given again."`
	confineFlags

	Request     string        `group:"Request" placeholder:"METHOD:/x?y=1" help:"Method and target in one: GET:/x?y=1; with a script, the target is what stands behind its name."`
	Method      string        `group:"Request" help:"Request method (GET, or POST with a body)."`
	Header      []string      `group:"Request" short:"H" sep:"none" placeholder:"NAME: VALUE" help:"Request field; may be given again."`
	Body        string        `group:"Request" placeholder:"FILE" help:"File with the body of each request."`
	HTTP2       bool          `group:"Request" name:"http2" help:"Speak HTTP/2: with an http URL by prior knowledge (h2c), with https by TLS."`
	Streams     int           `group:"Request" default:"1" help:"With --http2: requests at once on each connection."`
	NoKeepalive bool          `group:"Request" help:"A connection for each request."`
	Timeout     time.Duration `group:"Request" default:"30s" help:"How long one answer may take."`
	Insecure    bool          `group:"Request" help:"With https: take any certificate."`
	CA          string        `group:"Request" placeholder:"FILE" help:"With https: certificates that the server's has to be signed by. Default: the system's."`
	OtherHosts  bool          `group:"Request" help:"Allow hosts that are not this machine. Load that strangers did not ask for is an attack."`

	ExpectStatus int    `group:"Right answers" default:"200" help:"The status of a right answer."`
	ExpectBody   string `group:"Right answers" xor:"body" placeholder:"FILE" help:"The body of a right answer. Default: that of the first one."`
	Expect       string `group:"Right answers" xor:"body" placeholder:"TEXT" help:"A text that is in the body of a right answer."`
	ExpectRegexp string `group:"Right answers" xor:"body" placeholder:"RE" help:"A regular expression (Go's) that is found in it."`
	AnyBody      bool   `group:"Right answers" xor:"body" help:"Any body is right."`

	Connections int           `group:"Load" placeholder:"N" help:"Connections: each asks as soon as it is answered (16). With --rate, how many there are at most (1000)."`
	Rate        float64       `group:"Load" placeholder:"N" help:"Requests per second, however fast they are answered."`
	Duration    time.Duration `group:"Load" placeholder:"10s" help:"How long it goes on (10s; for a script 1s, for each mode, round and number of connections)."`
	Requests    int64         `group:"Load" placeholder:"N" help:"How many requests, in place of a duration or at most."`
	WarmUp      time.Duration `group:"Load" default:"1s" help:"The same load before that does not count; 0 is none."`
	Rounds      int           `group:"Load" placeholder:"N" help:"How often it is measured (1; for a script 3, in which the modes take turns)."`

	JSON      bool   `group:"Output" xor:"out" help:"Print all figures as JSON."`
	Benchstat bool   `group:"Output" xor:"out" help:"Print lines for benchstat (golang.org/x/perf/cmd/benchstat)."`
	Report    string `group:"Output" placeholder:"FILE" help:"Write a page with charts there: one HTML file that needs no network."`
}

// Help says what is measured.
func (c *benchCmd) Help() string {
	return `  gateway bench --expect 'your name' http://127.0.0.1:8080/cgi-bin/form.pl
  gateway bench --rate 200 --duration 30s http://127.0.0.1:8080/
  gateway bench --script form.pl --path '?name=Ada' --report report.html

Without --rate each connection asks as soon as it is answered: how many answers per second the server can give. With --rate requests are due at a constant rate,
and the time of an answer counts from when its request was due: how long people wait at that load.

Each answer is checked: its status, and its body against that of the first answer, a file or a text. The exit status is 1 if any was not right.
docs/bench.md tells how to read the figures.`
}

// Run measures and prints.
func (c *benchCmd) Run(out io.Writer) error {
	p, err := c.plan()
	if err != nil {
		return err
	}
	if c.Report != "" { // before the work, not behind it
		if info, err := os.Stat(filepath.Dir(c.Report)); err != nil || !info.IsDir() {
			return fmt.Errorf("--report %s: there is no such folder", c.Report)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bar := newProgress(os.Stderr)
	var r *measure.Report
	if c.Script != "" {
		r, err = c.script(ctx, p, bar)
	} else {
		r, err = c.url(ctx, p, bar)
	}
	bar.close()
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted before anything was measured")
		}
		return err
	}
	return c.print(out, r)
}

func (c *benchCmd) url(ctx context.Context, p *measure.Plan, w measure.Watcher) (*measure.Report, error) {
	u, err := c.parseURL()
	if err != nil {
		return nil, err
	}
	addr, err := load.Resolve(ctx, u, c.OtherHosts)
	switch {
	case errors.Is(err, load.ErrElsewhere):
		return nil, fmt.Errorf("%w: load that strangers did not ask for is an attack. If it is yours, give --other-hosts", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%s: nobody serves there: %w", u, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	return measure.URL(ctx, p, u, addr, w)
}

// parseURL is the URL with the target of --request, if there is one.
func (c *benchCmd) parseURL() (*url.URL, error) {
	u, err := load.ParseURL(c.URL)
	if err != nil {
		return nil, err
	}
	_, target, _ := strings.Cut(c.Request, ":")
	if target == "" {
		return u, nil
	}
	if u.Path != "/" || u.RawQuery != "" {
		return nil, errors.New("give the path either in the URL or in --request, not in both")
	}
	ref, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("--request: %w", err)
	}
	return u.ResolveReference(ref), nil
}

// plan looks at all flags before anything is started.
func (c *benchCmd) plan() (*measure.Plan, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p := &measure.Plan{
		Command: "gateway " + commandLine(os.Args[1:]), Method: c.Method, HTTP2: c.HTTP2, Streams: c.Streams, Close: c.NoKeepalive, Timeout: c.Timeout,
		Connections: c.Connections, Rate: c.Rate, Duration: c.Duration, Requests: c.Requests, WarmUp: c.WarmUp, Rounds: c.Rounds,
		Want: measure.Want{Status: c.ExpectStatus, Any: c.AnyBody},
	}
	var err error
	if p.Header, err = parseHeader(c.Header); err != nil {
		return nil, err
	}
	if c.Body != "" {
		if p.Body, err = readFile("--body", c.Body); err != nil {
			return nil, err
		}
	}
	if p.Method == "" {
		p.Method, _, _ = strings.Cut(c.Request, ":")
	}
	if p.Method == "" {
		p.Method = http.MethodGet
		if p.Body != nil {
			p.Method = http.MethodPost
		}
	}
	if err := c.want(&p.Want); err != nil {
		return nil, err
	}
	c.defaults(p)
	p.TLS, err = c.tls()
	return p, err
}

// check finds flags that do not go together.
func (c *benchCmd) check() error {
	script := []string{}
	for name, given := range map[string]bool{
		"--path": c.Path != "", "--interpreter": c.Interpreter != "", "--env": c.Env != nil, "--preload": c.Preload != nil,
		"--user": c.User != "", "--limit": c.Limit != nil,
	} {
		if given {
			script = append(script, name)
		}
	}
	slices.Sort(script)
	switch {
	case c.URL == "" && c.Script == "":
		return errors.New("give a URL, or --script FILE")
	case c.URL != "" && c.Script != "":
		return errors.New("give either a URL or --script, not both")
	case c.Script == "" && len(script) > 0:
		return fmt.Errorf("%s goes with --script", script[0])
	case c.Script != "" && (c.CA != "" || c.Insecure || c.OtherHosts):
		return errors.New("--ca, --insecure and --other-hosts go with a URL, not with --script")
	case c.Request != "" && (c.Method != "" || c.Path != ""):
		return errors.New("--request is method and path in one: leave --method and --path out")
	case c.Request != "" && !requestForm.MatchString(c.Request):
		return fmt.Errorf("--request %q: write METHOD:/path?query, such as GET:/x?y=1", c.Request)
	case c.HTTP2 && c.NoKeepalive:
		return errors.New("--http2 is many requests on one connection, --no-keepalive one on each")
	case c.Streams != 1 && !c.HTTP2:
		return errors.New("--streams goes with --http2")
	case c.Rate < 0 || c.Duration < 0 || c.Requests < 0 || c.WarmUp < 0:
		return errors.New("--rate, --duration, --requests and --warm-up can't be negative")
	case c.Connections < 0 || c.Connections > maxConnections || c.Streams < 1 || c.Streams > maxConnections:
		return fmt.Errorf("--connections and --streams are 1 to %d", maxConnections)
	case c.Rounds < 0 || c.Rounds > 1000:
		return errors.New("--rounds is 1 to 1000")
	case c.Timeout <= 0:
		return errors.New("--timeout must be above 0")
	}
	return nil
}

const maxConnections = 20000

var requestForm = regexp.MustCompile(`^[A-Z]+:([/?].*)?$`)

// defaults are those that depend on other flags.
func (c *benchCmd) defaults(p *measure.Plan) {
	if p.Connections == 0 {
		p.Connections = 16
		if p.Rate > 0 {
			p.Connections = 1000
		}
	}
	if p.Duration == 0 && p.Requests == 0 {
		p.Duration = 10 * time.Second
		if c.Script != "" {
			p.Duration = time.Second
		}
	}
	if p.Rounds == 0 {
		p.Rounds = 1
		if c.Script != "" {
			p.Rounds = 3
		}
	}
}

func (c *benchCmd) want(w *measure.Want) (err error) {
	switch {
	case c.ExpectBody != "":
		b, err := readFile("--expect-body", c.ExpectBody)
		if err != nil {
			return err
		}
		w.Body = &b
	case c.Expect != "":
		w.Match = regexp.MustCompile(regexp.QuoteMeta(c.Expect))
	case c.ExpectRegexp != "":
		if w.Match, err = regexp.Compile("(?m)" + c.ExpectRegexp); err != nil {
			return fmt.Errorf("--expect-regexp: %w", err)
		}
	}
	return nil
}

func (c *benchCmd) tls() (*tls.Config, error) {
	pool, err := rootCAs(c.CA)
	return &tls.Config{InsecureSkipVerify: c.Insecure, RootCAs: pool}, err
}

// maxFile is how large a body may be: it is held in memory.
const maxFile = 1 << 30

func readFile(flag, file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	case info.IsDir():
		return nil, fmt.Errorf("%s: %s is a folder", flag, file)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s: %s is larger than 1 GiB, and has to be held in memory", flag, file)
	}
	return os.ReadFile(file)
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// commandLine is one that a shell would take.
func commandLine(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; !plainWord.MatchString(a) {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
