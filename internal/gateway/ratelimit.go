package gateway

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"warmcgi/internal/config"
)

// tellAgain is how long after a line about a client its further refusals are logged only
// at the debug level: who floods the gateway must not flood its log.
const tellAgain = time.Minute

// rateLimiter bounds how often each client may ask a route. It knows a bounded number of
// clients, and forgets those first that have not asked for the longest.
type rateLimiter struct {
	rate   rate.Limit
	burst  int
	except config.Prefixes

	mu      sync.Mutex // guards what follows, and the buckets
	clients *simplelru.LRU[netip.Addr, *bucket]
}

// bucket is one client's.
type bucket struct {
	*rate.Limiter
	told time.Time // when its refusal was logged
}

// newRateLimiter is nil where there is no limit.
func newRateLimiter(c config.RateLimit) (*rateLimiter, error) {
	if c.Rate == 0 {
		return nil, nil
	}
	clients, err := simplelru.NewLRU[netip.Addr, *bucket](c.Clients, nil)
	if err != nil {
		return nil, fmt.Errorf("rate_limit for %d clients: %w", c.Clients, err)
	}
	l := &rateLimiter{rate: rate.Limit(c.Rate), burst: c.Burst, except: c.Except, clients: clients}
	if l.burst == 0 {
		l.burst = max(1, int(c.Rate))
	}
	return l, nil
}

// take takes a request of a client's share. When that is used up, it says how long it takes
// until there is some again, and whether the log is to be told.
func (l *rateLimiter) take(addr string, now time.Time) (wait time.Duration, tell bool) {
	ip, _ := netip.ParseAddr(hostOf(addr)) // clients without an address share one
	if ip.IsValid() && l.except.Contains(ip) {
		return 0, false
	}
	client := rateKey(ip)
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.clients.Get(client)
	if !known {
		b = &bucket{Limiter: rate.NewLimiter(l.rate, l.burst)}
		l.clients.Add(client, b)
	}
	r := b.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait == 0 {
		return 0, false
	}
	r.CancelAt(now)
	if tell = now.Sub(b.told) >= tellAgain; tell {
		b.told = now
	}
	return wait, tell
}

// rateKey is who counts as one client: an IPv4 address, or the network of an IPv6 address,
// as one customer has all of a /64.
func rateKey(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// limitRate refuses the requests of a client that asks too often. Local redirects are
// the script's doing, and not counted again.
func (x *exchange) limitRate(rt *route) error {
	if rt.limiter == nil || x.redirects > 0 {
		return nil
	}
	wait, tell := rt.limiter.take(x.client.addr, x.began)
	if wait == 0 {
		return nil
	}
	x.s.metrics.rateLimited.WithLabelValues(rt.label()).Inc()
	return x.refuse(rt, func() error { return &rateError{hostOf(x.client.addr), wait, tell} })
}

// rateError is the refusal of a request that came too soon.
type rateError struct {
	client string
	wait   time.Duration
	tell   bool
}

func (e *rateError) Error() string { return fmt.Sprintf("%s: client %s", errRateLimit, e.client) }

func (e *rateError) Unwrap() error { return errRateLimit }

// seconds is for Retry-After.
func (e *rateError) seconds() int {
	return max(1, int((e.wait+time.Second-1)/time.Second))
}
