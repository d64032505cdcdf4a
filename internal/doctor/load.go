package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/pool"
)

// loadTime is how long one script may take to load.
const loadTime = 30 * time.Second

// load has the script loaded in the best mode that there is, to see which one it may be in.
func (s *script) load(ctx context.Context, o Options, p *Patient) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = loadTime
	}
	lctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w := *s.req.Workers
	w.Mode, w.Max, w.Spare = cgi.ModeReuse, 1, 1
	req := &cgi.Request{
		Script: s.req.Script, Route: s.req.Route, Env: s.req.Env, Vars: s.req.Vars,
		Timeout: s.req.Timeout, Queue: s.req.Queue, Workers: &w, Confine: s.req.Confine,
	}
	set, end, err := o.Pools()
	if err != nil {
		p.add(fault("", "nothing can be loaded: %v", err))
		return
	}
	defer end() // the next one is to have the memory
	began := time.Now()
	err = set.Load(lctx, req)
	took := time.Since(began).Round(time.Millisecond)
	var st pool.Status
	if all := set.Status(); len(all) > 0 {
		st = all[0]
	}
	if ctx.Err() != nil {
		return
	}
	why := strings.ReplaceAll(strings.TrimSpace(st.Why), "\n", "; ")
	switch {
	case err == nil:
		p.Mode, p.Loaded = st.Mode, fmt.Sprintf("%s, %d files, %v", st.Language, st.Files, took)
		p.add(s.mayBe(st.Mode, why)...)
	case st.State == pool.Broken:
		p.add(fault("gateway worker "+req.Script.File+" shows it in full", "it can't be loaded: %s", why))
	case st.State == pool.Unsafe:
		p.add(s.stays(why))
	case st.State == pool.NoRunner:
		if p.Wanted != cgi.ModeAuto {
			p.add(s.stays(why))
		}
	case errors.Is(err, pool.ErrNoRoom):
		p.add(warning("", "%v", err))
	default:
		p.add(fault("", "it was not loaded within %v", timeout))
	}
}

// stays: the script is spawned whatever its route says.
func (s *script) stays(why string) Finding {
	if s.req.Workers.Mode == cgi.ModeAuto {
		return note("", "it stays in mode spawn: %s", why)
	}
	return warning("", "it stays in mode spawn, though its route says %s: %s", s.req.Workers.Mode, why)
}

// mayBe says what the best mode of a script means for what its route says.
func (s *script) mayBe(best cgi.Mode, why string) []Finding {
	wanted := s.req.Workers.Mode
	switch {
	case best == cgi.ModeReuse && wanted != cgi.ModeReuse:
		return []Finding{note("see docs/reuse-*.md, then mode: reuse, or the comment `# cgi: reuse` in its first lines",
			"nothing was found against mode reuse, if it keeps nothing of a request for the next one")}
	case best == cgi.ModeReuse:
		return nil
	case wanted == cgi.ModeReuse:
		return []Finding{warning("", "it may not be reused, though its route says so, and is warm: %s", why)}
	}
	return []Finding{note("", "it is safe to be warm, but may not be reused: %s", why)}
}
