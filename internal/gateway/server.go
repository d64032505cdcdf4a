// Package gateway is the server: doors that take requests, routes that say what
// answers them, files, logs and metrics. It turns HTTP into [cgi.Request] and
// [cgi.Response] into HTTP, each in one place (script.go, answer.go).
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"warmcgi/internal/cgi"
	"warmcgi/internal/cgroup"
	"warmcgi/internal/config"
	"warmcgi/internal/fcgi"
	"warmcgi/internal/pool"
)

// Options are what a [Server] needs beside its configuration.
type Options struct {
	// Log is the gateway's own log; nil is [slog.Default].
	Log *slog.Logger
	// Level is that of Log, where it can be changed.
	Level *slog.LevelVar
	// Stderr gets what scripts write to their standard error, line by line; nil logs it.
	Stderr func(req *cgi.Request, line string)
	// AccessLog, when not nil, gets the access log in place of what the configuration
	// names.
	AccessLog io.Writer
	// Shim is the command that becomes a script's warm parent, or a script with limits;
	// without it every script is spawned, and those with limits can't be.
	Shim []string
	// Sockets are listening already, for doors at their addresses. What no door has is
	// closed by [Server.TakeOver], or kept for a reload if systemd has passed it.
	Sockets Sockets
}

// A Server serves one configuration, until Reload gives it another. It guarantees that
//
//   - Shutdown lets requests end, and when it returns no script runs any more;
//   - an answer that broke off never looks complete to its client;
//   - whatever is refused is refused with a status, a log line and a counter;
//   - a reload loses no request, and has taken place as a whole or not at all.
type Server struct {
	o       Options
	log     *slog.Logger
	state   atomic.Pointer[state] // the current one; Reload stores it
	spawn   *cgi.Spawn
	groups  *cgroup.Tree
	pools   *pool.Set // nil: every script is spawned
	backend cgi.Backend
	queue   *cgi.Queue // in front of backend
	metrics *metrics
	watch   *watch
	control control
	behind  fcgi.Applications // what routes lead to
	places  *places
	ids     *ids
	admin   *door

	challengeTLS *tls.Config // of an authority that asks, by tls-alpn-01
	pending      *seldom     // what is said of certificates that are not there yet

	stall    time.Duration // how long a client may take nothing of an answer
	hashers  *hashers
	headTime time.Duration // how long it may take for the head of a request, or a TLS handshake

	busy     atomic.Int64  // requests under way
	stopping chan struct{} // closed when Shutdown begins
	stopOnce sync.Once
	failed   chan error     // the first door that failed
	running  sync.WaitGroup // goroutines of the doors

	life    context.Context // ends when Shutdown has waited long enough
	endLife context.CancelFunc
	leavers sync.WaitGroup // goroutines that close what a reload has left over

	// turn holds a token while nobody changes doors or state: a reload, what it has left over, an upgrade, and Shutdown,
	// which keeps it.
	turn  chan struct{}
	spare Sockets // nobody's; of whoever has the turn

	mu       sync.Mutex      // guards what follows; never held over a wait
	doors    []*door         // in the order of the configuration; set by whoever has the turn
	closing  map[*door]bool  // those that the configuration does not have any more
	leaving  map[*state]bool // those before the current one that are still used
	users    map[*served]int // how many states have an application; all of them are here
	serving  bool            // Serve was called
	returned []returned      // sockets for spare, of doors that have closed
	reloads  ReloadStatus
}

