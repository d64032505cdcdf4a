package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/load"
	"warmcgi/internal/proctree"
)

// Modes measures a script in each of the modes. They take turns: in each round each mode has a gateway of its own, which
// is the only one then, so that its memory is shared with no other's.
func Modes(ctx context.Context, p *Plan, s *Script, modes []cgi.Mode, w Watcher) (*Report, error) {
	target := (&url.URL{Path: s.Name()}).EscapedPath() + s.Path
	t := &trial{ctx: ctx, plan: p, script: s, target: target, watcher: w, rounds: p.Rounds}
	t.report = p.report(s.File, target)
	t.report.Script = true
	if err := t.first(); err != nil {
		return nil, err
	}
	t.report.Answer = p.Want.says(t.answer)
	for _, m := range modes {
		t.report.Series = append(t.report.Series, &Series{Name: string(m)})
	}
	for round := range p.Rounds {
		for i, m := range modes {
			if ctx.Err() != nil {
				break
			}
			sr := t.report.Series[i]
			if sr.Missing != "" {
				continue
			}
			err := t.block(sr, m, round)
			var no errMode
			switch {
			case ctx.Err() != nil:
			case errors.As(err, &no) && sr.Full() == nil:
				sr.Missing = no.why
			case errors.As(err, &no):
				sr.note(fmt.Sprintf("round %d is missing: %s", round+1, no.why))
			case err != nil:
				return nil, err
			}
		}
	}
	for _, sr := range t.report.Series {
		sr.noteElsewhere()
	}
	t.report.Interrupted = ctx.Err() != nil
	return t.report, nil
}

// trial is the measurement of one script.
type trial struct {
	ctx     context.Context
	plan    *Plan
	script  *Script
	target  string
	watcher Watcher
	report  *Report
	rounds  int
	// expect is what all answers have to be: what plain CGI answers.
	expect load.Expect
	answer *load.Answer
}

// connections are the steps: 1, 2, 4, … and all. At a constant rate there is only one, as their number is no matter then.
func (p *Plan) connections() (steps []int) {
	if p.Rate == 0 {
		for n := 1; n < p.Connections; n *= 2 {
			steps = append(steps, n)
		}
	}
	return append(steps, p.Connections)
}

// Takes is about how long the measurement of so many modes goes on.
func (p *Plan) Takes(modes int) time.Duration {
	one := p.WarmUp + time.Duration(len(p.connections()))*(p.takes()+settleTime) + time.Second
	return time.Duration(p.Rounds*modes) * one
}

// start is a gateway with the script in a mode, what asks it, and what ends both.
func (t *trial) start(mode cgi.Mode) (g *private, gen *load.Generator, end func(), err error) {
	if g, err = t.script.start(t.ctx, mode, t.plan); err != nil {
		return nil, nil, nil, err
	}
	u, err := load.ParseURL("http://" + g.addr + t.target)
	if err == nil {
		gen, err = load.New(t.ctx, t.plan.target(u, g.addr))
	}
	if err != nil {
		g.stop()
		return nil, nil, nil, err
	}
	return g, gen, func() { gen.Close(); g.stop() }, nil
}

// first asks plain CGI what the right answer is.
func (t *trial) first() error {
	t.watcher.Phase("first answer", 0, nil)
	g, gen, end, err := t.start(cgi.ModeSpawn)
	if err != nil {
		return err
	}
	defer end()
	t.expect, t.answer, err = t.plan.Want.expect(gen)
	if err != nil {
		return fmt.Errorf("%s, %s: %w%s", t.script.File, t.report.Request, err, g.said())
	}
	return nil
}

// block is one mode's turn.
func (t *trial) block(sr *Series, mode cgi.Mode, round int) error {
	name := fmt.Sprintf("%-5s round %d of %d", mode, round+1, t.rounds)
	t.watcher.Phase(name+": starting", 0, nil)
	g, gen, end, err := t.start(mode)
	if err != nil {
		return err
	}
	defer end()
	gen.Expect(t.expect)
	if _, err := gen.Ask(); err != nil { // which has it loaded
		return err
	}
	if err := g.await(t.ctx); err != nil {
		return err
	}
	if t.plan.WarmUp > 0 {
		t.watcher.Phase(name+": warm-up", t.plan.WarmUp, gen.Progress)
		if _, err := gen.Run(t.plan.warmUp()); err != nil {
			return err
		}
	}
	for _, n := range t.plan.connections() {
		if t.ctx.Err() != nil {
			return nil
		}
		t.watcher.Phase(fmt.Sprintf("%s, %d connections", name, n), t.plan.takes(), gen.Progress)
		if err := t.measure(sr, g, gen, n); err != nil {
			return err
		}
	}
	return nil
}

