package cgi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// A held backend answers at once; its requests run on until the test ends them, as
// those of scripts that work on behind their answer.
type held struct {
	mu      sync.Mutex
	running []*Request
	started []string // ids
	err     error    // what it answers, after End
}

func (h *held) RoundTrip(_ context.Context, req *Request) (*Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started = append(h.started, req.ID)
	if h.err != nil {
		req.End(Exit{})
		return nil, h.err
	}
	h.running = append(h.running, req)
	return &Response{Status: 200}, nil
}

// end ends the request that has run longest.
func (h *held) end() {
	h.mu.Lock()
	req := h.running[0]
	h.running = h.running[1:]
	h.mu.Unlock()
	req.End(Exit{Started: true})
}

func (h *held) ids() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.started...)
}

func (h *held) runs() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.running)
}

// A testQueue is a Queue in front of a held backend, whose waiting is counted.
type testQueue struct {
	*Queue
	*held
	t       testing.TB
	waiting atomic.Int64

	mu     sync.Mutex
	waited map[string]error // by id
	times  map[string]time.Duration
}

func newQueue(t testing.TB, all int64) *testQueue {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	q := &testQueue{held: &held{}, t: t, waited: map[string]error{}, times: map[string]time.Duration{}}
	q.Queue = NewQueue(q.held, QueueConfig{
		MaxRunning: all,
		Waiting:    func(_ *Request, delta int) { q.waiting.Add(int64(delta)) },
		Waited: func(req *Request, d time.Duration, err error) {
			q.mu.Lock()
			defer q.mu.Unlock()
			assert.NotContains(t, q.waited, req.ID, "told twice")
			q.waited[req.ID], q.times[req.ID] = err, d
		},
	})
	t.Cleanup(func() {
		assert.Zero(t, q.waiting.Load(), "all that have come to wait have gone")
		assert.Zero(t, q.lines(), "no line is left behind")
		assert.True(t, q.all.sem.TryAcquire(all), "no place is lost")
		goleak.VerifyNone(t, leaks)
	})
	return q
}

// RoundTrip is ambiguous otherwise.
func (q *testQueue) RoundTrip(ctx context.Context, req *Request) (*Response, error) {
	return q.Queue.RoundTrip(ctx, req)
}

func (q *testQueue) lines() int {
	q.Queue.mu.Lock()
	defer q.Queue.mu.Unlock()
	return len(q.scripts)
}

func (q *testQueue) outcome(id string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waited[id]
}

// request makes one for a script.
func request(script, id string, lim QueueLimits) *Request {
	return &Request{ID: id, Script: Script{Name: "/" + script, File: "/srv/" + script}, Queue: lim}
}

// enqueue sends a request that has to wait, and returns when it does. What becomes of
// it comes on the channel.
func (q *testQueue) enqueue(ctx context.Context, req *Request) <-chan error {
	q.t.Helper()
	done := make(chan error, 1)
	before := q.waiting.Load()
	go func() {
		_, err := q.RoundTrip(ctx, req)
		done <- err
	}()
	eventually(q.t, func() bool { return q.waiting.Load() == before+1 }, "the wait of "+req.ID)
	// It is counted just before it takes its place in line, which nobody can see.
	time.Sleep(100 * time.Millisecond)
	return done
}

func TestAQueueLetsRequestsInInTheOrderInWhichTheyCame(t *testing.T) {
	q := newQueue(t, 100)
	lim := QueueLimits{Running: 2, Length: 10, Wait: patience}
	for _, id := range []string{"a", "b"} {
		_, err := q.RoundTrip(t.Context(), request("x", id, lim))
		require.NoError(t, err)
	}
	var done []<-chan error
	for _, id := range []string{"c", "d", "e", "f"} {
		done = append(done, q.enqueue(t.Context(), request("x", id, lim)))
	}
	assert.Equal(t, []string{"a", "b"}, q.ids())
	for i, c := range done {
		q.end()
		require.NoError(t, <-c)
		assert.Equal(t, []string{"a", "b", "c", "d", "e", "f"}[:3+i], q.ids())
		assert.Equal(t, 2, q.runs())
	}
	q.end()
	q.end()
	assert.Zero(t, q.times["a"])
	assert.Positive(t, q.times["f"])
}

