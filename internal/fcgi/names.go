package fcgi

import (
	"context"
	"net"
	"slices"
	"sort"
	"time"
)

// lookupTime bounds one look at a name.
const lookupTime = 5 * time.Second

// watch looks the upstream's name up, now and every Refresh until Close.
func (u *Upstream) watch() error {
	host, port, err := net.SplitHostPort(u.c.Name)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	u.stop = stop
	u.lookUp(ctx, host, port)
	u.watching.Go(func() { // ends with Close
		tick := time.NewTicker(max(u.c.Refresh, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				u.lookUp(ctx, host, port)
			}
		}
	})
	return nil
}

// lookUp makes the servers what the name stands for now. If that can't be found out they
// stay as they are.
func (u *Upstream) lookUp(ctx context.Context, host, port string) {
	lookup := u.c.Lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupHost
	}
	lctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found, err := lookup(lctx, host)
	if err != nil || len(found) == 0 {
		if ctx.Err() == nil {
			u.c.Log.Warn("a FastCGI server's name can't be looked up; its servers stay as they are", "name", u.c.Name, "err", err)
		}
		return
	}
	sort.Strings(found)
	found = slices.Compact(found)

	var added, gone []*server
	u.mu.Lock()
	kept := u.servers[:0:0]
	for _, s := range u.servers {
		if at, ok := slices.BinarySearch(found, hostOf(s)); ok {
			found = slices.Delete(found, at, at+1)
			kept = append(kept, s)
		} else {
			gone = append(gone, s)
		}
	}
	u.mu.Unlock()
	for _, address := range found {
		c := u.c.Each
		c.Address = net.JoinHostPort(address, port)
		t, err := NewTransport(c)
		if err != nil {
			u.c.Log.Error("a FastCGI server can't be used", "server", c.Address, "err", err)
			continue
		}
		added = append(added, &server{Transport: t, name: c.Network + ":" + c.Address})
	}
	if len(added)+len(gone) == 0 {
		return
	}
	u.mu.Lock()
	u.servers = append(kept, added...) // nobody else changes them
	u.mu.Unlock()
	for _, s := range added {
		u.c.Log.Info("a FastCGI server has come", "name", u.c.Name, "server", s.name)
	}
	for _, s := range gone {
		u.c.Log.Info("a FastCGI server is no longer one of its name; its requests may end", "name", u.c.Name, "server", s.name)
		u.watching.Go(func() { s.Close(ctx) }) // ends with its requests, or with Close
	}
}

func hostOf(s *server) string {
	host, _, _ := net.SplitHostPort(s.c.Address)
	return host
}
