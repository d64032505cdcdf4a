package fcgi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

// A workforce is an application with a number of processes that each have one connection
// at a time, as php-fpm's children.
func workforce(t *testing.T, processes int) *fake {
	free := make(chan struct{}, processes)
	for range processes {
		free <- struct{}{}
	}
	return newFake(t, func(c *fakeConn, n int) {
		<-free
		defer func() { free <- struct{}{} }()
		echo(c, n)
	})
}

// askAll asks over and over, with so many requests at once, until stop says so.
func askAll(t *testing.T, u *Upstream, requests int, stop func() bool) {
	var wg sync.WaitGroup
	for g := range requests {
		wg.Go(func() {
			for i := 0; !stop(); i++ {
				req := aRequest(withVars(fmt.Sprint("A=", g, ".", i)))
				req.Queue = cgi.QueueLimits{Length: 100, Wait: patience}
				res, err := u.RoundTrip(context.Background(), req)
				if !assert.NoError(t, err) {
					return
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				assert.NoError(t, err)
				assert.Equal(t, fmt.Sprint(g, ".", i, " "), string(b))
			}
		})
	}
	wg.Wait()
}

func learning(t *testing.T, f *fake) *Upstream { return sharing(t, f, nil) }

// sharing is an upstream that may lead where others do.
func sharing(t *testing.T, f *fake, all *Applications) *Upstream {
	u, err := NewUpstream(UpstreamConfig{Log: slog.New(slog.DiscardHandler), Servers: []TransportConfig{
		{Network: "unix", Address: f.address, MaxConns: 16, Keep: time.Hour, Stderr: func(*cgi.Request, string) {}, Applications: all},
	}})
	require.NoError(t, err)
	t.Cleanup(func() { u.Close(context.Background()) })
	return u
}

func TestAnUpstreamLearnsHowManyRequestsAnApplicationTakes(t *testing.T) {
	f := workforce(t, 3)
	u := learning(t, f)
	began := time.Now()
	var learned atomic.Bool
	var after atomic.Int32 // requests once it is learned
	askAll(t, u, 12, func() bool {
		if room := u.Status()[0].Room; room < 16 {
			assert.LessOrEqual(t, room, 3)
			learned.Store(true)
			return after.Add(1) > 500
		}
		return time.Since(began) > patience
	})
	assert.True(t, learned.Load())
}

func TestAnUpstreamLearnsNothingWhereThereAreProcessesEnough(t *testing.T) {
	f := workforce(t, 16)
	u := learning(t, f)
	began := time.Now()
	askAll(t, u, 12, func() bool { return time.Since(began) > 5*learnTime })
	assert.Equal(t, 16, u.Status()[0].Room)
}

func TestWhatWasLearnedDoesNotHoldForEver(t *testing.T) {
	u := learning(t, newFake(t, echo))
	s := u.servers[0]
	u.full(s, 0)
	req := aRequest()
	req.Queue = cgi.QueueLimits{Length: 100, Wait: patience}
	res, err := u.RoundTrip(context.Background(), req)
	require.NoError(t, err, "it waits, though no other request ends")
	res.Body.Close()
}

func TestALearnerWantsManyLooks(t *testing.T) {
	var l learner
	now := time.Now()
	looks := 0
	taken := func() int { looks++; return 1 + looks%3 }
	for range learnClaims - 1 {
		assert.Zero(t, l.claimed(now, taken))
	}
	now = now.Add(learnTime)
	assert.Equal(t, 3, l.claimed(now, taken), "the most that was seen")
	now = now.Add(learnTime)
	assert.Zero(t, l.claimed(now, taken), "too few claims")
	now = now.Add(time.Minute)
	assert.Zero(t, l.claimed(now, taken), "the time before is not looked at")
}