func TestAFullQueueRefuses(t *testing.T) {
	q := newQueue(t, 100)
	lim := QueueLimits{Running: 1, Length: 2, Wait: patience}
	_, err := q.RoundTrip(t.Context(), request("x", "a", lim))
	require.NoError(t, err)
	b, c := q.enqueue(t.Context(), request("x", "b", lim)), q.enqueue(t.Context(), request("x", "c", lim))

	req := request("x", "d", lim)
	var ended []Exit
	req.AtEnd(func(e Exit) { ended = append(ended, e) })
	_, err = q.RoundTrip(t.Context(), req)
	assert.ErrorIs(t, err, ErrQueueFull)
	assert.Equal(t, "script /x: queue is full: 2 wait", err.Error())
	assert.Equal(t, []Exit{{}}, ended)
	assert.ErrorIs(t, q.outcome("d"), ErrQueueFull)
	_, err = q.RoundTrip(t.Context(), request("y", "e", lim))
	require.NoError(t, err, "another script has a queue of its own")

	for range 2 {
		q.end()
	}
	require.NoError(t, <-b)
	q.end()
	require.NoError(t, <-c)
	q.end()
	assert.Equal(t, []string{"a", "e", "b", "c"}, q.ids())
}

func TestWithLength0ARequestThatCanRunDoes(t *testing.T) {
	q := newQueue(t, 100)
	lim := QueueLimits{Running: 2}
	for _, id := range []string{"a", "b"} {
		_, err := q.RoundTrip(t.Context(), request("x", id, lim))
		require.NoError(t, err)
		assert.NoError(t, q.outcome(id))
	}
	_, err := q.RoundTrip(t.Context(), request("x", "c", lim))
	assert.ErrorIs(t, err, ErrQueueFull)
	q.end()
	_, err = q.RoundTrip(t.Context(), request("x", "d", lim))
	require.NoError(t, err)
	q.end()
	q.end()
	assert.Zero(t, q.waiting.Load())
}

func TestARequestWaitsNoLongerThanItMay(t *testing.T) {
	q := newQueue(t, 1)
	lim := QueueLimits{Running: 1, Length: 10, Wait: 100 * time.Millisecond}
	_, err := q.RoundTrip(t.Context(), request("x", "a", lim))
	require.NoError(t, err)
	for _, script := range []string{"x", "y"} { // for a place of its script, and for one of all
		req := request(script, script, lim)
		ended := 0
		req.AtEnd(func(Exit) { ended++ })
		_, err = q.RoundTrip(t.Context(), req)
		assert.ErrorIs(t, err, ErrQueueWait)
		assert.Equal(t, "script /"+script+": too long a wait in the queue", err.Error())
		assert.Equal(t, 1, ended)
		assert.ErrorIs(t, q.outcome(script), ErrQueueWait)
		assert.GreaterOrEqual(t, q.times[script], lim.Wait)
	}
	q.end()
	_, err = q.RoundTrip(t.Context(), request("x", "again", lim))
	require.NoError(t, err, "those that have gone are not in the way")
	q.end()
}

func TestARequestWhoseClientLeavesWaitsNoLonger(t *testing.T) {
	q := newQueue(t, 1)
	lim := QueueLimits{Running: 1, Length: 10, Wait: patience}
	_, err := q.RoundTrip(t.Context(), request("x", "a", lim))
	require.NoError(t, err)
	for _, script := range []string{"x", "y"} {
		ctx, leave := context.WithCancel(t.Context())
		req := request(script, script, lim)
		ended := 0
		req.AtEnd(func(Exit) { ended++ })
		done := q.enqueue(ctx, req)
		leave()
		assert.ErrorIs(t, <-done, ErrGone)
		assert.Equal(t, 1, ended)
		assert.ErrorIs(t, q.outcome(script), ErrGone)
	}
	// One whose client leaves does not hold up those behind it.
	ctx, leave := context.WithCancel(t.Context())
	first, second := q.enqueue(ctx, request("x", "first", lim)), q.enqueue(t.Context(), request("x", "second", lim))
	leave()
	assert.ErrorIs(t, <-first, ErrGone)
	q.end()
	require.NoError(t, <-second)
	q.end()
	assert.Equal(t, []string{"a", "second"}, q.ids())
}

