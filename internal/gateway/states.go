package gateway

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"warmcgi/internal/acme"
	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/tracing"
)

// A state is what one configuration has made: routes, what the doors let in, the access log, the tracer, who gets certificates. It does not change. A
// request keeps to the state that it began with, and so does whatever the request starts; when the state is another
// one's predecessor and the last of them has ended, what only it has is closed.
type state struct {
	config  *config.Config
	routes  routeTable
	order   []*door // in the order of the configuration
	doors   map[*door]*doorRules
	access  *accessLog
	headers *fieldRules     // of every answer
	tracer  *tracing.Tracer // nil: none
	acme    []*acme.Manager // who has certificates of doors; see closeUnwanted
	since   time.Time

	// users are those who hold the state: the server, as long as it is the current one, each exchange, and each request
	// that goes on behind its exchange. At 0 drained is closed, and nobody comes in any more.
	users   atomic.Int64
	drained chan struct{}
}

func newState(c *config.Config) *state {
	st := &state{config: c, headers: newFieldRules(c.Headers), doors: map[*door]*doorRules{}, since: time.Now(), drained: make(chan struct{})}
	st.users.Store(1)
	return st
}

// hold reports whether the state still may be used; then it is until release.
func (st *state) hold() bool {
	for {
		n := st.users.Load()
		if n == 0 {
			return false
		}
		if st.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (st *state) release() {
	if st.users.Add(-1) == 0 {
		close(st.drained)
	}
}

// hold takes the current state. It is to be released.
func (s *Server) hold() *state {
	for {
		if st := s.state.Load(); st.hold() {
			return st
		}
	}
}

// holdFor keeps the state until the request has ended, which can be long after its answer has.
func (st *state) holdFor(req *cgi.Request) {
	if st.hold() { // the exchange holds it, so this can't fail
		req.AtEnd(func(cgi.Exit) { st.release() })
	}
}

// rules are those of a door. One that closes keeps its last, for requests on connections that are there.
func (st *state) rules(d *door) *doorRules {
	if r := st.doors[d]; r != nil {
		return r
	}
	if r := d.last.Load(); r != nil {
		return r
	}
	return &doorRules{}
}

// placed is a route and where it stands, by which it is found again in another state.
type placed struct {
	place string
	*route
}

// all are the routes, with those that the doors have of their own.
func (st *state) all() []placed {
	var list []placed
	for _, rt := range st.routes {
		list = append(list, placed{rt.label(), rt})
	}
	for d, r := range st.doors {
		if r.named != nil {
			list = append(list, placed{"named at " + d.key, r.named})
		}
		if r.front != nil {
			list = append(list, placed{"front of " + d.key, r.front})
		}
	}
	return list
}

// at finds a route by its place.
func (st *state) at(place string) *route {
	for _, p := range st.all() {
		if p.place == place {
			return p.route
		}
	}
	return nil
}

// applications are those of all routes.
func (st *state) applications() []*application {
	var all []*application
	for _, rt := range st.routes {
		all = append(all, rt.applications()...)
	}
	return all
}

// adopt takes from the route that was in this place what makes its scripts the same, so that their pools go on, and
// what it knows of its clients.
func (rt *route) adopt(old *route) {
	if old != nil && reflect.DeepEqual(rt.RateLimit, old.RateLimit) {
		rt.limiter = old.limiter
	}
	if old == nil || rt.admin != old.admin || rt.docRoot != old.docRoot || !slices.Equal(rt.env, old.env) ||
		!reflect.DeepEqual(rt.workers, old.workers) || !reflect.DeepEqual(rt.confine, old.confine) ||
		!rt.owners.Adopt(old.owners) {
		return
	}
	rt.workers, rt.confine = old.workers, old.confine
}

// has reports whether the route may run a file: what lies in its folders, or is its program.
func (rt *route) has(file string) bool {
	inside := func(dir string) bool { return dir != "" && strings.HasPrefix(file, strings.TrimSuffix(dir, "/")+"/") }
	switch {
	case rt.CGI != nil && rt.CGI.Program != "":
		return file == rt.CGI.Program
	case rt.CGI != nil:
		return inside(rt.CGI.Dir)
	case rt.Files != nil:
		return inside(rt.Files.Root)
	}
	return slices.ContainsFunc(rt.folders, inside)
}

// states are the current one and those that still leave.
func (s *Server) states() []*state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(slices.Collect(maps.Keys(s.leaving)), s.state.Load())
}

// closeLogs closes the access logs of all states.
func (s *Server) closeLogs() {
	closed := map[*accessLog]bool{}
	for _, st := range s.states() {
		if !closed[st.access] {
			closed[st.access] = true
			st.access.close()
		}
	}
}

// closeTracers sends the last spans of all states.
func (s *Server) closeTracers(ctx context.Context) {
	var wg sync.WaitGroup
	closed := map[*tracing.Tracer]bool{nil: true}
	for _, st := range s.states() {
		if !closed[st.tracer] {
			closed[st.tracer] = true
			wg.Go(func() { closeTracer(ctx, st.tracer) })
		}
	}
	wg.Wait()
}
