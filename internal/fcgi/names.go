package fcgi

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lookupTime bounds one look at a name.
const lookupTime = 5 * time.Second

// A Resolver looks names up; a [net.Resolver] is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) (addrs []string, err error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// found is one server that a name stands for.
type found struct {
	address string // HOST:PORT, the host in numbers
	host    string // as a certificate should name it
	weight  float64
}

// resolve tells which servers the upstream's name stands for, sorted by address.
func (u *Upstream) resolve(ctx context.Context) ([]found, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var list []found
	var err error
	if strings.HasPrefix(u.c.Name, "_") {
		list, err = u.resolveSRV(ctx)
	} else {
		host, port, serr := net.SplitHostPort(u.c.Name)
		if serr != nil {
			return nil, serr
		}
		list, err = u.resolveHost(ctx, host, port, 1)
	}
	slices.SortFunc(list, func(a, b found) int { return strings.Compare(a.address, b.address) })
	return slices.CompactFunc(list, func(a, b found) bool { return a.address == b.address }), err
}

func (u *Upstream) resolveHost(ctx context.Context, host, port string, weight float64) (list []found, err error) {
	addresses, err := u.c.Resolver.LookupHost(ctx, host)
	for _, a := range addresses {
		list = append(list, found{net.JoinHostPort(a, port), host, weight})
	}
	return list, err
}

// resolveSRV takes the targets of the best priority; the others are there for when those are
// not in the name any more (RFC 2782).
func (u *Upstream) resolveSRV(ctx context.Context) (list []found, err error) {
	_, records, err := u.c.Resolver.LookupSRV(ctx, "", "", u.c.Name)
	for _, r := range records { // sorted by priority
		if r.Priority > records[0].Priority {
			break
		}
		host := strings.TrimSuffix(r.Target, ".")
		some, herr := u.resolveHost(ctx, host, strconv.Itoa(int(r.Port)), max(float64(r.Weight), 0.5)) // 0 is: few
		if herr != nil {
			err = herr // of what else there is, use is made
		}
		list = append(list, some...)
	}
	return list, err
}

// refresh looks the name up again and again. It ends with Close.
func (u *Upstream) refresh() {
	tick := time.NewTicker(max(u.c.Refresh, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-tick.C:
			u.lookUp()
		}
	}
}

// lookUp makes the servers what the name stands for now. If that can't be found out they
// stay as they are.
func (u *Upstream) lookUp() {
	now, err := u.resolve(u.ctx)
	if err != nil && u.ctx.Err() == nil {
		u.c.Log.Warn("a FastCGI server's name can't be looked up; the servers that were known stay", "name", u.c.Name, "err", err)
	} else if len(now) == 0 && u.ctx.Err() == nil {
		u.c.Log.Warn("a FastCGI server's name stands for nothing; the servers that were known stay", "name", u.c.Name)
	}
	stay := err != nil || len(now) == 0

	var kept, added, gone []*server
	u.mu.Lock()
	known := slices.Clone(u.servers) // nobody else changes them
	for _, s := range known {
		at := slices.IndexFunc(now, func(f found) bool { return f.address == s.c.Address })
		switch {
		case at >= 0:
			s.weight = now[at].weight
			now = slices.Delete(now, at, at+1)
			kept = append(kept, s)
		case stay:
			kept = append(kept, s)
		default:
			gone = append(gone, s)
		}
	}
	u.mu.Unlock()
	for _, f := range now {
		c := u.c.Each
		c.Address, c.TLS = f.address, tlsFor(c.TLS, f.host)
		s, err := u.newServer(c, f.weight)
		if err != nil {
			u.c.Log.Error("a FastCGI server can't be used", "server", c.Address, "err", err)
			continue
		}
		if len(known) > 0 {
			s.since = time.Now() // it starts slowly
		}
		added = append(added, s)
	}
	if len(added)+len(gone) == 0 {
		return
	}
	u.mu.Lock()
	u.servers = append(kept, added...)
	u.serveLine()
	u.mu.Unlock()
	for _, s := range added {
		u.start(s)
		u.c.Log.Info("a FastCGI server has come", "name", u.c.Name, "server", s.name)
	}
	for _, s := range gone {
		s.stop()
		u.c.Log.Info("a FastCGI server is no longer one of its name; its requests may end", "name", u.c.Name, "server", s.name)
		u.running.Go(func() { s.Close(u.ctx) }) // ends with its requests, or with Close
	}
}