// New opens the doors of a configuration, but does not let anybody in yet: see
// [Server.Serve].
func New(c *config.Config, o Options) (*Server, error) {
	s := &Server{
		o: o, log: o.Log, metrics: newMetrics(), watch: newWatch(c.Admin.ShowQueries), control: control{level: o.Level}, ids: newIDs(), stall: writeStall, headTime: headerTimeout, hashers: newHashers(o.Log), stopping: make(chan struct{}),
		failed: make(chan error, 1), turn: make(chan struct{}, 1),
		closing: map[*door]bool{}, leaving: map[*state]bool{}, users: map[*served]int{},
	}
	s.challengeTLS, s.pending = s.newChallengeTLS(), newSeldom(time.Minute)
	s.life, s.endLife = context.WithCancel(context.Background())
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.o.Stderr == nil {
		s.o.Stderr = cgi.LogStderr(s.log)
	}
	s.o.Stderr = s.watch.stderr(s.o.Stderr)
	s.groups = cgroup.New()
	var err error
	if s.spawn, err = cgi.NewSpawn(cgi.SpawnConfig{Log: s.log, Stderr: s.o.Stderr, Shim: o.Shim, Groups: s.groups}); err != nil {
		return nil, err
	}
	var runs cgi.Backend = s.spawn
	if len(o.Shim) > 0 {
		s.pools, err = pool.New(pool.Config{
			Spawn: s.spawn, Shim: o.Shim, Memory: int64(c.WarmMemory), Processors: processors(),
			Log: s.log, Stderr: s.o.Stderr, Registerer: s.metrics.registry, Groups: s.groups,
		})
		if err != nil {
			return nil, err
		}
		runs = s.pools
	}
	s.places = newPlaces(maxProcesses(c))
	s.queue = cgi.NewQueue(s.places.timed(s.metrics.counted(traced(trace.SpanKindInternal, runs))), cgi.QueueConfig{
		MaxRunning: maxProcesses(c), Processors: processors(),
		Waiting: s.metrics.waitingChanged,
		Waited:  s.metrics.waitedFor,
	})
	s.backend = s.queue
	s.metrics.registry.MustRegister(applicationMetrics{s.applications}, frontMetrics{s.openDoors}, reloadMetrics{s}, s.places, certificateMetrics{s.certificates, s.acmeCertificates})
	if err := s.begin(c); err != nil {
		if s.pools != nil {
			s.pools.Close(context.Background()) // nothing was started yet
		}
		s.groups.Close()
		return nil, err
	}
	s.turn <- struct{}{}
	return s, nil
}

// maxProcesses is max_processes, or what the machine has room for.
func maxProcesses(c *config.Config) int64 {
	if c.MaxProcesses == 0 {
		return defaultProcesses()
	}
	return int64(c.MaxProcesses)
}

// begin makes the first state.
func (s *Server) begin(c *config.Config) (err error) {
	if s.spare, err = inheritedSockets(); err != nil {
		return err
	}
	s.spare.add(s.o.Sockets)
	b := s.newBuild(c, nil)
	if err = b.all(); err == nil && !c.Admin.IsZero() {
		s.admin, err = s.openAdmin(&c.Admin, s.spare)
	}
	if err == nil { // last, as it starts programs
		err = b.applications()
	}
	if err != nil {
		b.undo()
		s.spare.close()
		if s.admin != nil {
			s.admin.close()
		}
		return err
	}
	s.state.Store(b.st)
	s.doors = b.doors
	s.reloads.Since = b.st.since
	return nil
}

// Serve lets requests in, until Shutdown or until a door fails.
func (s *Server) Serve() error {
	s.mu.Lock()
	s.serving = true
	for _, d := range s.allDoorsLocked() {
		s.let(d)
	}
	startACME(s.state.Load())
	s.mu.Unlock()
	var first error
	select {
	case first = <-s.failed:
		s.stop()
		for _, d := range s.allDoors() {
			d.close()
		}
	case <-s.stopping:
	}
	s.running.Wait()
	return first
}

// let lets requests in at a door. The caller must hold s.mu.
func (s *Server) let(d *door) {
	s.running.Go(func() { // ends with the door
		err := d.run(d.listener)
		if err == nil || errors.Is(err, http.ErrServerClosed) || d.isClosing() || s.isStopping() {
			return
		}
		select {
		case s.failed <- fmt.Errorf("door %s: %w", d, err):
		default: // another one has failed before
		}
	})
}

// Addrs are where the doors listen, in the order of the configuration, as URLs or
// addresses that a person can use.
func (s *Server) Addrs() []string {
	var a []string
	for _, d := range s.openDoors() {
		a = append(a, d.String())
	}
	return a
}

