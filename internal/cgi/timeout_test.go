package cgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAScriptThatTakesTooLongIsEnded(t *testing.T) {
	s := newSpawn(t)
	const soon = 100 * time.Millisecond
	for name, test := range map[string]struct {
		steps  []string
		limits Timeouts
		reason string
		body   string
		head   bool // it fails within RoundTrip
	}{
		"no output":                      {[]string{"hang"}, Timeouts{FirstByte: soon}, ReasonFirstByte, "", true},
		"no output, nph":                 {[]string{"hang"}, Timeouts{FirstByte: soon}, ReasonFirstByte, "", true},
		"no output in all":               {[]string{"hang"}, Timeouts{Total: soon}, ReasonTotal, "", true},
		"what comes first counts":        {[]string{"hang"}, Timeouts{FirstByte: patience, Idle: soon / 2, Total: soon}, ReasonTotal, "", true},
		"half a head":                    {[]string{"out A: b\n", "hang"}, Timeouts{FirstByte: patience, Idle: soon}, ReasonIdle, "", true},
		"a head only":                    {[]string{hello, "hang"}, Timeouts{FirstByte: patience, Idle: soon}, ReasonIdle, "", false},
		"half an answer":                 {[]string{hello + "half", "hang"}, Timeouts{FirstByte: patience, Idle: soon}, ReasonIdle, "half", false},
		"half an announced answer":       {[]string{"out Content-Length: 9\n\nhalf", "hang"}, Timeouts{FirstByte: patience, Idle: soon}, ReasonIdle, "half", false},
		"half an answer, nph":            {[]string{"out half", "hang"}, Timeouts{FirstByte: patience, Idle: soon}, ReasonIdle, "half", false},
		"for ever, but little by little": {[]string{hello, "drip 100000 10ms x"}, Timeouts{Idle: patience, Total: 15 * soon}, ReasonTotal, "x", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.call(test.steps...)
			c.Timeout = test.limits
			c.Timeout.Grace = patience
			c.Script.NPH = name[len(name)-3:] == "nph"
			began := time.Now()
			res, err := c.try()
			body := ""
			if !test.head {
				require.NoError(t, err)
				var b []byte
				b, err = io.ReadAll(res.Body)
				body = string(b)
				res.Body.Close()
			}
			assert.ErrorIs(t, err, ErrTimeout)
			require.Error(t, err)
			assert.Contains(t, err.Error(), test.reason)
			assert.GreaterOrEqual(t, time.Since(began), soon/2)
			if test.body == "x" {
				assert.Contains(t, body, test.body)
			} else {
				assert.Equal(t, test.body, body, "what there was is delivered")
			}
			e := c.wait()
			assert.Equal(t, []any{test.reason, "SIGTERM", -1}, []any{e.Killed, e.Signal, e.Code})
		})
	}
}

func TestAScriptWithinItsLimitsIsNotEnded(t *testing.T) {
	s := newSpawn(t)
	const limit = time.Second
	c := s.call("sleep 200ms", hello, "drip 5 250ms x") // longer than any limit, but for that in all
	c.Timeout = Timeouts{FirstByte: 5 * limit, Idle: limit, Total: patience, Grace: patience}
	assert.Equal(t, "xxxxx", c.mustAnswer())
	assert.Equal(t, "", c.wait().Killed)
}

func TestAScriptThatIgnoresTERMGetsKILLAfterTheGrace(t *testing.T) {
	s := newSpawn(t)
	c := s.call("ignore SIGTERM", hello, "hang")
	c.Timeout = Timeouts{Idle: 100 * time.Millisecond, Grace: 300 * time.Millisecond}
	began := time.Now()
	_, err := c.answer()
	assert.ErrorIs(t, err, ErrTimeout)
	assert.False(t, c.hasEnded(), "the grace is not over")
	e := c.wait()
	assert.Equal(t, []any{ReasonIdle, "SIGKILL"}, []any{e.Killed, e.Signal})
	assert.GreaterOrEqual(t, time.Since(began), 400*time.Millisecond)
}

func TestAScriptMayUseTheGrace(t *testing.T) {
	s := newSpawn(t)
	c := s.call("fork 1 hold "+script("hang"), "trap bye\n", hello, "hang")
	c.Timeout = Timeouts{Idle: 300 * time.Millisecond, Grace: patience}
	_, err := c.answer()
	assert.ErrorIs(t, err, ErrTimeout)
	e := c.wait()
	assert.Equal(t, []any{ReasonIdle, "", 0}, []any{e.Killed, e.Signal, e.Code})
}

