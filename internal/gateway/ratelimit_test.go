package gateway

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/config"
)

func TestAClientThatAsksTooOftenIsRefused(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.script("cgi-bin/goto", "out Location: /cgi-bin/p\n\n")
	s.write("free/f", "f")
	g := s.serve(`
trusted_proxies: [127.0.0.1]
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
    rate_limit: {rate: 1/h, burst: 3, except: [198.51.100.0/24]}
  - {path: /free/, files: {root: free}}
`)
	as := func(addr string, want ...int) {
		t.Helper()
		for i, status := range want {
			assert.Equal(t, status, g.get("/cgi-bin/p", "X-Forwarded-For", addr).StatusCode, "%s, request %d", addr, i)
		}
	}
	as("203.0.113.1", 200, 200, 200, 429, 429)
	as("203.0.113.2", 200)
	as("::ffff:203.0.113.1", 429)
	as("2001:db8::1", 200, 200)
	as("2001:db8::ffff:1", 200, 429) // of the same /64
	as("2001:db8:0:1::1", 200)
	as("198.51.100.7", 200, 200, 200, 200, 200)

	a := g.post("/cgi-bin/p", strings.Repeat("x", 1<<20), "X-Forwarded-For", "203.0.113.1")
	assert.Equal(t, 429, a.StatusCode)
	assert.NoError(t, a.err)
	wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
	require.NoError(t, err)
	assert.InDelta(t, 3600, wait, 60)
	assert.Equal(t, 200, g.get("/free/f", "X-Forwarded-For", "203.0.113.1").StatusCode, "the route has no limit")
	for range 3 {
		assert.Equal(t, 200, g.get("/cgi-bin/goto", "X-Forwarded-For", "203.0.113.9").StatusCode, "a local redirect is not the client's")
	}
	assert.Equal(t, 5.0, g.metric("warmcgi_rate_limited_total", "route=/cgi-bin/"))
	assert.Equal(t, 5.0, g.metric("warmcgi_request_errors_total", "why=rate_limit"))
	g.awaitLog("level=WARN", "why=rate_limit", "status=429", "client 203.0.113.1")
	warned := 0
	for l := range strings.Lines(g.log.String()) {
		if strings.Contains(l, "level=WARN") && strings.Contains(l, "203.0.113.1") {
			warned++
		}
	}
	assert.Equal(t, 1, warned, "one line for a flood")
}

func TestTheLimitComesBeforeThePassword(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.write("htpasswd", "ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
	g := s.serve(`
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
    auth: {basic: {htpasswd: htpasswd}}
    rate_limit: {rate: 2/h}
`)
	statuses := map[int]int{}
	for i := range 5 {
		r := g.request("GET", "/cgi-bin/p", nil)
		r.SetBasicAuth("ada", fmt.Sprint(i))
		statuses[g.do(r).StatusCode]++
	}
	assert.Equal(t, map[int]int{401: 1, 429: 4}, statuses, "who guesses is slowed down")
}

func TestABurstIsASecondsWorthUnlessItIsSaidOtherwise(t *testing.T) {
	l, err := newRateLimiter(config.RateLimit{Rate: 10, Clients: 2})
	require.NoError(t, err)
	now := time.Now()
	for range 10 {
		wait, _ := l.take("192.0.2.1:4711", now)
		assert.Zero(t, wait, "a burst is a second's worth")
	}
	wait, tell := l.take("192.0.2.1:1", now)
	assert.Equal(t, 100*time.Millisecond, wait)
	assert.True(t, tell)
	_, tell = l.take("192.0.2.1:1", now.Add(time.Millisecond))
	assert.False(t, tell)
	wait, _ = l.take("192.0.2.1", now.Add(110*time.Millisecond))
	assert.Zero(t, wait)
	assert.Equal(t, 1, (&rateError{wait: time.Millisecond}).seconds())
	assert.Equal(t, 2, (&rateError{wait: 1001 * time.Millisecond}).seconds())
}

func TestNoMoreClientsAreKnownThanAllowed(t *testing.T) {
	const clients = 10_000
	l, err := newRateLimiter(config.RateLimit{Rate: 1, Clients: clients})
	require.NoError(t, err)
	now := time.Now()
	ask := func(from, n int) {
		for i := range n {
			a := netip.AddrFrom4([4]byte{10, byte((from + i) >> 16), byte((from + i) >> 8), byte(from + i)})
			l.take(a.String(), now)
		}
	}
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	ask(0, clients)
	full := memory() - before
	assert.Less(t, full/clients, uint64(400), "octets for each, as the manual says some 300")
	ask(clients, 10*clients)
	assert.Equal(t, clients, l.clients.Len())
	assert.Less(t, memory()-before, full+full/2)
	wait, _ := l.take(netip.AddrFrom4([4]byte{10, 0, 0, 0}).String(), now)
	assert.Zero(t, wait, "who is forgotten begins anew")
}

func TestParallelRequestsDoNotSlipThrough(t *testing.T) {
	s := newSite(t)
	s.write("f/f", "f")
	g := s.serve("routes: [{path: /, files: {root: f}, rate_limit: {rate: 1/h, burst: 20}}]\n")
	var ok, limited atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				switch g.get("/f").StatusCode {
				case 200:
					ok.Add(1)
				case 429:
					limited.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 20, ok.Load())
	assert.EqualValues(t, 60, limited.Load())
}
