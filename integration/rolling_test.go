//go:build linux

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// service is what leads to the gateways, as kube-proxy does: a connection goes to one of them, and stays there. It hears late of
// one that ends.
type service struct {
	mu        sync.Mutex
	addresses []string
}

func (s *service) set(addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses = addresses
}

func (s *service) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	to := s.addresses[rand.IntN(len(s.addresses))]
	s.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, network, to)
}

// Every script host and every gateway is replaced as a Deployment does it (maxSurge 1, maxUnavailable 0, preStop), while clients that
// keep their connections ask.
func TestARollingUpdateLosesNoRequest(t *testing.T) {
	needs(t, "perl")
	needsRoot(t) // for a resolv.conf of its own, and the port of DNS
	const (
		late    = 100 * time.Millisecond // until the Service knows
		preStop = 400 * time.Millisecond
	)
	dir := tempDir(t)
	f := &fleet{t: t, dir: dir, port: freePort(t), names: startNameServer(t, dir), delay: preStop, flags: []string{"--mode", "warm", "--workers", "8"},
		script: `#!/usr/bin/perl
my $b = do { local $/; <STDIN> };
select undef, undef, undef, 0.02;
print "Content-Type: text/plain\n\n$ENV{QUERY_STRING} ", length $b // '';
`}
	f.scale(2)
	made := 0
	startOne := func() *gateway {
		made++
		own := filepath.Join(dir, fmt.Sprint("gateway", made))
		require.NoError(t, os.Mkdir(own, 0o755))
		return startGatewayAs(t, own, fmt.Sprintf(`
listen: [{http: 127.0.0.1:0}]
log: {access: {format: off}}
routes:
  - {path: /echo, fastcgi: {dns: "%s:%d", refresh: 200ms, health: {check: values, every: 500ms, timeout: 2s}}}
`, hostsName, f.port), how{plain: true, via: askedVia(t, own)})
	}
	address := func(g *gateway) string { return strings.TrimPrefix(g.url(), "http://") }
	gateways := []*gateway{startOne(), startOne()}
	s := &service{}
	s.set(address(gateways[0]), address(gateways[1]))

	var gets, posts, failedGets, failedPosts atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() { // ends with stop
			c := newClient(t, "http://gateway.test")
			c.http.Transport.(*http.Transport).DialContext = s.dial
			defer c.http.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				q := request{path: fmt.Sprintf("/echo?%d.%d", k, i)}
				count, failures := &gets, &failedGets
				if i%3 == 1 {
					q.method, q.body, count, failures = http.MethodPost, strings.Repeat("x", 20_000), &posts, &failedPosts
				}
				a, err := c.try(q)
				count.Add(1)
				if want := fmt.Sprintf("%d.%d %d", k, i, len(q.body)); err != nil || a.body != want {
					failures.Add(1)
					t.Log(q.method, q.path, err, a.status, a.body)
				}
			}
		})
	}
	asked := func(more int64) {
		t.Helper()
		enough := gets.Load() + more
		require.Eventually(t, func() bool { return gets.Load() > enough }, patience, 10*time.Millisecond)
	}
	for round := range 3 {
		for range 2 {
			asked(100)
			f.scale(3) // the new one is ready
			asked(20)
			f.scale(2) // the oldest goes
		}
		f.ending.Wait()
		for i, old := range gateways {
			asked(100)
			gateways[i] = startOne()
			require.Equal(t, http.StatusOK, newClient(t, gateways[i].admin).get(t, "/readyz").status)
			s.set(address(gateways[i]), address(gateways[1-i]), address(old))
			time.AfterFunc(late, func() { s.set(address(gateways[0]), address(gateways[1])) })
			time.Sleep(preStop)
			require.NoError(t, syscall.Kill(old.pid, syscall.SIGTERM))
			select {
			case <-old.gone:
				assert.NoError(t, old.err, "round %d", round)
			case <-time.After(patience):
				t.Fatal("the gateway does not end")
			}
		}
	}
	stop()
	wg.Wait()
	t.Logf("6 script hosts and 6 gateways were replaced: %d GETs, %d failed; %d POSTs, %d failed", gets.Load(), failedGets.Load(), posts.Load(), failedPosts.Load())
	assert.Zero(t, failedGets.Load())
	assert.LessOrEqual(t, float64(failedPosts.Load()), float64(posts.Load())/1000, "what comes in the microseconds of a close can't be sent again by a client")
}
