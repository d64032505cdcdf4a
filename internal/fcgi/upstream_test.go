package fcgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

func TestAnUpstreamSparesAServerThatCantBeReached(t *testing.T) {
	one, two := newFake(t, func(c *fakeConn, _ int) { answerAll(c, "one") }), newFake(t, func(c *fakeConn, _ int) { answerAll(c, "two") })
	var servers []TransportConfig
	for _, f := range []*fake{one, two} {
		servers = append(servers, TransportConfig{Network: "unix", Address: f.address, MaxConns: 4, Keep: time.Hour})
	}
	for _, roundRobin := range []bool{true, false} {
		log := &logBuffer{}
		u, err := NewUpstream(UpstreamConfig{Servers: servers, RoundRobin: roundRobin, Log: slog.New(slog.NewTextHandler(log, nil))})
		require.NoError(t, err)
		got := map[string]int{}
		ask := func() string {
			res, err := u.RoundTrip(t.Context(), aRequest())
			require.NoError(t, err)
			b, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			res.Body.Close()
			return string(b)
		}
		for range 10 {
			got[ask()]++
		}
		assert.Equal(t, map[string]int{"one": 5, "two": 5}, got)
		u.Close(context.Background())
	}
	two.ln.Close()
	log := &logBuffer{}
	u, err := NewUpstream(UpstreamConfig{Servers: servers, RoundRobin: true, Log: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	defer u.Close(context.Background())
	for range 20 {
		res, err := u.RoundTrip(t.Context(), aRequest())
		require.NoError(t, err)
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		assert.Equal(t, "one", string(b))
	}
	assert.Equal(t, 1, strings.Count(log.String(), "again_in="), "it is asked once: %s", log)
	one.ln.Close()
	u.servers[0].closeIdle(all)
	_, err = u.RoundTrip(t.Context(), aRequest())
	assert.ErrorIs(t, err, cgi.ErrUnreachable)
}

func answerAll(c *fakeConn, text string) {
	for {
		if q, ok := c.request(); !ok || q.aborted {
			return
		}
		c.answer(text)
	}
}

// A name whose addresses tests change.
type name struct {
	mu        sync.Mutex
	addresses []string
	err       error
}

func (n *name) set(err error, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses, n.err = addresses, err
}

func (n *name) LookupHost(context.Context, string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.addresses...), n.err
}

func (n *name) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, errors.New("no such name")
}

func TestTheServersAreThoseThatTheNameStandsFor(t *testing.T) {
	first, err := net.Listen("tcp", "127.0.0.2:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(first.Addr().String())
	require.NoError(t, err)
	second, err := net.Listen("tcp", "127.0.0.3:"+port)
	require.NoError(t, err)
	for host, ln := range map[string]net.Listener{"two": first, "three": second} {
		serveFake(t, ln, func(c *fakeConn, _ int) { answerAll(c, host) })
	}
	n := &name{}
	n.set(nil, "127.0.0.2")
	log := &logBuffer{}
	u, err := NewUpstream(UpstreamConfig{
		Name: "app:" + port, Each: TransportConfig{Network: "tcp", MaxConns: 4, Keep: time.Hour}, Refresh: time.Millisecond, Resolver: n,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	defer u.Close(context.Background())
	ask := func() string {
		res, err := u.RoundTrip(t.Context(), aRequest())
		require.NoError(t, err)
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		res.Body.Close()
		return string(b)
	}
	among := func(want ...string) func() bool {
		return func() bool {
			got := map[string]bool{}
			for range 6 {
				got[ask()] = true
			}
			return fmt.Sprint(len(got)) == fmt.Sprint(len(want)) && got[want[0]] && got[want[len(want)-1]]
		}
	}
	assert.Equal(t, "two", ask())
	n.set(nil, "127.0.0.2", "127.0.0.3", "127.0.0.3")
	assert.Eventually(t, among("two", "three"), patience, time.Millisecond)
	n.set(errors.New("no resolver"))
	assert.Eventually(t, func() bool { return strings.Contains(log.String(), "no resolver") }, patience, time.Millisecond)
	assert.True(t, among("two", "three")(), "they stay")
	n.set(nil, "127.0.0.3")
	assert.Eventually(t, among("three"), patience, time.Millisecond)
}
