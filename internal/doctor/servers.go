package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"warmcgi/internal/config"
)

// serverTime is how long a server may take to let us connect.
const serverTime = 3 * time.Second

// A server is one address of a FastCGI application that somebody else runs.
type server struct {
	route *config.Route
	at    config.Address
}

// serversOf are the servers of all routes, each once for a route.
func serversOf(c *config.Config) (all []server) {
	for i := range c.Routes {
		r := &c.Routes[i]
		for _, f := range applicationsOf(r) {
			for _, a := range f.Servers {
				all = append(all, server{r, a})
			}
		}
	}
	return all
}

func applicationsOf(r *config.Route) (all []*config.FastCGI) {
	if r.FastCGI != nil {
		all = append(all, r.FastCGI)
	}
	if r.PHP != nil && r.PHP.FastCGI != nil {
		all = append(all, r.PHP.FastCGI)
	}
	if r.Authorize != nil && r.Authorize.FastCGI != nil {
		all = append(all, r.Authorize.FastCGI)
	}
	return all
}

// examine makes a connection, and asks nothing.
func (s server) examine(ctx context.Context, o Options) Patient {
	p := Patient{Kind: KindServer, Route: s.route.Name(), Name: s.at.String()}
	timeout := serverTime
	if o.Timeout > 0 {
		timeout = min(timeout, o.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	network := s.at.Network()
	if network == "tls" {
		network = "tcp"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, s.at.Addr())
	if err == nil {
		conn.Close()
		return p
	}
	advice := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		advice = "is it running? `listen` in php-fpm's pool says where its socket is"
	case errors.Is(err, os.ErrPermission):
		advice = "listen.owner, listen.group and listen.mode in php-fpm's pool say who may connect"
	case errors.Is(err, syscall.ECONNREFUSED):
		advice = "nobody listens there: is it running?"
	}
	p.add(fault(advice, "can't be reached: %v", err))
	return p
}