// Listeners are the addresses of the doors, in the order of the configuration.
func (s *Server) Listeners() []net.Addr {
	var a []net.Addr
	for _, d := range s.openDoors() {
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

// AdminURL is where a person finds the admin door: its URL, or unix:/path; "" is that there is none.
func (s *Server) AdminURL() string {
	switch {
	case s.admin == nil:
		return ""
	case s.admin.unix:
		return "unix:" + s.admin.listener.Addr().String()
	}
	return s.admin.String()
}

// Owns reports whether a process is a script that the server waits for itself.
func (s *Server) Owns(pid int) bool {
	for _, a := range s.served() {
		if a.program != nil && a.program.Owns(pid) {
			return true
		}
	}
	return s.spawn.Owns(pid) || s.pools != nil && s.pools.Owns(pid)
}

// ReopenLogs is for log rotation.
func (s *Server) ReopenLogs() error {
	st := s.hold()
	defer st.release()
	return st.access.reopen()
}

// Shutdown closes the doors, waits for the requests that are under way until ctx
// ends, then ends what is left of them.
func (s *Server) Shutdown(ctx context.Context) error { return s.end(ctx, ending{}) }

// Leave is Shutdown where another process has the doors' sockets now: nobody has to be
// sent away. A client with an idle connection may send one more request on it, for as long as lastRequest,
// and is told by its answer that the connection ends.
func (s *Server) Leave(ctx context.Context) error {
	for _, d := range s.allDoors() {
		d.disown()
	}
	if s.admin != nil { // who asks from now on is to ask the other one
		s.admin.gone.Store(true)
		s.admin.listener.Close()
	}
	return s.end(ctx, ending{shared: true, linger: lastRequest})
}

func (s *Server) end(ctx context.Context, how ending) error {
	s.stop()
	<-s.turn // a reload gives up when the server stops
	defer s.endLife()
	stopACME(s.state.Load()) // another process may wait to do that work
	var wg sync.WaitGroup
	for _, d := range s.openDoors() {
		wg.Go(func() {
			if d.stop(ctx, how) != nil {
				d.close()
			}
			d.listener.Close() // of a door that nobody was let in at
		})
	}
	wg.Wait()
	s.waitBusy(ctx) // those whose connection is not net/http's any more, and those of doors that close
	s.endLife()
	s.leavers.Wait()
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
	err = errors.Join(err, perr, s.groups.Close())
	s.waitBusy(grace)
	if s.admin != nil { // who has asked for an upgrade is told of it
		last, cancel := context.WithTimeout(grace, lastAnswer)
		s.admin.stop(last, ending{})
		cancel()
		s.admin.close()
	}
	s.closeLogs()
	s.closeTracers(grace)
	closeACME(grace, s.state.Load().acme)
	s.takeBack()
	s.spare.close()
	return err
}

// lastAnswer is how long the admin door may take for the answers that it gives.
const lastAnswer = time.Second

// busyLook is how often waitBusy looks.
const busyLook = 5 * time.Millisecond

// waitBusy waits for handlers whose connection was taken from net/http's hands. A sync.WaitGroup would not do: where ctx
// has ended, others may still come in.
func (s *Server) waitBusy(ctx context.Context) {
	t := time.NewTicker(busyLook)
	defer t.Stop()
	for s.busy.Load() > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
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
	var longest time.Duration
	for _, st := range s.states() {
		longest = max(longest, time.Duration(st.config.Defaults.Timeout.Grace))
		for _, rt := range st.routes {
			longest = max(longest, rt.timeouts.Grace)
		}
	}
	return longest
}

// openDoors are those of the configuration.
func (s *Server) openDoors() []*door {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.doors)
}

// allDoors are all that are not closed yet, with the admin door.
func (s *Server) allDoors() []*door {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allDoorsLocked()
}

func (s *Server) allDoorsLocked() []*door {
	all := s.doorsLocked()
	if s.admin != nil {
		all = append(all, s.admin)
	}
	return all
}

func (s *Server) doorsLocked() []*door {
	return slices.AppendSeq(slices.Clone(s.doors), maps.Keys(s.closing))
}
