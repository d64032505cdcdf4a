package gateway

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/fcgi"
	"warmcgi/internal/urlpath"
)

// application is what answers a route's requests by FastCGI. They wait in a line of their
// own: they are no processes of ours, or not such as scripts have.
type application struct {
	*served
	queue cgi.QueueLimits
}

// served are the servers or processes of an application. States that want the same ones share
// them: see Server.users.
type served struct {
	cgi.Backend
	servers  interface{ Close(ctx context.Context) }
	upstream *fcgi.Upstream // nil: the gateway starts it
	program  *fcgi.Program  // nil: others start it
	made     madeOf
	shows    *certFiles // to its servers; nil: none
}

// madeOf is what makes two of them the same.
type madeOf struct {
	route      string
	authorizer bool
	config     config.FastCGI // without what is the route's
	ca         string         // what the file of tls.ca holds
	env        []string       // this and what follows: of a program
	reuse      config.Reuse
	grace      time.Duration
}

func (rt *route) madeOf(c *config.FastCGI, authorizer bool) madeOf {
	m := madeOf{route: rt.label(), authorizer: authorizer, config: *c}
	m.config.Params = nil
	if c.TLS != nil && c.TLS.CA != "" {
		pem, _ := os.ReadFile(c.TLS.CA) // who makes it reads it again
		m.ca = string(pem)
	}
	if c.Program != "" {
		m.env, m.reuse, m.grace = rt.env, rt.Reuse, rt.timeouts.Grace
	}
	return m
}

// newRouteApplications makes those of a route, by way of make, which may have them already.
func newRouteApplications(rt *route, make func(m madeOf) (*served, error)) error {
	of := func(c *config.FastCGI, authorizer bool) (*application, error) {
		a, err := make(rt.madeOf(c, authorizer))
		if err != nil {
			return nil, err
		}
		queue := rt.queue
		if a.program != nil {
			queue.Running = int64(c.Processes)
		}
		return &application{served: a, queue: queue}, nil
	}
	var err error
	if c := ofRoute(&rt.Route); c != nil {
		if rt.app, err = of(c, false); err != nil {
			return err
		}
	}
	if rt.Authorize != nil {
		a, err := of(rt.Authorize.FastCGI, true)
		if err != nil {
			return err
		}
		rt.authorizer = newAuthorizer(rt, a)
		if rt.authorizer.params, err = newParams(rt.Authorize.FastCGI); err != nil {
			return fmt.Errorf("params of the authorizer of route %s: %w", rt.label(), err)
		}
	}
	return nil
}

// ofRoute is the application that answers a route's requests, or some of them; nil: none.
func ofRoute(r *config.Route) *config.FastCGI {
	if r.PHP != nil {
		return r.PHP.FastCGI
	}
	return r.FastCGI
}

// applications are those that the route has.
func (rt *route) applications() (all []*application) {
	if rt.app != nil {
		all = append(all, rt.app)
	}
	if rt.authorizer != nil {
		all = append(all, rt.authorizer.application)
	}
	return all
}

// served are all applications that a state has.
func (s *Server) served() []*served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.users))
}

// closeApplications breaks off what is left of their requests when ctx ends.
func (s *Server) closeApplications(ctx context.Context) {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.users))
	clear(s.users)
	s.mu.Unlock()
	closeAll(ctx, all)
}

func closeAll(ctx context.Context, all []*served) {
	var wg sync.WaitGroup
	for _, a := range all {
		wg.Go(func() { a.servers.Close(ctx) })
	}
	wg.Wait()
}

func (s *Server) newServed(m madeOf) (*served, error) {
	a := &served{made: m}
	c := &m.config
	if c.Program == "" {
		u, shows, err := s.newUpstream(m.route, c, m.authorizer, s.o.Stderr)
		if err != nil {
			return nil, err
		}
		a.servers, a.upstream, a.shows, a.Backend = u, u, shows, s.metrics.counted(traced(trace.SpanKindClient, u))
		return a, nil
	}
	p, err := fcgi.NewProgram(fcgi.ProgramConfig{
		File: c.Program, Args: c.Args, Dir: path.Dir(c.Program), Env: m.env, Processes: c.Processes, Authorizer: m.authorizer,
		Requests: m.reuse.Requests, Age: time.Duration(m.reuse.Age), Memory: int64(m.reuse.Memory), Grace: m.grace,
		Stderr: s.o.Stderr, Log: s.log,
	})
	if err != nil {
		return nil, err
	}
	a.servers, a.program = p, p
	a.Backend = cgi.NewQueue(s.metrics.counted(traced(trace.SpanKindClient, p)), cgi.QueueConfig{
		MaxRunning: int64(c.Processes), Processors: processors(),
		OneLine: true,
		Waiting: s.metrics.waitingChanged,
		Waited:  s.metrics.waitedFor,
	})
	return a, nil
}

// serveApplication: all of the route's URLs belong to one FastCGI application.
func (x *exchange) serveApplication(rt *route, rest urlpath.Path) error {
	sc := scriptCall{
		name: x.nameBefore(rest),
		info: rest.String(),
	}
	if rt.docRoot != "" {
		sc.file = path.Join(rt.docRoot, sc.name)
	}
	sc.label = rt.Path
	return x.serveScript(rt, sc)
}
