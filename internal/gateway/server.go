// Package gateway is the server: doors that take requests, routes that say what
// answers them, files, logs and metrics. It turns HTTP into [cgi.Request] and
// [cgi.Response] into HTTP, each in one place (script.go, answer.go).
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/pool"
)

// Options are what a [Server] needs beside its configuration.
type Options struct {
	// Log is the gateway's own log; nil is [slog.Default].
	Log *slog.Logger
	// Stderr gets what scripts write to their standard error, line by line; nil logs it.
	Stderr func(req *cgi.Request, line string)
	// AccessLog, when not nil, gets the access log in place of what the configuration
	// names.
	AccessLog io.Writer
	// Shim is the command that becomes a script's warm parent, or a script with limits;
	// without it every script is spawned, and those with limits can't be.
	Shim []string
}

// A Server serves one configuration. It guarantees that
//
//   - Shutdown lets requests end, and when it returns no script runs any more;
//   - an answer that broke off never looks complete to its client;
//   - whatever is refused is refused with a status, a log line and a counter.
type Server struct {
	config  *config.Config
	log     *slog.Logger
	trusted config.Prefixes
	routes  routeTable
	spawn   *cgi.Spawn
	pools   *pool.Set // nil: every script is spawned
	backend cgi.Backend
	metrics *metrics
	access  *accessLog
	ids     *ids
	doors   []*door
	admin   *door

	stall time.Duration // how long a client may take nothing of an answer

	busy     sync.WaitGroup // requests under way
	stopping chan struct{}  // closed when Shutdown begins
	stopOnce sync.Once
}

// New opens the doors of a configuration, but does not let anybody in yet: see
// [Server.Serve].
func New(c *config.Config, o Options) (*Server, error) {
	s := &Server{config: c, log: o.Log, trusted: c.TrustedProxies, metrics: newMetrics(), ids: newIDs(), stall: writeStall, stopping: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	var err error
	if s.routes, err = newRouteTable(c); err != nil {
		return nil, err
	}
	if s.spawn, err = cgi.NewSpawn(cgi.SpawnConfig{Log: s.log, Stderr: o.Stderr, Shim: o.Shim}); err != nil {
		return nil, err
	}
	limit := int64(c.MaxProcesses)
	if limit == 0 {
		limit = defaultProcesses()
	}
	var runs cgi.Backend = s.spawn
	if len(o.Shim) > 0 {
		s.pools, err = pool.New(pool.Config{
			Spawn: s.spawn, Shim: o.Shim, Memory: int64(c.WarmMemory), Processors: runtime.NumCPU(),
			Log: s.log, Stderr: o.Stderr, Registerer: s.metrics.registry,
		})
		if err != nil {
			return nil, err
		}
		runs = s.pools
	}
	s.backend = cgi.NewQueue(s.metrics.counted(runs), cgi.QueueConfig{
		MaxRunning: limit,
		Waiting:    s.metrics.waitingChanged,
		Waited:     s.metrics.waitedFor,
	})
	if o.AccessLog != nil {
		s.access = newAccessLogTo(o.AccessLog, c.Log.Access.Format)
	} else if s.access, err = newAccessLog(c.Log.Access); err != nil {
		return nil, err
	}
	err = s.open()
	if err == nil { // last, as it starts programs
		err = s.newApplications(o.Stderr)
	}
	if err != nil {
		s.closeDoors()
		s.access.close()
		return nil, err
	}
	return s, nil
}

// open listens at every door.
func (s *Server) open() error {
	inherited, err := inheritedSockets()
	if err != nil {
		return err
	}
	for i := range s.config.Listen {
		d, err := s.openDoor(&s.config.Listen[i], inherited)
		if err != nil {
			return err
		}
		s.doors = append(s.doors, d)
	}
	if !s.config.Admin.IsZero() {
		s.admin, err = s.openAdmin(inherited)
	}
	return err
}

// Serve lets requests in, until Shutdown or until a door fails.
func (s *Server) Serve() error {
	all := s.allDoors()
	failed := make(chan error, len(all))
	for _, d := range all {
		go func() { // ends with the door
			err := d.serve()
			if errors.Is(err, http.ErrServerClosed) || s.isStopping() {
				err = nil
			} else if err != nil {
				err = fmt.Errorf("door %s: %w", d, err)
			}
			failed <- err
		}()
	}
	var first error
	for range all {
		if err := <-failed; err != nil && first == nil {
			first = err
			s.stop()
			for _, d := range all {
				d.close()
			}
		}
	}
	return first
}

// Addrs are where the doors listen, in the order of the configuration, as URLs or
// addresses that a person can use.
func (s *Server) Addrs() []string {
	var a []string
	for _, d := range s.doors {
		a = append(a, d.String())
	}
	return a
}

// Listeners are the addresses of the doors, in the order of the configuration.
func (s *Server) Listeners() []net.Addr {
	var a []net.Addr
	for _, d := range s.doors {
		a = append(a, d.listener.Addr())
	}
	return a
}

// AdminAddr is the address of the admin door, or nil.
func (s *Server) AdminAddr() net.Addr {
	if s.admin == nil {
		return nil
	}
	return s.admin.listener.Addr()
}

// Owns reports whether a process is a script that the server waits for itself.
func (s *Server) Owns(pid int) bool {
	for _, rt := range s.routes {
		if rt.app != nil && rt.app.program != nil && rt.app.program.Owns(pid) {
			return true
		}
	}
	return s.spawn.Owns(pid) || s.pools != nil && s.pools.Owns(pid)
}

// ReopenLogs is for log rotation.
func (s *Server) ReopenLogs() error { return s.access.reopen() }

// Shutdown closes the doors, waits for the requests that are under way until ctx
// ends, then ends what is left of them.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	var wg sync.WaitGroup
	for _, d := range s.doors {
		wg.Go(func() {
			if d.shutdown(ctx) != nil {
				d.close()
			}
			d.listener.Close() // of a door that nobody was let in at
		})
	}
	wg.Wait()
	s.waitBusy(ctx) // those whose connection is not net/http's any more
	// Whoever is left behind a closed door gets the grace of its route, and its group
	// a SIGKILL after that.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.longestGrace()+5*time.Second)
	defer cancel()
	var pools sync.WaitGroup
	var perr error
	if s.pools != nil {
		pools.Go(func() { perr = s.pools.Close(grace) })
	}
	pools.Go(func() { s.closeApplications(grace) })
	err := s.spawn.Close(grace)
	pools.Wait()
	err = errors.Join(err, perr)
	s.waitBusy(grace)
	if s.admin != nil {
		s.admin.close()
	}
	s.access.close()
	return err
}

// waitBusy waits for handlers whose connection was taken from net/http's hands.
func (s *Server) waitBusy(ctx context.Context) {
	done := make(chan struct{})
	go func() { // ends with the last request
		s.busy.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (s *Server) stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

func (s *Server) longestGrace() time.Duration {
	longest := time.Duration(s.config.Defaults.Timeout.Grace)
	for _, rt := range s.routes {
		longest = max(longest, rt.timeouts.Grace)
	}
	return longest
}

func (s *Server) allDoors() []*door {
	if s.admin == nil {
		return s.doors
	}
	return append(s.doors[:len(s.doors):len(s.doors)], s.admin)
}

func (s *Server) closeDoors() {
	for _, d := range s.allDoors() {
		d.close()
	}
}
