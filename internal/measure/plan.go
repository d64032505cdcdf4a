package measure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/load"
)

// Plan is what is to be measured.
type Plan struct {
	Command string // to be shown
	Method  string
	Header  http.Header
	Body    []byte
	HTTP2   bool
	Streams int
	Close   bool
	TLS     *tls.Config
	Timeout time.Duration
	Want    Want

	Connections int
	Rate        float64
	Duration    time.Duration
	Requests    int64
	WarmUp      time.Duration
	Rounds      int
}

// Want is what a right answer is.
type Want struct {
	Status int
	// Body is the only right one; nil is that of the first answer. Any takes each, Match those in which it is found.
	Body  *[]byte
	Match *regexp.Regexp
	Any   bool
}

// Watcher is told what is being done.
type Watcher interface {
	// Phase is a new one; a phase of load takes about so long, and can be asked for its progress.
	Phase(name string, takes time.Duration, progress func() (load.Progress, bool))
}

func (p *Plan) target(u *url.URL, addr string) *load.Target {
	return &load.Target{
		URL: u, Addr: addr, Method: p.Method, Header: p.Header, Body: p.Body,
		HTTP2: p.HTTP2, Close: p.Close, TLS: p.TLS, Timeout: p.Timeout,
	}
}

// report is an empty one of the plan.
func (p *Plan) report(subject, target string) *Report {
	r := &Report{
		Software: cgi.Software, Command: p.Command, Began: time.Now().Truncate(time.Second), Machine: ThisMachine(), Subject: subject,
		Request: p.Method + " " + target, Protocol: p.protocol(), Rate: p.Rate, Connections: p.Connections,
		Duration: p.Duration.Seconds(), Requests: p.Requests, WarmUp: p.WarmUp.Seconds(), Rounds: p.Rounds,
	}
	if p.HTTP2 {
		r.Streams = p.Streams
	}
	if p.Body != nil {
		r.Request += fmt.Sprintf(" with a body of %d octets", len(p.Body))
	}
	return r
}

func (p *Plan) protocol() string {
	switch {
	case p.HTTP2 && p.Streams > 1:
		return fmt.Sprintf("HTTP/2, %d requests at once on each connection", p.Streams)
	case p.HTTP2:
		return "HTTP/2"
	case p.Close:
		return "HTTP/1.1, a connection for each request"
	}
	return "HTTP/1.1, connections are kept"
}

// load is the plan of one run.
func (p *Plan) load(connections int) load.Plan {
	return load.Plan{Rate: p.Rate, Connections: connections, Streams: p.Streams, Duration: p.Duration, Requests: p.Requests}
}

// warmUp is the same load, for its own time.
func (p *Plan) warmUp() load.Plan {
	l := p.load(p.Connections)
	l.Duration, l.Requests = p.WarmUp, 0
	return l
}

// takes is about how long one run goes on; 0 is unknown.
func (p *Plan) takes() time.Duration {
	if p.Requests > 0 && p.Rate > 0 {
		return time.Duration(float64(p.Requests) / p.Rate * float64(time.Second))
	}
	return p.Duration
}

// ErrFirst is a first answer that can't be measured against.
var ErrFirst = errors.New("the first answer is not right")

// expect asks for a first answer, and makes of it what the others have to be.
func (w Want) expect(g *load.Generator) (load.Expect, *load.Answer, error) {
	e := load.Expect{Status: w.Status, Match: w.Match}
	a, err := g.Ask()
	if err != nil {
		return e, nil, err
	}
	if a.Status != w.Status {
		return e, a, fmt.Errorf("%w: status %d %s, not %d (give --expect-status %d if it is to be that)%s",
			ErrFirst, a.Status, http.StatusText(a.Status), w.Status, a.Status, quote(a))
	}
	switch {
	case w.Body != nil:
		e.Content = load.NewContent(*w.Body)
		if d := e.Content.Differs(&a.Content); d != "" {
			return e, a, fmt.Errorf("%w: its body is not that of --expect-body: %s", ErrFirst, d)
		}
	case w.Match != nil:
		if !w.Match.MatchString(a.Text(1 << 20)) {
			return e, a, fmt.Errorf("%w: %q is not found in its body%s", ErrFirst, w.Match, quote(a))
		}
	case !w.Any:
		second, err := g.Ask()
		if err != nil {
			return e, a, err
		}
		if d := a.Content.Differs(&second.Content); d != "" && second.Status == w.Status {
			return e, a, fmt.Errorf("the first two answers are not alike, so the others can't be compared with them: the second %s\n"+
				"Say what is right: --expect TEXT for what each must have in it, or --any-body", d)
		}
		e.Content = &a.Content
	}
	return e, a, nil
}

// quote shows the beginning of a body, as text.
func quote(a *load.Answer) string {
	text := strings.Join(strings.Fields(tags.ReplaceAllString(a.Text(4096), " ")), " ")
	if text == "" {
		return ""
	}
	if r := []rune(text); len(r) > 160 {
		text = string(r[:160]) + " …"
	}
	return ": " + text
}

var tags = regexp.MustCompile(`(?s)<(style|script|head|title)\b.*?</(style|script|head|title)>|<[^>]*>`)

// says is a right answer in words.
func (w Want) says(a *load.Answer) string {
	s := fmt.Sprintf("status %d", w.Status)
	switch {
	case w.Body != nil:
		return s + fmt.Sprintf(", the body of the file (%d octets)", len(*w.Body))
	case w.Match != nil:
		return s + fmt.Sprintf(", %q in the body", w.Match)
	case w.Any:
		return s + ", any body"
	case a == nil:
		return s
	}
	return s + fmt.Sprintf(", the body of the first answer (%d octets)", a.Content.Size())
}

// URL measures one.
func URL(ctx context.Context, p *Plan, u *url.URL, addr string, w Watcher) (*Report, error) {
	g, err := load.New(ctx, p.target(u, addr))
	if err != nil {
		return nil, err
	}
	defer g.Close()
	w.Phase("first answer", 0, nil)
	e, first, err := p.Want.expect(g)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	g.Expect(e)
	r := p.report(u.String(), u.RequestURI())
	r.Answer = p.Want.says(first)
	s := &Series{Name: "url"}
	r.Series = []*Series{s}
	if p.WarmUp > 0 {
		w.Phase("warm-up", p.WarmUp, g.Progress)
		if _, err := g.Run(p.warmUp()); err != nil {
			return nil, err
		}
	}
	for i := range p.Rounds {
		if ctx.Err() != nil {
			break
		}
		name := "measuring"
		if p.Rounds > 1 {
			name = fmt.Sprintf("round %d of %d", i+1, p.Rounds)
		}
		w.Phase(name, p.takes(), g.Progress)
		x, err := g.Run(p.load(p.Connections))
		if err != nil {
			return nil, err
		}
		s.step(p.Connections).add(x)
		if x.Gone {
			s.Notes = append(s.Notes, "nobody accepted connections any more: it was ended early")
			break
		}
	}
	r.Interrupted = ctx.Err() != nil
	return r, nil
}
