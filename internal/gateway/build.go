package gateway

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"reflect"
	"slices"
	"syscall"

	"warmcgi/internal/acme"
	"warmcgi/internal/config"
)

// A build makes a state, out of what its predecessor has where that did not change. Until it is taken, nothing of the
// predecessor's is touched, and undo takes everything back. It belongs to whoever has the server's turn.
type build struct {
	s     *Server
	st    *state
	old   *state // nil: there is none before
	doors []*door

	opened []*door         // new ones
	gone   []*door         // that the configuration does not have any more
	lent   []*door         // those of them whose sockets new doors have
	begun  []*served       // new ones
	logs   bool            // the access log is a new one
	tracer bool            // the tracer is a new one
	acme   []*acme.Manager // new ones

	// modes are of Unix sockets whose permissions change.
	modes map[string]fs.FileMode
}

func (s *Server) newBuild(c *config.Config, old *state) *build {
	return &build{s: s, st: newState(c), old: old, modes: map[string]fs.FileMode{}}
}

// all makes everything but the applications.
func (b *build) all() (err error) {
	if b.st.routes, err = newRouteTable(b.st.config); err != nil {
		return err
	}
	if err := b.openDoors(); err != nil {
		return err
	}
	if b.old != nil {
		for _, p := range b.st.all() {
			p.adopt(b.old.at(p.place))
		}
	}
	if err := b.newTracer(); err != nil {
		return err
	}
	b.s.openGroups(b.st.config)
	return b.openLog()
}

// newTracer has the old one where it is to be as it was.
func (b *build) newTracer() (err error) {
	c := b.st.config.Tracing
	if b.old != nil && reflect.DeepEqual(b.old.config.Tracing, c) {
		b.st.tracer = b.old.tracer
		return nil
	}
	b.st.tracer, err = b.s.newTracer(c)
	b.tracer = err == nil
	return err
}

func (b *build) openLog() (err error) {
	c := b.st.config.Log.Access
	switch {
	case b.old != nil && (b.old.config.Log.Access == c || b.s.o.AccessLog != nil):
		b.st.access = b.old.access
		return nil
	case b.s.o.AccessLog != nil:
		b.st.access = newAccessLogTo(b.s.o.AccessLog, c.Format)
	default:
		b.st.access, err = newAccessLog(c)
	}
	b.logs = err == nil
	return err
}

// openDoors takes the doors over that are still wanted, and opens the others.
func (b *build) openDoors() error {
	left := b.s.openDoors()
	c := b.st.config
	for i := range c.Listen {
		l := &c.Listen[i]
		rules, err := b.s.newRules(c, l)
		if err == nil {
			err = b.certify(rules, l)
		}
		if err != nil {
			return err
		}
		d := take(&left, l)
		if d == nil {
			if d, err = b.openDoor(l, left); err != nil {
				return err
			}
			b.opened = append(b.opened, d)
			if d.kind == "fastcgi" {
				b.s.warnOfOpenDoor(d, l)
			}
		} else if d.addr.Network() == "unix" {
			b.modes[d.addr.Addr()] = fs.FileMode(l.SocketMode)
		}
		b.doors, b.st.doors[d] = append(b.doors, d), rules
	}
	b.gone, b.st.order = left, b.doors
	return nil
}

// take takes the door of a configuration out of a list.
func take(doors *[]*door, l *config.Listener) *door {
	kind, addr := l.Door()
	i := slices.IndexFunc(*doors, func(d *door) bool { return d.key == doorKeyOf(kind, addr) })
	if i < 0 {
		return nil
	}
	d := (*doors)[i]
	*doors = slices.Delete(*doors, i, i+1)
	return d
}

// openDoor opens a new door. One that has its address, as another kind, lends it its socket.
func (b *build) openDoor(l *config.Listener, others []*door) (*door, error) {
	_, addr := l.Door()
	for _, o := range others {
		if socketKey(o.addr) != socketKey(addr) && (!addr.IsTCP() || o.listener.Addr().String() != addr.Addr()) {
			continue
		}
		socket, err := dupListener(o.listener)
		if err != nil {
			return nil, fmt.Errorf("door %s: %w", doorKeyOf(l.Door()), err)
		}
		b.lent = append(b.lent, o)
		return b.s.openDoor(l, socket, b.s.spare)
	}
	return b.s.openDoor(l, nil, b.s.spare)
}

// dupListener is a second listener at the same socket.
func dupListener(l net.Listener) (net.Listener, error) {
	fd, err := dupDescriptor(l)
	if err != nil {
		return nil, err
	}
	return ListenerOf(fd)
}

// applications makes those of all routes, with the servers of those that there are where they are the same.
func (b *build) applications() error {
	have := b.s.served()
	for _, rt := range b.st.routes {
		err := newRouteApplications(rt, func(m madeOf) (*served, error) {
			if i := slices.IndexFunc(have, func(a *served) bool { return reflect.DeepEqual(a.made, m) }); i >= 0 {
				b.s.use(have[i])
				return have[i], nil
			}
			a, err := b.s.newServed(m)
			if err == nil {
				b.s.use(a)
				b.begun = append(b.begun, a)
			}
			return a, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// use counts one more use of an application.
func (s *Server) use(a *served) {
	s.mu.Lock()
	s.users[a]++
	s.mu.Unlock()
}

// disuse ends the uses of a state, and returns what nobody uses any more.
func (s *Server) disuse(st *state) (unused []*served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range st.applications() {
		n, ok := s.users[a.served]
		if !ok {
			continue // closed by Shutdown
		}
		if s.users[a.served] = n - 1; n == 1 {
			delete(s.users, a.served)
			unused = append(unused, a.served)
		}
	}
	return unused
}

// undo closes all that was opened for the state.
func (b *build) undo() {
	for _, d := range b.opened {
		d.close()
	}
	closeAll(context.Background(), b.s.disuse(b.st)) // they have no request yet
	for _, m := range b.acme {
		m.Close(b.s.life) // nobody has started it yet
	}
	if b.logs {
		b.st.access.close()
	}
	if b.tracer {
		closeTracer(context.Background(), b.st.tracer) // it has nothing yet
	}
}

// dupDescriptor gives a listener's socket a second descriptor. os.File would make the first one block, too.
func dupDescriptor(l net.Listener) (fd int, err error) {
	sc, ok := l.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%T has no descriptor", l)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(of uintptr) { fd, err = dupCloexec(of) })
	if cerr != nil {
		return -1, cerr
	}
	return fd, err
}