func TestAPlaceIsHeldUntilTheEndOfTheRequestNotOfItsAnswer(t *testing.T) {
	q := newQueue(t, 100)
	lim := QueueLimits{Running: 1, Length: 10, Wait: 100 * time.Millisecond}
	res, err := q.RoundTrip(t.Context(), request("x", "a", lim))
	require.NoError(t, err)
	assert.Equal(t, 200, res.Status) // the answer is there, and its process still works
	_, err = q.RoundTrip(t.Context(), request("x", "b", lim))
	assert.ErrorIs(t, err, ErrQueueWait)
	q.end()
	_, err = q.RoundTrip(t.Context(), request("x", "c", lim))
	require.NoError(t, err)
	q.end()
}

func TestAPlaceIsFreedByABackendThatFails(t *testing.T) {
	q := newQueue(t, 1)
	q.err = fmt.Errorf("script /x: %w", ErrStart)
	for i := range 5 {
		req := request("x", fmt.Sprint(i), QueueLimits{Running: 1})
		ended := 0
		req.AtEnd(func(Exit) { ended++ })
		_, err := q.RoundTrip(t.Context(), req)
		assert.Equal(t, q.err, err, "its error is passed on as it is")
		assert.Equal(t, 1, ended)
	}
}

type panics struct{}

func (panics) RoundTrip(context.Context, *Request) (*Response, error) { panic("bug") }

func TestAPlaceIsFreedByABackendThatPanics(t *testing.T) {
	q := NewQueue(panics{}, QueueConfig{MaxRunning: 1})
	for range 3 {
		assert.PanicsWithValue(t, "bug", func() {
			q.RoundTrip(t.Context(), &Request{Queue: QueueLimits{Running: 1}})
		})
	}
}

func TestAllScriptsTogetherHaveALimitToo(t *testing.T) {
	q := newQueue(t, 2)
	lim := QueueLimits{Running: 2, Length: 1, Wait: patience}
	for _, script := range []string{"x", "y"} {
		_, err := q.RoundTrip(t.Context(), request(script, script, lim))
		require.NoError(t, err)
	}
	z := q.enqueue(t.Context(), request("z", "z", lim))
	x2 := q.enqueue(t.Context(), request("x", "x2", lim))
	_, err := q.RoundTrip(t.Context(), request("z", "z2", lim))
	assert.ErrorIs(t, err, ErrQueueFull, "each script's own queue is what is full")
	_, err = q.RoundTrip(t.Context(), request("w", "w", QueueLimits{Running: 5}))
	assert.ErrorIs(t, err, ErrQueueFull)
	assert.Equal(t, []string{"x", "y"}, q.ids())
	q.end()
	q.end()
	require.NoError(t, <-z)
	require.NoError(t, <-x2)
	assert.ElementsMatch(t, []string{"x", "y", "z", "x2"}, q.ids())
	q.end()
	q.end()
}

func TestALineIsForgottenWhenNobodyIsInIt(t *testing.T) {
	q := newQueue(t, 100)
	for i := range 1000 {
		_, err := q.RoundTrip(t.Context(), request(fmt.Sprint(i%500), fmt.Sprint(i), QueueLimits{Running: 1}))
		require.NoError(t, err)
		require.Equal(t, 1, q.lines())
		q.end()
		require.Zero(t, q.lines())
	}
	// A new limit is taken over as soon as a line begins anew.
	_, err := q.RoundTrip(t.Context(), request("x", "a", QueueLimits{Running: 2}))
	require.NoError(t, err)
	_, err = q.RoundTrip(t.Context(), request("x", "b", QueueLimits{Running: 2}))
	require.NoError(t, err)
	q.end()
	q.end()
}

func TestAScriptIsItsFileWhateverItIsCalled(t *testing.T) {
	q := newQueue(t, 100)
	a, b := request("x", "a", QueueLimits{Running: 1}), request("x", "b", QueueLimits{Running: 1})
	b.Script.Name = "/alias"
	_, err := q.RoundTrip(t.Context(), a)
	require.NoError(t, err)
	_, err = q.RoundTrip(t.Context(), b)
	assert.ErrorIs(t, err, ErrQueueFull)
	q.end()
}

func TestAQueueWithoutHooksWorks(t *testing.T) {
	h := &held{}
	q := NewQueue(h, QueueConfig{MaxRunning: 1})
	_, err := q.RoundTrip(t.Context(), request("x", "a", QueueLimits{Running: 1}))
	require.NoError(t, err)
	_, err = q.RoundTrip(t.Context(), request("x", "b", QueueLimits{Running: 1, Length: 1, Wait: time.Millisecond}))
	assert.ErrorIs(t, err, ErrQueueWait)
	h.end()
}

