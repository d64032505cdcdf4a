package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/pool"
	"warmcgi/internal/urlpath"
)

// aheadTime is how long the warm parents of a new configuration may take to load, all together.
const aheadTime = time.Minute

// errNotReady: what the new configuration needs does not start.
var errNotReady = errors.New("is not ready")

// wanted is a script that is to be warm before a state is taken.
type wanted struct {
	place string
	req   *cgi.Request
}

// loadAhead has those warm parents loaded that would be cold when the state is taken: of scripts that are warm now, but
// whose settings change, and of new programs in mode warm or reuse. One that fails to load is an error; one
// that there is no room for is not. Programs that the gateway starts have to last.
func (b *build) loadAhead(ctx context.Context, r *Reloaded) error {
	ctx, cancel := context.WithTimeout(ctx, aheadTime)
	defer cancel()
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	note := func(name string, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			r.Loaded = append(r.Loaded, name)
		case errors.Is(err, pool.ErrNoRoom):
			r.Notes = append(r.Notes, fmt.Sprintf("%v; it is spawned until then", err))
		default:
			errs = append(errs, err)
		}
	}
	if b.s.pools != nil {
		for _, w := range b.wanted() {
			wg.Go(func() {
				err := b.s.pools.Load(ctx, w.req)
				if err != nil {
					err = fmt.Errorf("route %s: script %w", w.place, err)
				}
				note(w.req.Script.Name, err)
			})
		}
	}
	for _, a := range b.begun {
		if a.program != nil {
			wg.Go(func() {
				err := a.program.Lasts(ctx)
				if err != nil {
					err = fmt.Errorf("route %s: program %s %w: %w", a.made.route, a.made.config.Program, errNotReady, err)
				}
				note(a.made.config.Program, err)
			})
		}
	}
	wg.Wait()
	slices.Sort(r.Loaded)
	return errors.Join(errs...)
}

// wanted are the scripts to be loaded ahead.
func (b *build) wanted() (list []wanted) {
	was := map[*cgi.Workers]placed{}
	for _, p := range b.old.all() {
		if p.workers != nil {
			was[p.workers] = p
		}
	}
	have := map[string]bool{}
	for _, w := range b.s.pools.Warm() {
		old, known := was[w.Workers]
		if !known {
			continue
		}
		rt := b.st.at(old.place)
		if rt == nil || rt.workers == nil || rt.workers == w.Workers || !rt.has(w.Script.File) {
			continue
		}
		have[old.place+w.Script.File] = true
		if req, err := rt.again(w); err == nil { // otherwise who asks for it is told
			list = append(list, wanted{old.place, req})
		}
	}
	for _, p := range b.st.all() {
		if p.workers == nil || p.workers.Mode == cgi.ModeAuto || p.CGI == nil || p.CGI.Program == "" || have[p.place+p.CGI.Program] {
			continue
		}
		if old := b.old.at(p.place); old != nil && old.workers == p.workers && old.has(p.CGI.Program) {
			continue // as it was, however that is
		}
		if req := b.s.firstRequest(b.st, p.route); req != nil {
			list = append(list, wanted{p.place, req})
		}
	}
	return list
}

// again is the request by which a warm script is loaded once more, as the route has it.
func (rt *route) again(w pool.Warm) (*cgi.Request, error) {
	rules, err := rt.rulesOf(w.Script.File)
	if err != nil {
		return nil, err
	}
	vars := make([]string, 0, len(w.Vars))
	for _, v := range w.Vars {
		switch name, _, _ := strings.Cut(v, "="); {
		case name == "SERVER_ADMIN":
		case name == "DOCUMENT_ROOT" && rt.docRoot != "":
			vars = append(vars, "DOCUMENT_ROOT="+rt.docRoot)
		default:
			vars = append(vars, v)
		}
	}
	if rt.admin != "" {
		vars = append(vars, "SERVER_ADMIN="+rt.admin)
	}
	return &cgi.Request{
		Script: w.Script, Route: rt.label(), Env: rt.env, Vars: vars,
		Timeout: rt.timeouts, Queue: rt.queue, Workers: rt.workers, Confine: rules,
	}, nil
}

// firstRequest is what a browser's first request to a route's program would be; nil if it can't be told.
func (s *Server) firstRequest(st *state, rt *route) *cgi.Request {
	r, err := http.NewRequest(http.MethodGet, "http://localhost"+(&url.URL{Path: rt.Path}).EscapedPath(), nil)
	if err != nil || !strings.HasPrefix(rt.Path, "/") {
		return nil
	}
	r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:1"
	for _, name := range []string{"User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Cookie", "Referer"} {
		r.Header.Set(name, "-")
	}
	look := &explainer{}
	only := &Server{watch: newWatch(false), log: slog.New(slog.DiscardHandler), backend: look, metrics: s.metrics, ids: s.ids}
	x := &exchange{ResponseWriter: httptest.NewRecorder(), s: only, st: st, rules: &doorRules{}, r: r, first: r, route: rt, client: client{addr: r.RemoteAddr}}
	if x.path, err = urlpath.Parse(r.URL.EscapedPath()); err != nil {
		return nil
	}
	rest, _ := x.path.Match(rt.Path)
	x.serveProgram(rt, rest) // the explainer ends it
	return look.got
}
