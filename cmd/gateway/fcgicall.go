package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/signal"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/probe"
)

type fcgiCallCmd struct {
	Address string `arg:"" help:"Where the application listens: unix:/path, HOST:PORT or tls:HOST:PORT."`
	Script  string `arg:"" optional:"" help:"The script's file as the application sees it (SCRIPT_FILENAME). With --status and --ping, the page: /status, /ping."`
	requestFlags
	Param   []string      `sep:"none" placeholder:"NAME=VALUE" help:"A FastCGI parameter over those that the request makes; without =, one that is left out. May be given again."`
	Timeout time.Duration `default:"60s" help:"How long it may take."`
	Status  bool          `xor:"what" help:"Show php-fpm's status page (pm.status_path)."`
	Ping    bool          `xor:"what" help:"Ask php-fpm's ping page (ping.path) whether it lives."`
	Values  bool          `xor:"what" help:"Show what the application says of its limits (FCGI_GET_VALUES)."`
	CA      string        `placeholder:"FILE" help:"Certificates that the application's has to be signed by, for tls:. Default: the system's."`
	Cert    string        `placeholder:"FILE" and:"cert" help:"Our own certificate, for tls:."`
	Key     string        `placeholder:"FILE" and:"cert" help:"Its key."`
}

// Help says what is printed.
func (c *fcgiCallCmd) Help() string {
	return `The answer is printed as HTTP; what the application writes to FCGI_STDERR goes to standard error. The exit status is 1 if there is no answer, if it is not whole, or if
its status is 500 or above.

  gateway fcgi-call unix:/run/php/php-fpm.sock /srv/app/index.php --path '/users?page=2' --method POST --body form.txt
  gateway fcgi-call 127.0.0.1:9000 /status --status`
}

// Run asks once.
func (c *fcgiCallCmd) Run(out io.Writer) error {
	to, err := c.target()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	switch {
	case c.Status:
		err = c.status(ctx, to, out)
	case c.Ping:
		began := time.Now()
		if err = to.Ping(ctx, cmp.Or(c.Script, "/ping")); err == nil {
			fmt.Fprintf(out, "%s is alive (%s)\n", c.Address, time.Since(began).Round(10*time.Microsecond))
		}
	case c.Values && c.Script != "":
		return errors.New("--values is about no SCRIPT")
	case c.Values:
		err = c.values(ctx, to, out)
	case c.Script == "":
		return errors.New("SCRIPT is missing: the script's file as the application sees it")
	default:
		err = c.call(ctx, to, out)
	}
	if errors.Is(err, cgi.ErrTimeout) {
		return fmt.Errorf("%s: no answer within %s: %w", c.Address, c.Timeout, err)
	}
	if err != nil && !errors.Is(err, errSilent) {
		err = fmt.Errorf("%s: %w", c.Address, err)
	}
	return err
}

// target is the address.
func (c *fcgiCallCmd) target() (to probe.Target, err error) {
	a, err := config.ParseAddress(c.Address)
	if err != nil {
		return to, fmt.Errorf("ADDRESS: %w", err)
	}
	to.Network, to.Address = a.Network(), a.Addr()
	switch {
	case to.Network == "systemd":
		return to, fmt.Errorf("ADDRESS: %s is for doors, not for applications", c.Address)
	case to.Network != "tls" && c.CA+c.Cert != "":
		return to, errors.New("--ca and --cert go with tls:HOST:PORT")
	case to.Network != "tls":
		return to, nil
	}
	pool, err := rootCAs(c.CA)
	if err != nil {
		return to, err
	}
	to.TLS = &tls.Config{RootCAs: pool}
	if c.Cert != "" {
		cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return to, err
		}
		to.TLS.Certificates = []tls.Certificate{cert}
	}
	return to, nil
}