func TestASlowReaderIsNotTheScriptsIdleTime(t *testing.T) {
	s := newSpawn(t)
	const limit = 500 * time.Millisecond
	size := 1 << 20
	c := s.call(hello, fmt.Sprint("outn ", size))
	c.Timeout = Timeouts{FirstByte: patience, Idle: limit, Grace: patience}
	res := c.start()
	var got []byte
	for i := range 2 {
		b := make([]byte, size/4)
		n, err := io.ReadFull(res.Body, b)
		require.NoError(t, err, "after pause %d", i)
		got = append(got, b[:n]...)
		time.Sleep(2 * limit)
	}
	rest, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.True(t, string(append(got, rest...)) == string(pattern(size)))
	res.Body.Close()
	assert.Equal(t, "", c.wait().Killed)
}

func TestTheTotalTimeRunsOnBehindTheAnswer(t *testing.T) {
	s := newSpawn(t)
	var wg sync.WaitGroup
	for name, steps := range map[string][]string{
		"closed":              {helloWorld, "close 1", "hang"},
		"announced":           {"out Content-Length: 13\n\nhello, world\n", "hang"},
		"announced, and deaf": {"ignore SIGTERM", "out Content-Length: 13\n\nhello, world\n", "hang"},
		"writes for ever":     {"ignore SIGPIPE", "out Content-Length: 13\n\nhello, world\n", "drip 1000000 1ms xxxxxxxxxxxxxxxxxxxxx"},
	} {
		c := s.call(steps...)
		c.Timeout = Timeouts{Total: 2 * time.Second, Grace: 100 * time.Millisecond}
		wg.Go(func() {
			body, err := c.answer()
			assert.NoError(t, err, name)
			assert.Equal(t, "hello, world\n", body, name)
			e := c.wait()
			assert.Equal(t, ReasonTotal, e.Killed, name)
			assert.Contains(t, []string{"SIGTERM", "SIGKILL"}, e.Signal, name)
		})
	}
	wg.Wait()
}

func TestAClientThatLeavesEndsTheScriptOrDoesNot(t *testing.T) {
	s := newSpawn(t)
	gone := errors.New("hung up")
	for name, steps := range map[string][]string{
		"before the start":  nil,
		"before the head":   {},
		"within the head":   {"out A: b\n"},
		"within the answer": {hello + "first\n"},
		"behind a closed":   {hello + "first\n", "close 1"},
	} {
		for _, disconnect := range []Disconnect{Kill, Finish} {
			t.Run(fmt.Sprint(name, ", ", disconnect), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				c := s.call(append(steps, "touch "+dir+"/ready", "await "+dir+"/go", "touch "+dir+"/done", "exit 6")...)
				c.Disconnect = disconnect
				ctx, leave := context.WithCancelCause(t.Context())
				answers := len(steps) > 0 && strings.HasPrefix(steps[0], hello)
				answered := make(chan struct{})
				if steps == nil {
					leave(gone)
				} else {
					go func() {
						eventually(t, func() bool { return exists(dir + "/ready") }, "the script's start")
						if answers {
							<-answered
						}
						leave(gone)
					}()
				}
				res, err := c.tryWith(ctx)
				close(answered)
				switch name {
				case "behind a closed":
					require.NoError(t, err)
					_, err := io.ReadAll(res.Body)
					if err != nil { // the client may also leave within the moment in which the exit is waited for
						assert.ErrorIs(t, err, ErrGone)
					}
					res.Body.Close()
				case "within the answer":
					require.NoError(t, err)
					assert.Equal(t, "first", readLine(t, res.Body))
					_, err = res.Body.Read(make([]byte, 1))
					assert.ErrorIs(t, err, ErrGone)
					assert.NotErrorIs(t, err, ErrTruncated)
					_, again := res.Body.Read(make([]byte, 1))
					assert.Equal(t, err, again)
					res.Body.Close()
				default:
					assert.ErrorIs(t, err, ErrGone)
				}
				if disconnect == Finish {
					touch(t, dir+"/go")
					e := c.wait()
					assert.Equal(t, []any{6, "", ""}, []any{e.Code, e.Signal, e.Killed})
					assert.True(t, exists(dir+"/done"))
					return
				}
				if name == "behind a closed" {
					touch(t, dir+"/go") // it may have been complete
				}
				if e := c.wait(); name != "behind a closed" {
					assert.Equal(t, []any{-1, "SIGTERM", ReasonDisconnect}, []any{e.Code, e.Signal, e.Killed})
					assert.False(t, exists(dir+"/done"))
				}
			})
		}
	}
}

