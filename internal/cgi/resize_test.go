package cgi

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gate is a backend whose requests run until they are let go.
type gate struct {
	mu      sync.Mutex
	running []*Request
}

func (g *gate) RoundTrip(_ context.Context, req *Request) (*Response, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = append(g.running, req)
	return &Response{}, nil
}

func (g *gate) n() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.running)
}

// letGo ends the one that has run for the longest.
func (g *gate) letGo() {
	g.mu.Lock()
	req := g.running[0]
	g.running = g.running[1:]
	g.mu.Unlock()
	req.End(Exit{})
}

func TestTheMostOfAScriptCanBeChangedWhileItRuns(t *testing.T) {
	g := &gate{}
	q := NewQueue(g, QueueConfig{MaxRunning: 100})
	var all sync.WaitGroup
	start := func(n int) {
		for range n {
			all.Go(func() {
				_, err := q.RoundTrip(t.Context(), &Request{Script: Script{File: "/s"}, Queue: QueueLimits{Running: 2, Length: 100, Wait: time.Minute}})
				assert.NoError(t, err)
			})
		}
	}
	runs := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool { return g.n() == n }, 20*time.Second, time.Millisecond)
	}
	start(10)
	runs(2)
	q.SetRunning("/s", 5, true)
	runs(5)
	q.SetRunning("/other", 1, true)

	// Fewer: those that run go on, and nobody takes their places.
	q.SetRunning("/s", 1, true)
	for n := 4; n >= 1; n-- {
		g.letGo()
		runs(n)
	}
	g.letGo()
	runs(1)

	// Fewer, and then more before that has come about.
	q.SetRunning("/s", 4, true)
	runs(4)
	q.SetRunning("/s", 1, true)
	q.SetRunning("/s", 3, false) // as the requests have it, that is
	g.letGo()
	runs(3)
	for range 4 {
		require.Eventually(t, func() bool { return g.n() > 0 }, 20*time.Second, time.Millisecond)
		g.letGo()
	}
	all.Wait()
	require.Empty(t, q.scripts)

	// The next line is as its requests have it.
	start(3)
	runs(2)
	g.letGo()
	runs(2)
	g.letGo()
	g.letGo()
	all.Wait()
	require.Empty(t, q.scripts)
}

func TestTheMostOfAllScriptsCanBeChangedWhileTheyRun(t *testing.T) {
	g := &gate{}
	q := NewQueue(g, QueueConfig{MaxRunning: 2})
	var all sync.WaitGroup
	for n := range 9 {
		all.Go(func() {
			_, err := q.RoundTrip(t.Context(), &Request{Script: Script{File: string(rune('a' + n))}, Queue: QueueLimits{Running: 2, Length: 100, Wait: time.Minute}})
			assert.NoError(t, err)
		})
	}
	runs := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool { return g.n() == n }, 20*time.Second, time.Millisecond)
	}
	runs(2)
	q.SetMaxRunning(5)
	runs(5)
	q.SetMaxRunning(1)
	for n := 4; n >= 1; n-- {
		g.letGo()
		runs(n)
	}
	q.SetMaxRunning(3)
	runs(3)
	for range 5 {
		require.Eventually(t, func() bool { return g.n() > 0 }, 20*time.Second, time.Millisecond)
		g.letGo()
	}
	all.Wait()
}

func TestRequestsUnderAnotherLimitDoNotWaitInTheOldLine(t *testing.T) {
	g := &gate{}
	q := NewQueue(g, QueueConfig{MaxRunning: 100})
	ask := func(most int64) func() {
		return func() {
			_, err := q.RoundTrip(t.Context(), &Request{Script: Script{File: "/s"}, Queue: QueueLimits{Running: most, Length: 100, Wait: time.Minute}})
			assert.NoError(t, err)
		}
	}
	var all sync.WaitGroup
	all.Go(ask(1))
	require.Eventually(t, func() bool { return g.n() == 1 }, 20*time.Second, time.Millisecond)
	all.Go(ask(2))
	all.Go(ask(2))
	require.Eventually(t, func() bool { return g.n() == 3 }, 20*time.Second, time.Millisecond)
	for range 3 {
		g.letGo()
	}
	all.Wait()
	require.Empty(t, q.scripts)
}