// call sends the request and prints the answer.
func (c *fcgiCallCmd) call(ctx context.Context, to probe.Target, out io.Writer) error {
	r, err := c.request(path.Base(c.Script))
	if err != nil {
		return err
	}
	body, err := wholeBody(r)
	if err != nil {
		return err
	}
	if body != nil {
		defer body.Close()
	}
	params, err := c.params(r)
	if err != nil {
		return err
	}
	w := &printer{out: out, header: http.Header{}}
	req := probe.Request{Params: params, Out: w, Stderr: func(line string) { fmt.Fprintln(os.Stderr, line) }, Head: func(res *cgi.Response) {
		w.header = res.Header
		if res.Length >= 0 {
			w.header.Set("Content-Length", strconv.FormatInt(res.Length, 10))
		}
		w.WriteStatus(res.Status, cmp.Or(res.Reason, http.StatusText(res.Status)))
	}}
	if body != nil {
		req.Body = body
	}
	code, err := to.Call(ctx, req)
	switch {
	case err != nil:
		return err
	case w.err != nil:
		return w.err
	case code != 0:
		fmt.Fprintf(os.Stderr, "gateway: %s: the application's exit status is %d\n", c.Address, code)
	}
	if w.status >= 500 {
		return errSilent
	}
	return nil
}

// wholeBody is the request's body with its length, which has to be true.
func wholeBody(r *http.Request) (*cgi.Spooled, error) {
	if r.Body == nil {
		return nil, nil
	}
	defer r.Body.Close()
	body, err := cgi.Spool(r.Body, cgi.SpoolConfig{Max: math.MaxInt64 - 1, Memory: 1 << 20, Size: r.ContentLength})
	if err != nil {
		return nil, err
	}
	r.ContentLength = body.Len()
	return body, nil
}

// params are those that a PHP route would send, and those of the command line.
func (c *fcgiCallCmd) params(r *http.Request) (map[string]string, error) {
	name := "/" + path.Base(c.Script)
	m := &cgi.Meta{
		ScriptName: name, PathInfo: strings.TrimPrefix(r.URL.Path, name),
		ScriptFilename: c.Script, DocumentRoot: path.Dir(c.Script),
		LocalAddr: "127.0.0.1:80", RemoteAddr: r.RemoteAddr, RequestURI: r.RequestURI,
		PassAuthorization: true, Length: -1,
	}
	if r.Body != nil {
		m.Length = r.ContentLength
	}
	params := map[string]string{"REDIRECT_STATUS": "200"} // or php believes that it was called past the server
	for _, v := range cgi.Vars(r, m) {
		name, value, _ := strings.Cut(v, "=")
		params[name] = value
	}
	for _, p := range c.Param {
		name, value, ok := strings.Cut(p, "=")
		switch {
		case name == "":
			return nil, fmt.Errorf("--param %q: write NAME=VALUE", p)
		case ok:
			params[name] = value
		default:
			delete(params, name)
		}
	}
	return params, nil
}

// status prints php-fpm's account of itself.
func (c *fcgiCallCmd) status(ctx context.Context, to probe.Target, out io.Writer) error {
	s, err := to.FPMStatus(ctx, cmp.Or(c.Script, "/status"))
	if err != nil {
		return err
	}
	queue := fmt.Sprintf("%d connections, at most %d", s.Queue, s.MaxQueue)
	if s.QueueLen > 0 {
		queue += fmt.Sprintf(", there is room for %d", s.QueueLen)
	}
	for _, line := range [][2]string{
		{"pool", fmt.Sprintf("%s (%s), %s old", s.Pool, s.Manager, time.Duration(s.StartSince)*time.Second)},
		{"processes", fmt.Sprintf("%d active, %d idle, %d in all; at most %d were active", s.Active, s.Idle, s.Total, s.MaxActive)},
		{"waiting", queue},
		{"accepted", fmt.Sprint(s.Accepted)},
		{"max children", fmt.Sprintf("reached %d times", s.MaxChildrenReached)},
		{"slow", fmt.Sprint(s.SlowRequests)},
	} {
		fmt.Fprintf(out, "%-12s %s\n", line[0], line[1])
	}
	return nil
}

// values prints what the application says of its limits.
func (c *fcgiCallCmd) values(ctx context.Context, to probe.Target, out io.Writer) error {
	values, err := to.Values(ctx)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(out, "%s=%s\n", name, values[name])
	}
	if len(names) == 0 {
		fmt.Fprintln(out, "it says nothing of its limits")
	}
	return nil
}