func TestAClientCanBeSaidToHaveLeft(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	c := s.call(hello+"first\n", "hang")
	res := c.start()
	assert.Equal(t, "first", readLine(t, res.Body))
	go res.Body.ClientGone()
	_, err := io.ReadAll(res.Body)
	assert.ErrorIs(t, err, ErrGone)
	res.Body.Close()
	assert.Equal(t, ReasonDisconnect, c.wait().Killed)
	res.Body.ClientGone() // too late to matter

	c = s.call(hello, "await "+dir+"/go", "exit 6")
	c.Disconnect = Finish
	res = c.start()
	res.Body.ClientGone()
	_, err = io.ReadAll(res.Body)
	assert.ErrorIs(t, err, ErrGone)
	res.Body.Close()
	touch(t, dir+"/go")
	assert.Equal(t, 6, c.wait().Code)
}

func TestAClientThatLeavesWithItsWholeAnswerDoesNotEndTheScript(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	c := s.call(helloWorld, "close 1", "await "+dir+"/go", "exit 6")
	res := c.start()
	_, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	res.Body.Close()
	res.Body.ClientGone()
	touch(t, dir+"/go")
	e := c.wait()
	assert.Equal(t, []any{6, "", ""}, []any{e.Code, e.Signal, e.Killed})
}

func TestAScriptThatIgnoresTERMIsKilledWhenTheClientLeaves(t *testing.T) {
	s := newSpawn(t)
	c := s.call("ignore SIGTERM", hello, "hang")
	c.Timeout.Grace = 100 * time.Millisecond
	ctx, leave := context.WithCancel(t.Context())
	res, err := c.tryWith(ctx)
	require.NoError(t, err)
	leave()
	_, err = io.ReadAll(res.Body)
	assert.ErrorIs(t, err, ErrGone)
	res.Body.Close()
	e := c.wait()
	assert.Equal(t, []any{"SIGKILL", ReasonDisconnect}, []any{e.Signal, e.Killed})
}

func TestAScriptThatFinishesForNobodyStillHasItsLimits(t *testing.T) {
	s := newSpawn(t)
	c := s.call(hello, "hang")
	c.Disconnect, c.Timeout.Total = Finish, 1500*time.Millisecond
	ctx, leave := context.WithCancel(t.Context())
	res, err := c.tryWith(ctx)
	require.NoError(t, err)
	leave()
	_, err = io.ReadAll(res.Body)
	assert.ErrorIs(t, err, ErrGone)
	res.Body.Close()
	assert.Equal(t, ReasonTotal, c.wait().Killed)
}

func TestTheFirstReasonForAnEndIsTheOneThatCounts(t *testing.T) {
	s := newSpawn(t)
	c := s.call("ignore SIGTERM", hello, "hang")
	c.Timeout = Timeouts{Idle: 100 * time.Millisecond, Total: patience, Grace: 300 * time.Millisecond}
	ctx, leave := context.WithCancel(t.Context())
	res, err := c.tryWith(ctx)
	require.NoError(t, err)
	_, err = io.ReadAll(res.Body)
	assert.ErrorIs(t, err, ErrTimeout)
	leave()
	res.Body.Close()
	closed := make(chan error)
	go func() { closed <- s.Close(context.Background()) }()
	require.NoError(t, <-closed)
	assert.Equal(t, ReasonIdle, c.wait().Killed)
}

// Everything that can end a script may happen at the same moment.
func TestAllEndsAtOnce(t *testing.T) {
	s := newSpawn(t)
	var wg sync.WaitGroup
	for i := range 60 {
		steps := [][]string{{helloWorld}, {hello, "outn 300000"}, {hello + "a", "sleep 60ms"}, {"sleep 60ms", "exit 3"}, {hello + "a", "kill SIGKILL"}, {"out Content-Length: 1\n\na", "sleep 20ms"}}[i%6]
		c := s.call(append([]string{"err x\n"}, steps...)...)
		c.Timeout = Timeouts{FirstByte: 60 * time.Millisecond, Idle: 60 * time.Millisecond, Total: 70 * time.Millisecond, Grace: 10 * time.Millisecond}
		c.Disconnect = Disconnect(i % 2)
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(20+i)*time.Millisecond)
			defer cancel()
			res, err := s.RoundTrip(ctx, &c.Request)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			if err != nil {
				kinds := []error{ErrTimeout, ErrGone, ErrTruncated, ErrNoOutput, ErrBadHead}
				ok := false
				for _, k := range kinds {
					ok = ok || errors.Is(err, k)
				}
				assert.True(t, ok, "%v", err)
			}
			c.wait()
		})
	}
	wg.Wait()
}
