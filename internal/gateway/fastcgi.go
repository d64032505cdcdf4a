package gateway

import (
	"context"
	"path"
	"sync"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/fcgi"
	"warmcgi/internal/urlpath"
)

// application is what answers a route's requests by FastCGI, behind a queue of its own:
// its requests are no processes of ours.
type application struct {
	cgi.Backend
	servers interface{ Close(ctx context.Context) }
	program *fcgi.Program // nil: others start it
	queue   cgi.QueueLimits
}

// newApplications makes those of all routes.
func (s *Server) newApplications(stderr func(*cgi.Request, string)) error {
	if stderr == nil {
		stderr = cgi.LogStderr(s.log)
	}
	for _, rt := range s.routes {
		c := rt.FastCGI
		if rt.PHP != nil {
			c = rt.PHP.FastCGI
		}
		if c == nil {
			continue
		}
		a, err := s.newApplication(rt, c, stderr)
		if err != nil {
			s.closeApplications(context.Background()) // they have no request yet
			return err
		}
		rt.app = a
	}
	return nil
}

// closeApplications breaks off what is left of their requests when ctx ends.
func (s *Server) closeApplications(ctx context.Context) {
	var wg sync.WaitGroup
	for _, rt := range s.routes {
		if rt.app != nil {
			wg.Go(func() { rt.app.servers.Close(ctx) })
		}
	}
	wg.Wait()
}

func (s *Server) newApplication(rt *route, c *config.FastCGI, stderr func(*cgi.Request, string)) (*application, error) {
	a := &application{queue: rt.queue}
	var next cgi.Backend
	if c.Program != "" {
		p, err := fcgi.NewProgram(fcgi.ProgramConfig{
			File: c.Program, Args: c.Args, Dir: path.Dir(c.Program), Env: rt.env, Processes: c.Processes,
			Requests: rt.Reuse.Requests, Age: time.Duration(rt.Reuse.Age), Memory: int64(rt.Reuse.Memory), Grace: rt.timeouts.Grace,
			Stderr: stderr, Log: s.log,
		})
		if err != nil {
			return nil, err
		}
		next, a.servers, a.program, a.queue.Running = p, p, p, int64(c.Processes)
	} else {
		u, err := fcgi.NewUpstream(s.upstream(c, stderr))
		if err != nil {
			return nil, err
		}
		next, a.servers, a.queue.Running = u, u, int64(conns(c)*len(c.Servers))
		if c.DNS != "" {
			a.queue.Running = defaultProcesses() // how many servers there will be is not known
		}
	}
	a.Backend = cgi.NewQueue(s.metrics.counted(next), cgi.QueueConfig{
		MaxRunning: a.queue.Running,
		OneLine:    true,
		Waiting:    s.metrics.waitingChanged,
		Waited:     s.metrics.waitedFor,
	})
	return a, nil
}

func (s *Server) upstream(c *config.FastCGI, stderr func(*cgi.Request, string)) fcgi.UpstreamConfig {
	uc := fcgi.UpstreamConfig{
		Name: c.DNS, Each: fcgi.TransportConfig{Network: "tcp", MaxConns: conns(c), Stderr: stderr}, Refresh: time.Duration(c.Refresh),
		RoundRobin: c.Balance == config.BalanceRoundRobin, Log: s.log,
	}
	for _, a := range c.Servers {
		uc.Servers = append(uc.Servers, fcgi.TransportConfig{Network: a.Network(), Address: a.Addr(), MaxConns: conns(c), Stderr: stderr})
	}
	return uc
}

// conns is max_conns, which may be no limit.
func conns(c *config.FastCGI) int {
	if c.MaxConns == 0 {
		return int(defaultProcesses())
	}
	return c.MaxConns
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
