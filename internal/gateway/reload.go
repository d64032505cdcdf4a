package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
)

// ErrStopping: the server ends, and takes no other configuration.
var ErrStopping = errors.New("the gateway is ending")

// Reloaded is what a reload has done.
type Reloaded struct {
	Took time.Duration `json:"took"`
	// Routes of the configuration, and which of them are new, not as before, or gone.
	Routes  int      `json:"routes"`
	New     []string `json:"new,omitempty"`
	Changed []string `json:"changed,omitempty"`
	Gone    []string `json:"gone,omitempty"`
	// Doors that were opened and closed.
	Opened []string `json:"opened,omitempty"`
	Closed []string `json:"closed,omitempty"`
	// Loaded are the scripts whose warm parents were loaded ahead.
	Loaded []string `json:"loaded,omitempty"`
	// Notes say what is no error, but may not be what was wanted.
	Notes []string `json:"notes,omitempty"`
}

// String says it in a line.
func (r *Reloaded) String() string {
	s := fmt.Sprintf("%d routes", r.Routes)
	if r.Routes == 1 {
		s = "1 route"
	}
	for _, part := range []struct {
		what  string
		names []string
	}{{"new", r.New}, {"changed", r.Changed}, {"gone", r.Gone}, {"loaded ahead", r.Loaded}, {"opened", r.Opened}, {"closed", r.Closed}} {
		if len(part.names) > 0 {
			s += "; " + part.what + ": " + strings.Join(part.names, ", ")
		}
	}
	return s + "; took " + r.Took.Round(time.Millisecond).String()
}

// Reload takes another configuration. It has everything made that is new, and its warm parents loaded, before it
// switches; what the old configuration alone has is closed when its last request has ended. When it fails, everything is
// as before. What can't be changed comes back as [config.Errors].
func (s *Server) Reload(ctx context.Context, load func() (*config.Config, error)) (*Reloaded, error) {
	select {
	case <-s.turn:
	case <-s.stopping:
		return nil, ErrStopping
	case <-ctx.Done():
		return nil, fmt.Errorf("another reload is under way: %w", context.Cause(ctx))
	}
	defer func() { s.turn <- struct{}{} }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() { // ends with the reload
		select {
		case <-s.stopping:
			cancel(ErrStopping)
		case <-done:
		}
	}()
	began := time.Now()
	var r *Reloaded
	c, err := load()
	if err == nil {
		r, err = s.reload(ctx, c)
	}
	s.noteReload(began, err)
	if err != nil {
		s.log.Error("the configuration was not taken, the old one stays", "err", summary(err))
		return nil, err
	}
	r.Took = time.Since(began)
	s.log.Info("the configuration was taken", "what", r.String())
	for _, n := range r.Notes {
		s.log.Warn("a note on the configuration", "what", n)
	}
	return r, nil
}

// summary is an error for the log: without the lines of the file.
func summary(err error) string {
	var list config.Errors
	if !errors.As(err, &list) {
		return err.Error()
	}
	text := make([]string, len(list))
	for i, e := range list {
		text[i] = e.Summary()
	}
	return strings.Join(text, "; ")
}

