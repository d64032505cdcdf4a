package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"warmcgi/internal/cgi"
	"warmcgi/internal/pool"
)

// A Socket is one of a door's, for another process: a descriptor that whoever gets it closes, and its key in [Sockets].
type Socket struct {
	Key        string
	Descriptor int
}

// Sockets are those of all doors, in their order, and those that no door has now.
func (s *Server) Sockets() (list []Socket, err error) {
	add := func(key string, l net.Listener) {
		if err != nil {
			return
		}
		var fd int
		if fd, err = dupDescriptor(l); err == nil {
			list = append(list, Socket{key, fd})
		}
	}
	<-s.turn // nobody opens or closes any meanwhile
	defer func() { s.turn <- struct{}{} }()
	s.takeBack()
	for _, d := range s.openDoors() {
		add(socketKey(d.addr), d.listener)
	}
	if s.admin != nil {
		add(socketKey(s.admin.addr), s.admin.listener)
	}
	for key, ls := range s.spare {
		for _, l := range ls {
			add(key, l)
		}
	}
	if err != nil {
		for _, k := range list {
			unix.Close(k.Descriptor)
		}
		return nil, fmt.Errorf("the doors' sockets: %w", err)
	}
	return list, nil
}

// TakeOver is to be called when the process before this one leaves. The files of its Unix sockets are this
// one's then, and sockets that no door has are closed, but for those of systemd.
func (s *Server) TakeOver() {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	for _, d := range s.allDoors() {
		d.own()
	}
	s.spare.closeOthers()
}

// WarmScript is a script that is warm, by what another process needs to load it.
type WarmScript struct {
	Place  string     `json:"place"` // of its route
	Script cgi.Script `json:"script"`
	Vars   []string   `json:"vars"`
}

// WarmScripts are those that have workers now.
func (s *Server) WarmScripts() (list []WarmScript) {
	if s.pools == nil {
		return nil
	}
	st := s.hold()
	defer st.release()
	places := map[*cgi.Workers]string{}
	for _, p := range st.all() {
		places[p.workers] = p.place
	}
	for _, w := range s.pools.Warm() {
		if place, ok := places[w.Workers]; ok {
			list = append(list, WarmScript{place, w.Script, w.Vars})
		}
	}
	return list
}

// LoadAhead loads scripts before anybody asks for them, as far as the configuration still has them. Those that can't be
// loaded are logged, and spawned.
func (s *Server) LoadAhead(ctx context.Context, scripts []WarmScript) {
	if s.pools == nil {
		return
	}
	st := s.hold()
	defer st.release()
	var wg sync.WaitGroup
	for _, w := range scripts {
		rt := st.at(w.Place)
		if rt == nil || rt.workers == nil || !rt.has(w.Script.File) {
			continue
		}
		wg.Go(func() {
			req, err := rt.again(pool.Warm{Script: w.Script, Vars: w.Vars})
			if err == nil {
				err = s.pools.Load(ctx, req)
			}
			if err != nil && !errors.Is(err, pool.ErrNoRoom) {
				s.log.Warn("a script that was warm is not", "script", w.Script.Name, "err", err)
			}
		})
	}
	wg.Wait()
}
