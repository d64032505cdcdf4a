package gateway

import (
	"path"
	"strings"
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
	upstream *fcgi.Upstream
	queue    cgi.QueueLimits
}

// newApplications makes those of all routes.
func (s *Server) newApplications(stderr func(*cgi.Request, string)) error {
	if stderr == nil {
		stderr = func(req *cgi.Request, line string) {
			s.log.Warn("script wrote to standard error", "id", req.ID, "script", req.Script.Name, "line", line)
		}
	}
	for _, rt := range s.routes {
		c := rt.FastCGI
		if rt.PHP != nil {
			c = rt.PHP.FastCGI
		}
		if c == nil || rt.Unsupported != "" {
			continue
		}
		a, err := s.newApplication(rt, c, stderr)
		if err != nil {
			return err
		}
		rt.app = a
	}
	return nil
}

func (s *Server) newApplication(rt *route, c *config.FastCGI, stderr func(*cgi.Request, string)) (*application, error) {
	conns := c.MaxConns
	if conns == 0 {
		conns = int(defaultProcesses())
	}
	uc := fcgi.UpstreamConfig{
		Name: c.DNS, Each: fcgi.TransportConfig{Network: "tcp", MaxConns: conns, Stderr: stderr}, Refresh: time.Duration(c.Refresh),
		RoundRobin: c.Balance == config.BalanceRoundRobin, Log: s.log,
	}
	for _, a := range c.Servers {
		uc.Servers = append(uc.Servers, fcgi.TransportConfig{Network: a.Network(), Address: a.Addr(), MaxConns: conns, Stderr: stderr})
	}
	u, err := fcgi.NewUpstream(uc)
	if err != nil {
		return nil, err
	}
	a := &application{upstream: u, queue: rt.queue}
	if a.queue.Running = int64(conns * len(c.Servers)); c.DNS != "" {
		a.queue.Running = defaultProcesses() // how many servers there will be is not known
	}
	a.Backend = cgi.NewQueue(s.metrics.counted(u), cgi.QueueConfig{
		MaxRunning: a.queue.Running,
		OneLine:    true,
		Waiting:    s.metrics.waitingChanged,
		Waited:     s.metrics.waitedFor,
	})
	return a, nil
}

// serveApplication: all of the route's URLs belong to one FastCGI application.
func (x *exchange) serveApplication(rt *route, rest urlpath.Path) error {
	sc := scriptCall{
		name: strings.TrimSuffix(urlpath.Path(x.path[:len(x.path)-len(rest)]).Clean(), "/"),
		info: rest.String(),
	}
	if rt.docRoot != "" {
		sc.file = path.Join(rt.docRoot, sc.name)
	}
	sc.label = rt.Path
	return x.serveScript(rt, sc)
}