// busy is a backend that checks how many requests it is given at once.
type busy struct {
	t         *testing.T
	queue     *Queue
	all, most atomic.Int64
	scripts   [4]atomic.Int64
	limit     int64
	perScript int64
}

func (b *busy) RoundTrip(_ context.Context, req *Request) (*Response, error) {
	b.queue.mu.Lock()
	for _, l := range b.queue.scripts {
		assert.LessOrEqual(b.t, l.waiting, req.Queue.Length)
	}
	b.queue.mu.Unlock()
	script := &b.scripts[req.Script.File[5]-'0']
	now, mine := b.all.Add(1), script.Add(1)
	assert.LessOrEqual(b.t, now, b.limit)
	assert.LessOrEqual(b.t, mine, b.perScript)
	for most := b.most.Load(); now > most && !b.most.CompareAndSwap(most, now); most = b.most.Load() {
	}
	end := func() {
		script.Add(-1)
		b.all.Add(-1)
		req.End(Exit{Started: true})
	}
	switch rand.N(4) {
	case 0:
		end()
		return nil, ErrStart
	case 1:
		end()
	default:
		time.AfterFunc(rand.N(2*time.Millisecond), end)
	}
	return &Response{Status: 200}, nil
}

func TestAQueueKeepsItsLimitsUnderStress(t *testing.T) {
	const n = 3000
	b := &busy{t: t, limit: 6, perScript: 3}
	var waiting, waited, ended atomic.Int64
	q := NewQueue(b, QueueConfig{
		MaxRunning: b.limit,
		Waiting:    func(_ *Request, delta int) { waiting.Add(int64(delta)) },
		Waited:     func(*Request, time.Duration, error) { waited.Add(1) },
	})
	b.queue = q
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			req := request(fmt.Sprint(rand.N(4)), fmt.Sprint(i), QueueLimits{Running: b.perScript, Length: 10, Wait: rand.N(10 * time.Millisecond)})
			req.AtEnd(func(Exit) { ended.Add(1) })
			ctx := context.Background()
			if rand.N(3) == 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, rand.N(5*time.Millisecond))
				defer cancel()
			}
			_, err := q.RoundTrip(ctx, req)
			ok := err == nil
			for _, kind := range []error{ErrQueueFull, ErrQueueWait, ErrGone, ErrStart} {
				ok = ok || errors.Is(err, kind)
			}
			assert.True(t, ok, "%v", err)
		})
		if i%50 == 0 {
			time.Sleep(time.Millisecond) // so that there is something between full and idle
		}
	}
	wg.Wait()
	eventually(t, func() bool { return ended.Load() == n }, "the end of all requests")
	assert.EqualValues(t, n, waited.Load())
	assert.Zero(t, waiting.Load())
	assert.Empty(t, q.scripts)
	assert.True(t, q.all.sem.TryAcquire(b.limit), "no place is lost")
	assert.EqualValues(t, b.limit, b.most.Load(), "all places were used")
}

func TestAQueueInFrontOfProcessesHoldsAPlaceUntilTheyHaveEnded(t *testing.T) {
	s := newSpawn(t)
	q := NewQueue(s.Spawn, QueueConfig{MaxRunning: 10})
	dir := t.TempDir()
	lim := QueueLimits{Running: 1, Length: 1, Wait: 20 * time.Millisecond}
	c := s.call("out Content-Length: 0\n\n", "await "+dir+"/go")
	c.Queue = lim
	res, err := q.RoundTrip(t.Context(), &c.Request)
	require.NoError(t, err)
	res.Body.Close()
	second := s.call(helloWorld)
	second.Queue = lim
	_, err = q.RoundTrip(t.Context(), &second.Request)
	assert.ErrorIs(t, err, ErrQueueWait)
	assert.Equal(t, Exit{}, second.wait())
	touch(t, dir+"/go")
	c.wait()
	third := s.call(helloWorld)
	third.Queue = lim
	res, err = q.RoundTrip(t.Context(), &third.Request)
	require.NoError(t, err)
	res.Body.Close()
	failing := s.callFile("/none")
	third.wait()
	failing.Queue = lim
	_, err = q.RoundTrip(t.Context(), &failing.Request)
	assert.ErrorIs(t, err, ErrStart)
	assert.Empty(t, q.scripts)
}