func (s *Server) reload(ctx context.Context, c *config.Config) (*Reloaded, error) {
	old := s.state.Load()
	if bad := s.unchangeable(old.config, c); len(bad) > 0 {
		return nil, bad
	}
	b := s.newBuild(c, old)
	r := b.report()
	s.takeBack()
	err := b.all()
	if err == nil {
		err = b.applications()
	}
	if err == nil {
		err = b.loadAhead(ctx, r)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if s.isStopping() {
		err = ErrStopping // also of what has failed because of that
	}
	if err != nil {
		b.undo()
		s.retirePools() // what was loaded ahead
		return nil, err
	}
	for _, d := range b.opened {
		r.Opened = append(r.Opened, d.key)
	}
	for _, d := range b.gone {
		r.Closed = append(r.Closed, d.key)
	}
	for _, n := range c.Notes {
		r.Notes = append(r.Notes, n.Summary())
	}
	s.take(b)
	return r, nil
}

// unchangeable are the keys that only a start reads.
func (s *Server) unchangeable(was, is *config.Config) (bad config.Errors) {
	const restart = "can't be changed by a reload: upgrade the gateway (gateway upgrade), or start it anew"
	if !reflect.DeepEqual(was.Admin, is.Admin) {
		bad = append(bad, is.ErrorAt("admin", restart))
	}
	if was.Log.Format != is.Log.Format {
		bad = append(bad, is.ErrorAt("log.format", restart))
	}
	if was.Log.Level != is.Log.Level && s.o.Level == nil {
		bad = append(bad, is.ErrorAt("log.level", restart))
	}
	return bad
}

// report compares the routes.
func (b *build) report() *Reloaded {
	r := &Reloaded{Routes: len(b.st.config.Routes)}
	was := map[string]config.Route{}
	for _, rt := range b.old.config.Routes {
		was[rt.Name()] = rt
	}
	for _, rt := range b.st.config.Routes {
		name := rt.Name()
		before, known := was[name]
		delete(was, name)
		switch {
		case !known:
			r.New = append(r.New, name)
		case !reflect.DeepEqual(before, rt):
			r.Changed = append(r.Changed, name)
		}
	}
	for _, rt := range b.old.config.Routes {
		if _, left := was[rt.Name()]; left {
			r.Gone = append(r.Gone, rt.Name())
		}
	}
	return r
}

// take makes the state the current one: from here on nothing can fail.
func (s *Server) take(b *build) {
	old := b.old
	for _, d := range b.gone {
		d.last.Store(old.rules(d))
	}
	for _, d := range b.lent { // who waits there is the new door's
		d.disown()
		d.unlisten(s.life, true)
	}
	for _, d := range b.opened {
		d.own()
	}
	s.mu.Lock()
	s.state.Store(b.st)
	s.leaving[old] = true
	s.doors = b.doors
	for _, d := range b.gone {
		s.closing[d] = true
	}
	if s.serving && !s.isStopping() {
		for _, d := range b.opened {
			s.let(d)
		}
		startACME(b.st)
	}
	s.mu.Unlock()
	s.closeUnwanted(old, b.st)
	for path, mode := range b.modes {
		if err := setMode(path, mode); err != nil {
			s.log.Error("the permissions of a door's socket stay as they are", "socket", path, "err", err)
		}
	}
	most := maxProcesses(b.st.config)
	s.queue.SetMaxRunning(most)
	s.places.limit.Store(most)
	if s.pools != nil {
		s.pools.SetMemory(int64(b.st.config.WarmMemory))
	}
	if s.o.Level != nil && old.config.Log.Level != b.st.config.Log.Level {
		s.o.Level.Set(b.st.config.Log.Level.Slog())
	}
	old.release()
	s.leavers.Go(func() { s.leave(old) })
	for _, d := range b.gone {
		s.leavers.Go(func() { s.closeDoor(d) })
	}
}

// leave closes what only an old state has, when nobody uses it any more. It ends then, or when the server does, which
// closes the rest.
func (s *Server) leave(old *state) {
	select {
	case <-old.drained:
	case <-s.life.Done():
		return
	}
	select {
	case <-s.turn: // what a reload has loaded ahead no state has yet
	case <-s.life.Done():
		return
	}
	unused := s.disuse(old)
	s.mu.Lock()
	delete(s.leaving, old)
	s.mu.Unlock()
	s.retirePools()
	if !slices.ContainsFunc(s.states(), func(st *state) bool { return st.access == old.access }) {
		old.access.close()
	}
	traced := slices.ContainsFunc(s.states(), func(st *state) bool { return st.tracer == old.tracer })
	s.turn <- struct{}{}
	closeAll(s.life, unused)
	if !traced {
		closeTracer(s.life, old.tracer)
	}
}

// closeDoor closes a door that is not wanted any more. It ends when its last request has.
func (s *Server) closeDoor(d *door) {
	if d.addr.Network() == "systemd" { // for a reload that wants it back
		if l, err := dupListener(d.listener); err == nil {
			s.mu.Lock()
			s.returned = append(s.returned, returned{d.addr, l})
			s.mu.Unlock()
		}
	}
	if d.stop(s.life, ending{linger: lastRequest}) != nil {
		d.close()
	}
	d.listener.Close()
	s.mu.Lock()
	delete(s.closing, d)
	s.mu.Unlock()
}

// takeBack has systemd's sockets that no door has. The caller must have the turn.
func (s *Server) takeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.returned {
		s.spare.put(r.addr, r.socket)
	}
	s.returned = nil
}

// returned is a socket of systemd's whose door has gone.
type returned struct {
	addr   config.Address
	socket net.Listener
}

// retirePools lets the pools go that no state has a route for. The caller must have the turn.
func (s *Server) retirePools() {
	if s.pools == nil {
		return
	}
	routes := map[*cgi.Workers][]*route{}
	for _, st := range s.states() {
		for _, p := range st.all() {
			if p.workers != nil {
				routes[p.workers] = append(routes[p.workers], p.route)
			}
		}
	}
	s.pools.Retire(func(file string, w *cgi.Workers) bool {
		return slices.ContainsFunc(routes[w], func(rt *route) bool { return rt.has(file) })
	})
}
