package gateway

import (
	"math"
	"strings"

	"warmcgi/internal/config"
)

// How well a route's host fits a request's; *.DOMAIN counts by the length of its domain.
const (
	noMatch  = 0
	anyHost  = 1
	sameHost = math.MaxInt
)

// rank says how well the route's host fits.
func (rt *route) rank(host string) int {
	if len(rt.Host) == 0 {
		return anyHost
	}
	best := noMatch
	for _, h := range rt.Host {
		domain, wild := strings.CutPrefix(string(h), "*")
		switch {
		case !wild && host == domain:
			return sameHost
		case wild && len(host) > len(domain) && strings.HasSuffix(host, domain):
			best = max(best, anyHost+len(domain))
		}
	}
	return best
}

// host is the name that the request asks for, where the routes make a difference of it.
func (x *exchange) host() string {
	if t := x.st.routes; len(t) == 0 || !t[0].rivals {
		return ""
	}
	return config.HostName(x.r.Host)
}

// knows reports whether a host belongs to any route.
func (t routeTable) knows(host string) bool {
	for _, rt := range t {
		if rt.rank(host) > noMatch {
			return true
		}
	}
	return len(t) == 0
}
