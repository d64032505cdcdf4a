package fcgi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

// A testUpstream is an Upstream of fakes.
type testUpstream struct {
	*Upstream
	t   *testing.T
	log *logBuffer

	mu      sync.Mutex
	retried []string
	leftOut []string
}

func newTestUpstream(t *testing.T, fakes []*fake, set ...func(*UpstreamConfig)) *testUpstream {
	t.Helper()
	s := &testUpstream{t: t, log: &logBuffer{}}
	c := UpstreamConfig{
		Log: slog.New(slog.NewTextHandler(s.log, nil)),
		Retried: func(_ *cgi.Request, why string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.retried = append(s.retried, why)
		},
		LeftOut: func(_, why string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.leftOut = append(s.leftOut, why)
		},
	}
	for _, f := range fakes {
		c.Servers = append(c.Servers, TransportConfig{Network: f.ln.Addr().Network(), Address: f.address, MaxConns: 4, Keep: time.Hour})
	}
	for _, f := range set {
		f(&c)
	}
	var err error
	s.Upstream, err = NewUpstream(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		s.Close(context.Background())
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	return s
}

func inTurn(c *UpstreamConfig) { c.RoundRobin = true }

func (s *testUpstream) ask(opts ...requestOption) (string, error) {
	req := aRequest(opts...)
	if req.Queue.Wait == 0 {
		req.Queue = cgi.QueueLimits{Length: 100, Wait: patience}
	}
	res, err := s.RoundTrip(context.Background(), req)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	return string(b), err
}

// shares asks n times, and counts who has answered.
func (s *testUpstream) shares(n int) map[string]int {
	got := map[string]int{}
	for range n {
		b, err := s.ask()
		require.NoError(s.t, err)
		got[b]++
	}
	return got
}

// says is a server that answers with its name.
func says(name string) func(*fakeConn, int) {
	return func(c *fakeConn, _ int) { answerAll(c, name) }
}

// switched is a server that does something else while a switch is on.
func switched(on *atomic.Bool, name string, else_ func(c *fakeConn)) func(*fakeConn, int) {
	return func(c *fakeConn, _ int) {
		for {
			q, ok := c.request()
			if !ok || q.aborted {
				return
			}
			if on.Load() {
				else_(c)
				return
			}
			c.answer(name)
		}
	}
}

func TestAnOverloadedServersRequestGoesToAnother(t *testing.T) {
	overloaded := func(c *fakeConn, _ int) { c.request(); c.end(statusOverloaded) }
	s := newTestUpstream(t, []*fake{newFake(t, overloaded), newFake(t, says("two"))}, inTurn)
	for range 4 {
		b, err := s.ask(spooled(t, "a body that is kept", 100))
		require.NoError(t, err)
		assert.Equal(t, "two", b)
	}
	assert.Equal(t, []string{WhyOverloaded, WhyOverloaded}, s.retried)

	s = newTestUpstream(t, []*fake{newFake(t, overloaded), newFake(t, overloaded)})
	_, err := s.ask()
	assert.ErrorIs(t, err, cgi.ErrOverloaded)
}

func TestASafeRequestGoesToAnotherServerWhenItsConnectionIsLost(t *testing.T) {
	dies := func(c *fakeConn, _ int) { c.request() }
	s := newTestUpstream(t, []*fake{newFake(t, dies), newFake(t, says("two"))}, inTurn)
	assert.Equal(t, map[string]int{"two": 2}, s.shares(2))
	assert.Equal(t, []string{WhyLost}, s.retried)
	_, err := s.ask(spooled(t, "a body that is kept", 100))
	assert.ErrorIs(t, err, cgi.ErrNoOutput, "it may have been acted upon")

	one := newFake(t, dies)
	s = newTestUpstream(t, []*fake{one})
	_, err = s.ask()
	assert.ErrorIs(t, err, cgi.ErrNoOutput)
	assert.EqualValues(t, 2, one.conns.Load(), "the only server is asked twice, and no more")
}

func TestAnAuthorizersRequestGoesToAnotherServerWhateverItsMethod(t *testing.T) {
	dies := newFake(t, func(c *fakeConn, _ int) { c.request() })
	s := newTestUpstream(t, []*fake{dies, newFake(t, says("two"))}, inTurn, func(c *UpstreamConfig) {
		for i := range c.Servers {
			c.Servers[i].Authorizer = true
		}
	})
	for range 2 {
		b, err := s.ask(func(r *cgi.Request) { r.Vars[0] = "REQUEST_METHOD=POST" })
		require.NoError(t, err)
		assert.Equal(t, "two", b)
	}
	assert.Equal(t, []string{WhyLost}, s.retried)
}

func TestAServerWhoseRequestsFailInARowIsLeftOutForAWhile(t *testing.T) {
	var broken atomic.Bool
	one := newFake(t, switched(&broken, "one", func(c *fakeConn) {}))
	s := newTestUpstream(t, []*fake{one, newFake(t, says("two"))}, inTurn)
	assert.Equal(t, map[string]int{"one": 5, "two": 5}, s.shares(10))
	broken.Store(true)
	assert.Equal(t, map[string]int{"two": 30}, s.shares(30))
	assert.Equal(t, []string{WhyFailing}, s.leftOut)
	assert.Len(t, s.retried, strikesOut)
	assert.Equal(t, WhyFailing, s.Status()[0].Out)
	broken.Store(false)
	assert.Eventually(t, func() bool { return s.shares(2)["one"] == 1 }, patience, 50*time.Millisecond)
	assert.Contains(t, s.log.String(), "is back")
}

func TestAServerThatCantBeReachedIsTriedByNoRequest(t *testing.T) {
	one := newFake(t, says("one"))
	s := newTestUpstream(t, []*fake{one, newFake(t, says("two"))}, inTurn)
	s.shares(2)
	one.ln.Close()
	s.servers[0].closeIdle(all)
	assert.Equal(t, map[string]int{"two": 10}, s.shares(10))
	assert.Equal(t, []string{WhyUnreachable}, s.retried)
	assert.Equal(t, WhyUnreachable, s.Status()[0].Out)

	again, err := net.Listen("unix", one.address)
	require.NoError(t, err)
	serveFake(t, again, says("one"))
	assert.Eventually(t, func() bool { return s.shares(2)["one"] == 1 }, patience, 50*time.Millisecond)
	assert.Equal(t, []string{WhyUnreachable}, s.retried)
}

// health has checks every millisecond that say what a test wants.
func health(check func() (Condition, error)) func(*UpstreamConfig) {
	return func(c *UpstreamConfig) {
		first := c.Servers[0].Address
		c.Health = Health{Every: time.Millisecond, Timeout: patience, Fails: 2, Check: func(_ context.Context, c TransportConfig) (Condition, error) {
			if c.Address != first {
				return Condition{}, nil
			}
			return check()
		}}
	}
}

func TestRequestsOfAServerThatHangsGoElsewhereWhenItsChecksFail(t *testing.T) {
	var hangs atomic.Bool
	asked := make(chan bool, 10)
	one := newFake(t, switched(&hangs, "one", func(c *fakeConn) { asked <- true; c.next() }))
	s := newTestUpstream(t, []*fake{one, newFake(t, says("two"))}, inTurn, health(func() (Condition, error) {
		if hangs.Load() {
			return Condition{}, errors.New("no answer")
		}
		return Condition{}, nil
	}))
	assert.Equal(t, map[string]int{"one": 5, "two": 5}, s.shares(10))
	hangs.Store(true)
	assert.Equal(t, map[string]int{"two": 10}, s.shares(10))
	assert.Contains(t, s.leftOut, WhyUnhealthy)
	assert.Equal(t, WhyUnhealthy, s.Status()[0].Out)
	hangs.Store(false)
	assert.Eventually(t, func() bool { return s.shares(2)["one"] == 1 }, patience, time.Millisecond)
}

func TestARequestThatIsNotSafeWaitsForItsServerThatHangs(t *testing.T) {
	var hangs atomic.Bool
	hangs.Store(true)
	asked, goOn := make(chan bool, 1), make(chan bool)
	one := newFake(t, func(c *fakeConn, _ int) { c.request(); asked <- true; <-goOn; c.answer("one") })
	out := make(chan bool, 1000)
	s := newTestUpstream(t, []*fake{one, newFake(t, says("two"))}, health(func() (Condition, error) {
		if hangs.Load() && len(asked) > 0 {
			return Condition{}, errors.New("no answer")
		}
		return Condition{}, nil
	}), func(c *UpstreamConfig) { c.LeftOut = func(string, string) { out <- true } })
	s.mu.Lock()
	s.turn = 1 // the next is the first
	s.mu.Unlock()
	go func() { // ends with the test
		<-out
		hangs.Store(false)
		close(goOn)
	}()
	b, err := s.ask(spooled(t, "a body", 100))
	require.NoError(t, err)
	assert.Equal(t, "one", b)
}

func TestAServerThatAnswersRequestsIsWellWhateverItsChecksSay(t *testing.T) {
	var s *testUpstream
	ready, checked := make(chan bool), make(chan bool)
	s = newTestUpstream(t, []*fake{newFake(t, says("one")), newFake(t, says("two"))}, inTurn, health(func() (Condition, error) {
		<-ready
		defer func() { checked <- true }()
		s.shares(2)
		return Condition{}, errors.New("no answer")
	}))
	close(ready)
	for range 4 {
		<-checked
	}
	one := s.servers[0]
	s.mu.Lock()
	one.running += one.room // as many as it can have
	s.mu.Unlock()
	select { // one may be on its way
	case <-checked:
	default:
	}
	_, err := s.check(t.Context(), one)
	assert.ErrorIs(t, err, errPutOff, "none may be free to answer a check")
	s.mu.Lock()
	one.running -= one.room
	s.mu.Unlock()
	go func() { // ends with the upstream
		for range checked {
		}
	}()
	assert.Empty(t, s.leftOut)
	s.stop()
	s.Upstream.running.Wait()
	close(checked)
}

func TestTheChecksTellHowMuchRoomAServerHas(t *testing.T) {
	s := newTestUpstream(t, []*fake{newFake(t, says("one"))}, health(func() (Condition, error) { return Condition{Room: 2}, nil }))
	assert.Eventually(t, func() bool { return s.Status()[0].Room == 2 }, patience, time.Millisecond)
}

func TestAServerThatHasComeStartsSlowly(t *testing.T) {
	s := newTestUpstream(t, []*fake{newFake(t, says("one")), newFake(t, says("two"))}, inTurn, func(c *UpstreamConfig) { c.SlowStart = time.Hour })
	s.servers[1].since = time.Now()
	got := s.shares(110)
	assert.InDelta(t, 10, got["two"], 1)
	assert.Equal(t, 110-got["two"], got["one"])
}

func TestARequestThatWouldWaitInVainForAServerIsRefusedAtOnce(t *testing.T) {
	goOn := make(chan string)
	one := newFake(t, func(c *fakeConn, _ int) {
		for {
			if _, ok := c.request(); !ok {
				return
			}
			c.answer(<-goOn)
		}
	})
	waiting, waits := make(chan int, 100), make(chan time.Duration, 100)
	s := newTestUpstream(t, []*fake{one}, func(c *UpstreamConfig) {
		c.Servers[0].MaxConns = 1
		c.Waiting = func(_ *cgi.Request, delta int) { waiting <- delta }
		c.Waited = func(_ *cgi.Request, d time.Duration, err error) {
			if err != nil {
				waits <- d
			}
		}
	})
	answers := make(chan error, 100)
	ask := func() { // ends with the answer
		_, err := s.ask(func(r *cgi.Request) { r.Queue = cgi.QueueLimits{Length: 100, Wait: patience} })
		answers <- err
	}
	go ask()
	assert.Eventually(t, func() bool { return s.Status()[0].Requests == 1 }, patience, time.Millisecond)
	const all = 20
	for range all {
		go ask()
		assert.Equal(t, 1, <-waiting)
	}
	for range all - 2 { // of whom each takes some milliseconds
		time.Sleep(5 * time.Millisecond)
		goOn <- "!"
		assert.NoError(t, <-answers)
		assert.Equal(t, -1, <-waiting)
	}
	_, err := s.ask(func(r *cgi.Request) { r.Queue = cgi.QueueLimits{Length: 100, Wait: time.Millisecond} })
	assert.ErrorIs(t, err, cgi.ErrQueueWait)
	assert.ErrorContains(t, err, "as 2 wait")
	assert.Zero(t, <-waits, "it has not waited")
	for range 3 {
		goOn <- "!"
		assert.NoError(t, <-answers)
	}
}

func TestRequestsWaitInTheirOrderForAServerWithRoom(t *testing.T) {
	goOn := make(chan string)
	one := newFake(t, func(c *fakeConn, _ int) {
		for {
			q, ok := c.request()
			if !ok {
				return
			}
			c.answer(q.vars["A"] + <-goOn)
		}
	})
	waiting := make(chan int, 100)
	s := newTestUpstream(t, []*fake{one}, func(c *UpstreamConfig) {
		c.Servers[0].MaxConns = 1
		c.Waiting = func(_ *cgi.Request, delta int) { waiting <- delta }
	})
	limits := func(r *cgi.Request) { r.Queue = cgi.QueueLimits{Length: 3, Wait: patience} }
	answers := make(chan string, 10)
	ask := func(name string) { // ends with the answer
		b, err := s.ask(limits, withVars("A="+name))
		assert.NoError(t, err)
		answers <- b
	}
	go ask("0")
	assert.Eventually(t, func() bool { return s.Status()[0].Requests == 1 }, patience, time.Millisecond)
	for _, name := range []string{"1", "2", "3"} {
		go ask(name)
		assert.Equal(t, 1, <-waiting)
	}
	_, err := s.ask(limits)
	assert.ErrorIs(t, err, cgi.ErrQueueFull)
	for _, name := range []string{"0", "1", "2", "3"} {
		goOn <- "!"
		assert.Equal(t, name+"!", <-answers)
	}

	go ask("4")
	assert.Eventually(t, func() bool { return s.Status()[0].Requests == 1 }, patience, time.Millisecond)
	_, err = s.ask(func(r *cgi.Request) { r.Queue = cgi.QueueLimits{Length: 3, Wait: time.Millisecond} })
	assert.ErrorIs(t, err, cgi.ErrQueueWait)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.RoundTrip(ctx, aRequest(limits))
	assert.ErrorIs(t, err, cgi.ErrGone)
	goOn <- "!"
	assert.Equal(t, "4!", <-answers)
	assert.Empty(t, s.line)
	assert.True(t, strings.Count(s.log.String(), "left out") == 0)
}

// srv answers for SRV names.
type srv struct {
	name
	records []*net.SRV
}

func (s *srv) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", s.records, nil
}

func TestAnSRVNameHasServersWithPortsAndWeights(t *testing.T) {
	var ports []uint16
	for _, name := range []string{"one", "two", "spare"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		serveFake(t, ln, says(name))
		ports = append(ports, uint16(ln.Addr().(*net.TCPAddr).Port))
	}
	r := &srv{records: []*net.SRV{
		{Target: "a.test.", Port: ports[0], Priority: 1, Weight: 30},
		{Target: "a.test.", Port: ports[1], Priority: 1, Weight: 10},
		{Target: "a.test.", Port: ports[2], Priority: 2, Weight: 10},
	}}
	r.set(nil, "127.0.0.1")
	s := newTestUpstream(t, nil, inTurn, func(c *UpstreamConfig) {
		c.Name, c.Each, c.Refresh, c.Resolver = "_app._tcp.test", TransportConfig{Network: "tcp", MaxConns: 4, Keep: time.Hour}, time.Hour, r
	})
	assert.Equal(t, map[string]int{"one": 30, "two": 10}, s.shares(40))
}