const (
	// settleTime is for what has answered and is not quite gone: its time counts with its request.
	settleTime = 50 * time.Millisecond
	// lookEvery is how often memory is looked at.
	lookEvery = 100 * time.Millisecond
)

// measure is one run.
func (t *trial) measure(sr *Series, g *private, gen *load.Generator, connections int) error {
	before, err := g.look(t.ctx)
	if err != nil {
		return err
	}
	memory := watchMemory(g.pid())
	x, err := gen.Run(t.plan.load(connections))
	looks := memory()
	if err != nil {
		return err
	}
	time.Sleep(settleTime)
	after, err := g.look(context.WithoutCancel(t.ctx))
	if err != nil {
		return fmt.Errorf("%w%s", err, g.said())
	}
	r := sr.step(connections).add(x)
	n := float64(max(1, x.Right+x.Failed()+x.Wrong()))
	r.CPU, r.Gateway = (after.tree-before.tree)/n, (after.own-before.own)/n
	if len(looks) > 0 {
		r.Memory, r.Peak = looks[len(looks)/2], looks[len(looks)-1]
	}
	for mode, n := range after.answers {
		if n -= before.answers[mode]; mode != g.mode && n > 0 && g.mode != cgi.ModeSpawn {
			if r.Elsewhere == nil {
				r.Elsewhere = map[string]int64{}
			}
			r.Elsewhere[string(mode)] += n
			sr.why = cmp.Or(strings.TrimSpace(after.why), sr.why)
		}
	}
	if r.Bad() > 0 {
		sr.complain(g.out.String())
	}
	return nil
}

// noteElsewhere says how many answers came in other modes than the one that is measured.
func (s *Series) noteElsewhere() {
	all, other := int64(0), map[string]int64{}
	for _, x := range s.all() {
		all += x.Right + x.Bad()
		for mode, n := range x.Elsewhere {
			other[mode] += n
		}
	}
	for _, mode := range slices.Sorted(maps.Keys(other)) {
		text := fmt.Sprintf("%s of %s answers came in mode %s", Number(float64(other[mode])), Number(float64(all)), mode)
		if s.why != "" {
			text += ": " + s.why
		}
		s.note(text)
	}
}

// note adds one, once.
func (s *Series) note(text string) {
	if !slices.Contains(s.Notes, text) {
		s.Notes = append(s.Notes, text)
	}
}

// complain keeps the last of what the gateway and the script have said when answers were not right.
func (s *Series) complain(log string) {
	if log != "" {
		s.Log = log
	}
}

// look is what a gateway has used until now.
type look struct {
	tree, own float64 // CPU seconds
	answers   map[cgi.Mode]int64
	why       string
}

func (g *private) look(ctx context.Context) (l look, err error) {
	if l.tree, err = proctree.TreeCPU(g.pid()); err != nil {
		return l, fmt.Errorf("the gateway has ended: %w", err)
	}
	own, err := proctree.CPU(g.pid())
	if err != nil {
		return l, err
	}
	l.own = own.Own
	st, err := g.status(ctx)
	l.answers, l.why = st.Answers, st.Why
	return l, err
}

// watchMemory looks at the memory of a tree from time to time, until it is asked for what it has seen, in order of size.
func watchMemory(pid int) (seen func() []int64) {
	quit, done := make(chan struct{}), make(chan []int64)
	go func() { // ends with seen
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		looks := []int64{}
		for {
			looks = append(looks, proctree.TreePSS(pid))
			select {
			case <-quit:
				slices.Sort(looks)
				done <- looks
				return
			case <-tick.C:
			}
		}
	}()
	return func() []int64 {
		close(quit)
		return <-done
	}
}
