package cgi

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAPaceRefusesWhoeverWouldWaitInVain(t *testing.T) {
	var p Pace
	at := time.Now()
	p.Wait(at)
	turns := func(n int, every time.Duration) {
		for range n {
			at = at.Add(every)
			p.Turn(at)
		}
	}
	assert.NoError(t, p.Refuse(1e6, time.Second), "nothing is known yet")
	turns(paceTurns-1, 50*time.Millisecond)
	assert.NoError(t, p.Refuse(1e6, time.Second), "too little is known")
	turns(1, 50*time.Millisecond)
	assert.NoError(t, p.Refuse(15, time.Second))
	err := p.Refuse(16, time.Second)
	require.ErrorIs(t, err, ErrQueueWait)
	assert.Equal(t, "too long a wait in the queue: it would be about 850ms, as 16 wait", err.Error())
	turns(4*paceMemory, 10*time.Millisecond)
	assert.NoError(t, p.Refuse(60, time.Second), "the pace is that of late")
	assert.Error(t, p.Refuse(90, time.Second))
	p.Rest()
	assert.NoError(t, p.Refuse(1e6, time.Second), "the next load is another")

	at = at.Add(time.Hour)
	p.Wait(at)
	at = at.Add(time.Second)
	turns(20, 0)
	assert.Error(t, p.Refuse(16, time.Second), "that all come at once makes nothing faster: they took a second")
	assert.NoError(t, p.Refuse(15, time.Second))

	p.Rest()
	p.Least = 50 * time.Millisecond
	assert.NoError(t, p.Refuse(15, time.Second))
	assert.Error(t, p.Refuse(16, time.Second), "what is known beforehand counts from the first one on")
	p.Wait(at)
	turns(paceTurns, time.Millisecond)
	assert.Error(t, p.Refuse(16, time.Second), "however fast it seems to be")
}

func TestWhoWouldWaitInVainIsRefusedAtOnceAndNobodyElse(t *testing.T) {
	q := newQueue(t, 100)
	lim := QueueLimits{Running: 1, Length: 100, Wait: patience}
	_, err := q.RoundTrip(t.Context(), request("x", "first", lim))
	require.NoError(t, err)
	var done []<-chan error
	for i := range paceTurns + 3 {
		done = append(done, q.enqueue(t.Context(), request("x", strconv.Itoa(i), lim)))
	}
	for _, d := range done[:paceTurns+1] { // some milliseconds each
		time.Sleep(5 * time.Millisecond)
		q.end()
		require.NoError(t, <-d)
	}
	short := lim
	short.Wait = time.Millisecond
	_, err = q.RoundTrip(t.Context(), request("x", "vain", short))
	require.ErrorIs(t, err, ErrQueueWait)
	assert.ErrorContains(t, err, "as 2 wait")
	assert.Zero(t, q.times["vain"], "it has not waited")
	assert.ErrorIs(t, q.outcome("vain"), ErrQueueWait)
	late := q.enqueue(t.Context(), request("x", "late", lim))
	for _, d := range append(done[paceTurns+1:], late) {
		q.end()
		require.NoError(t, <-d, "who was there waits on, who may wait for long is let in")
	}
	q.end()

	// Nobody waits: the pace is forgotten.
	_, err = q.RoundTrip(t.Context(), request("x", "again", lim))
	require.NoError(t, err)
	next := q.enqueue(t.Context(), request("x", "next", lim))
	q.end()
	require.NoError(t, <-next)
	q.end()
}

func TestWhatAScriptCostsIsAMeanAndIsForgottenWhereItIsNotKnown(t *testing.T) {
	c := costs{}
	assert.Zero(t, c["a"])
	spends := func(d time.Duration, times int) {
		for range times {
			c.note("a", Exit{Started: true, User: d / 2, System: d / 2})
		}
	}
	spends(80*time.Millisecond, 100)
	assert.InDelta(t, 80*time.Millisecond, c["a"], float64(time.Millisecond))
	c.note("a", Exit{})
	assert.InDelta(t, 80*time.Millisecond, c["a"], float64(time.Millisecond), "what did not start costs nothing")
	spends(0, 100)
	assert.Less(t, c["a"], 100*time.Microsecond)
	for i := range 2 * maxCosts {
		c.note(strconv.Itoa(i), Exit{Started: true})
	}
	assert.LessOrEqual(t, len(c), maxCosts)
}

func TestALoadThatIsTooMuchForTheProcessorsIsRefusedFromItsBeginning(t *testing.T) {
	q := newQueue(t, 100)
	lim := QueueLimits{Running: 1, Length: 100, Wait: 20 * time.Second}
	for i := range 30 { // nobody waits, but what it costs is learned
		req := request("x", strconv.Itoa(i), lim)
		_, err := q.RoundTrip(t.Context(), req)
		require.NoError(t, err)
		q.held.mu.Lock()
		q.running = nil
		q.held.mu.Unlock()
		req.End(Exit{Started: true, User: 10 * time.Second})
	}
	_, err := q.RoundTrip(t.Context(), request("x", "runs", lim))
	require.NoError(t, err)
	waits := q.enqueue(t.Context(), request("x", "waits", lim))
	_, err = q.RoundTrip(t.Context(), request("x", "vain", lim))
	require.ErrorIs(t, err, ErrQueueWait)
	assert.ErrorContains(t, err, "as 1 wait")
	q.end()
	require.NoError(t, <-waits)
	q.end()
}

func TestWhatALoadCostsIsSharedByTheProcessors(t *testing.T) {
	for _, processors := range []int{1, 4} {
		q := newQueue(t, 100)
		q.c.Processors = processors
		lim := QueueLimits{Running: 1, Length: 100, Wait: patience}
		q.costs["/srv/x"] = patience // four of them take that long with four processors
		_, err := q.RoundTrip(t.Context(), request("x", "runs", lim))
		require.NoError(t, err)
		ctx, gone := context.WithCancel(t.Context())
		in := 0
		for ; in < processors-1; in++ {
			q.enqueue(ctx, request("x", strconv.Itoa(in), lim))
		}
		_, err = q.RoundTrip(t.Context(), request("x", "vain", lim))
		require.ErrorIs(t, err, ErrQueueWait)
		assert.ErrorContains(t, err, "as "+strconv.Itoa(in)+" wait")
		gone()
		eventually(t, func() bool { return q.waiting.Load() == 0 }, "those that waited are gone")
		q.end()
	}
}
