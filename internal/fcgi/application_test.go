package fcgi

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatOneRouteKeepsMakesWayForAnotherRoutesRequest(t *testing.T) {
	f := workforce(t, 3)
	var all Applications
	first, second := sharing(t, f, &all), sharing(t, f, &all)
	ends := time.Now().Add(50 * time.Millisecond)
	for range 3 {
		for _, u := range []*Upstream{first, second} {
			// It would wait for an hour if the other one's three connections were kept.
			askAll(t, u, 3, func() bool { return time.Now().After(ends) })
			ends = time.Now().Add(50 * time.Millisecond)
			require.Positive(t, u.servers[0].links.Stat().IdleResources(), "they are kept")
		}
	}
}

func TestRoutesThatAskOneApplicationAtOnceAreAllAnswered(t *testing.T) {
	f := workforce(t, 2)
	var all Applications
	began := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		u := sharing(t, f, &all)
		wg.Go(func() {
			var answered atomic.Int32
			askAll(t, u, 3, func() bool { answered.Add(1); return time.Since(began) > 300*time.Millisecond })
			assert.Greater(t, answered.Load(), int32(6))
		})
	}
	wg.Wait()
}

func TestAnApplicationThatNobodyLeadsToIsForgotten(t *testing.T) {
	f := newFake(t, echo)
	var all Applications
	first, second := sharing(t, f, &all), sharing(t, f, &all)
	req := aRequest()
	res, err := first.RoundTrip(context.Background(), req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	res.Body.Close()
	assert.Len(t, all.at, 1)
	assert.Same(t, first.servers[0].app, second.servers[0].app)
	for _, u := range []*Upstream{first, second} {
		s := u.servers[0]
		u.Close(context.Background())
		assert.NotContains(t, s.app.transports, s.Transport)
	}
	assert.Empty(t, all.at)
}

func TestARouteThatGoesLeavesTheOthersOfItsApplicationAlone(t *testing.T) {
	f := workforce(t, 2)
	var all Applications
	ends := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	stays := sharing(t, f, &all)
	wg.Go(func() { askAll(t, stays, 6, func() bool { return time.Now().After(ends) }) })
	for time.Now().Before(ends) {
		u, later := sharing(t, f, &all), sharing(t, f, &all)
		u.Close(context.Background())
		later.Close(context.Background())
	}
	wg.Wait()
	assert.Len(t, stays.servers[0].app.transports, 1)
}
