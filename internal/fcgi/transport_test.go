package fcgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

const (
	head = "Content-Type: text/plain\r\n\r\n"
	// soon is less than any time-out of these requests.
	soon = 5 * time.Second
)

// A testTransport is a Transport to a fake, and what it has logged.
type testTransport struct {
	*Transport
	t     *testing.T
	lines chan string
}

func newTestTransport(t *testing.T, f *fake, set ...func(*TransportConfig)) *testTransport {
	t.Helper()
	s := &testTransport{t: t, lines: make(chan string, 1000)}
	c := TransportConfig{Network: "unix", Address: f.address, MaxConns: 16, Keep: time.Hour,
		Stderr: func(req *cgi.Request, line string) { s.lines <- req.ID + " " + line }}
	for _, f := range set {
		f(&c)
	}
	var err error
	s.Transport, err = NewTransport(c)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

type requestOption func(*cgi.Request)

func withVars(v ...string) requestOption {
	return func(r *cgi.Request) { r.Vars = append(r.Vars, v...) }
}

func withBody(b io.Reader, n int) requestOption {
	return func(r *cgi.Request) {
		r.Vars[0] = "REQUEST_METHOD=POST"
		r.Body, r.Length = b, int64(n)
	}
}

// spooled is a body that is there already.
func spooled(t *testing.T, s string, memory int64) requestOption {
	sp, err := cgi.Spool(strings.NewReader(s), cgi.SpoolConfig{Max: 1 << 30, Memory: memory, Size: int64(len(s)), Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { sp.Close() })
	return withBody(sp, len(s))
}

func aRequest(opts ...requestOption) *cgi.Request {
	r := &cgi.Request{ID: "id", Script: cgi.Script{Name: "/a.php"}, Vars: []string{"REQUEST_METHOD=GET"}, Timeout: cgi.Timeouts{FirstByte: patience, Idle: patience}}
	for _, o := range opts {
		o(r)
	}
	return r
}

// ask has a request answered, and reads all of the answer.
func (s *testTransport) ask(opts ...requestOption) (string, error) {
	res, err := s.RoundTrip(context.Background(), aRequest(opts...))
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	return string(b), err
}

// must is ask where nothing may fail.
func (s *testTransport) must(opts ...requestOption) string {
	s.t.Helper()
	b, err := s.ask(opts...)
	require.NoError(s.t, err)
	return b
}

// echo answers each request with its variable A and its body.
func echo(c *fakeConn, _ int) {
	for {
		q, ok := c.request()
		if !ok || q.aborted {
			return
		}
		c.answer(q.vars["A"] + " " + q.body)
	}
}

func TestAConnectionIsUsedAgain(t *testing.T) {
	f := newFake(t, echo)
	s := newTestTransport(t, f)
	for i := range 20 {
		assert.Equal(t, fmt.Sprint(i, " "), s.must(withVars(fmt.Sprint("A=", i))))
	}
	assert.Equal(t, strings.Repeat("b", 100_000), strings.TrimSpace(s.must(spooled(t, strings.Repeat("b", 100_000), 1<<20))))
	assert.Equal(t, strings.Repeat("f", 300_000), strings.TrimSpace(s.must(spooled(t, strings.Repeat("f", 300_000), 1))))
	assert.Equal(t, strings.Repeat("s", 300_000), strings.TrimSpace(s.must(withBody(strings.NewReader(strings.Repeat("s", 300_000)), 300_000))))
	assert.EqualValues(t, 1, f.conns.Load())
}

func TestVariablesOfAnyLengthArrive(t *testing.T) {
	f := newFake(t, echo)
	s := newTestTransport(t, f)
	for _, n := range []int{0, 1, 127, 128, 65_000, 65_535, 65_536, 200_000} {
		v := strings.Repeat("v", n)
		assert.Equal(t, v+" ", s.must(withVars("A="+v)), n)
	}
}

func TestAnAnswerThatBreaksOffIsNotWhole(t *testing.T) {
	for name, end := range map[string]func(c *fakeConn){
		"between records":      func(*fakeConn) {},
		"within a header":      func(c *fakeConn) { c.Write([]byte{1, 6, 0}) },
		"within a record":      func(c *fakeConn) { c.Write(appendRecord(nil, typeStdout, requestID, []byte("more"))[:10]) },
		"of another request":   func(c *fakeConn) { c.Write(appendEnd(nil, 7, 0, statusRequestComplete)) },
		"by an unknown record": func(c *fakeConn) { c.Write(appendRecord(nil, typeBeginRequest, requestID, []byte("12345678"))) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) {
				c.request()
				c.stdout(head + "part")
				end(c)
			}))
			b, err := s.ask()
			assert.Contains(t, []string{"part", "partmo"}, b)
			assert.ErrorIs(t, err, cgi.ErrTruncated)
			assert.Contains(t, err.Error(), "/a.php")
		})
	}
}

func TestAnAnswerShorterThanAnnouncedIsNotWhole(t *testing.T) {
	s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) {
		c.request()
		c.stdout("Content-Length: 10\n\n12345")
		c.end(statusRequestComplete)
	}))
	_, err := s.ask()
	assert.ErrorIs(t, err, cgi.ErrTruncated)
}

func TestAKeptConnectionThatWasClosedCostsNothing(t *testing.T) {
	f := newFake(t, func(c *fakeConn, _ int) {
		q, _ := c.request()
		c.answer(q.vars["A"]) // and closes, as php-fpm does after max_requests
	})
	s := newTestTransport(t, f)
	for i := range 50 {
		assert.Equal(t, fmt.Sprint(i), s.must(withVars(fmt.Sprint("A=", i))))
	}
}

func TestARequestThatAKeptConnectionDidNotTakeIsSentOnceMore(t *testing.T) {
	closes := func(c *fakeConn, n int) {
		q, _ := c.request()
		c.answer(q.vars["A"])
		if n == 1 {
			c.await() // and it closes with the next one unread
			return
		}
		echo(c, n)
	}
	f := newFake(t, closes)
	s := newTestTransport(t, f)
	s.must()
	assert.Equal(t, "second", strings.TrimSpace(s.must(withVars("A=second"))))
	assert.EqualValues(t, 2, f.conns.Load())

	f = newFake(t, closes)
	s = newTestTransport(t, f)
	s.must()
	s.must(spooled(t, "a body that is kept", 100))
	assert.EqualValues(t, 2, f.conns.Load())

	f = newFake(t, closes)
	s = newTestTransport(t, f)
	s.must()
	_, err := s.ask(withBody(strings.NewReader("a body that is gone"), 19))
	assert.ErrorIs(t, err, cgi.ErrNoOutput)
	_, err = s.ask()
	assert.NoError(t, err)
}

// It may have done what the request asks for, and then crashed.
func TestARequestThatAKeptConnectionTookIsSentOnceMoreOnlyIfItsMethodIsSafe(t *testing.T) {
	takes := func(c *fakeConn, n int) {
		q, _ := c.request()
		c.answer(q.vars["A"])
		if n == 1 {
			c.request() // and it closes without a word
			return
		}
		echo(c, n)
	}
	f := newFake(t, takes)
	s := newTestTransport(t, f)
	s.must()
	assert.Equal(t, "second", strings.TrimSpace(s.must(withVars("A=second"))))
	assert.EqualValues(t, 2, f.conns.Load())

	f = newFake(t, takes)
	s = newTestTransport(t, f)
	s.must()
	_, err := s.ask(spooled(t, "an order", 100))
	assert.ErrorIs(t, err, cgi.ErrNoOutput)
	assert.EqualValues(t, 1, f.conns.Load())
}

// As php-fpm's children do after fastcgi_finish_request.
func TestARequestDoesNotWaitForAnApplicationThatWorksOnBehindItsAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		opts []requestOption
		come bool // the request comes to it all the same, in the end
	}{
		"a safe method":           {[]requestOption{withVars("A=x")}, true},
		"another one":             {[]requestOption{withVars("A=x"), spooled(t, "body", 100)}, false},
		"a body that streams":     {[]requestOption{withVars("A=x"), withBody(strings.NewReader("body"), 4)}, false},
		"variables that are many": {[]requestOption{withVars("A=x", "B="+strings.Repeat("b", 1<<20)), spooled(t, "body", 100)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			done, came := make(chan bool), make(chan bool, 1)
			f := newFake(t, func(c *fakeConn, n int) {
				if n > 1 {
					echo(c, n)
					return
				}
				c.request()
				c.answer("first")
				<-done
				_, ok := c.request()
				came <- ok
			})
			s := newTestTransport(t, f)
			s.must()
			time.Sleep(2 * atOnce) // it has nothing to do
			assert.Equal(t, map[bool]string{true: "x ", false: "x body"}[test.come], s.must(test.opts...))
			close(done)
			assert.Equal(t, test.come, <-came)
		})
	}
}

func TestAnApplicationThatWorksOnBehindItsAnswersIsNotGivenRequestsInVain(t *testing.T) {
	done, came := make(chan bool), make(chan bool, 10)
	f := newFake(t, func(c *fakeConn, _ int) {
		c.request()
		c.answer("first")
		<-done
		_, ok := c.request()
		came <- ok
	})
	s := newTestTransport(t, f)
	for range 5 {
		s.must()
	}
	close(done)
	s.closeIdle(all)
	vain := 0
	for range 5 {
		if <-came {
			vain++
		}
	}
	assert.Equal(t, 1, vain, "the first one, before it is known")
}

func TestARequestThatANewConnectionDoesNotAnswerIsNotSentOnceMore(t *testing.T) {
	f := newFake(t, func(c *fakeConn, _ int) { c.request() })
	s := newTestTransport(t, f)
	_, err := s.ask()
	assert.ErrorIs(t, err, cgi.ErrNoOutput)
	assert.EqualValues(t, 1, f.conns.Load())
}

func TestAnApplicationThatIsOverloadedSaysSo(t *testing.T) {
	s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) { c.request(); c.end(statusOverloaded) }))
	_, err := s.ask()
	assert.ErrorIs(t, err, cgi.ErrOverloaded)
}

func TestAnotherProtocolStatusIsAnError(t *testing.T) {
	for _, status := range []protocolStatus{statusCantMultiplex, statusUnknownRole, 200} {
		s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) { c.request(); c.end(status) }))
		_, err := s.ask()
		assert.ErrorIs(t, err, cgi.ErrBadHead)
	}
}

func TestAnApplicationThatIsNotThereCantBeReached(t *testing.T) {
	f := newFake(t, echo)
	s := newTestTransport(t, f)
	f.ln.Close()
	_, err := s.ask()
	assert.ErrorIs(t, err, cgi.ErrUnreachable)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestABadHeadIsAnErrorAtOnce(t *testing.T) {
	for name, text := range map[string]string{
		"a line without a colon": "nonsense\n" + strings.Repeat("x", 8<<10),
		"no end":                 "A: " + strings.Repeat("x", 100<<10),
		"an empty line first":    "\n\nbody",
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) {
				c.request()
				c.stdout(text + "\n\n")
				c.untilTheEnd()
			}))
			_, err := s.ask()
			assert.ErrorIs(t, err, cgi.ErrBadHead)
		})
	}
}

func TestALongFieldIsNoProblem(t *testing.T) {
	cookie := strings.Repeat("c", 60_000)
	s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) {
		c.request()
		c.stdout("Set-Cookie: " + cookie + "\n" + head + "body")
		c.end(statusRequestComplete)
	}))
	res, err := s.RoundTrip(t.Context(), aRequest())
	require.NoError(t, err)
	assert.Equal(t, cookie, res.Header.Get("Set-Cookie"))
	b, err := io.ReadAll(res.Body)
	assert.NoError(t, err)
	assert.Equal(t, "body", string(b))
	res.Body.Close()
}

func TestWhatIsWrittenComesAtOnce(t *testing.T) {
	more := make(chan string)
	s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) {
		c.request()
		c.stdout(head)
		for text := range more {
			c.stdout(text)
		}
		c.end(statusRequestComplete)
	}))
	res, err := s.RoundTrip(t.Context(), aRequest())
	require.NoError(t, err)
	b := make([]byte, 100)
	_, err = res.Body.ReadWithin(b, time.Millisecond)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	for _, text := range []string{"one", "two", "three"} {
		more <- text
		n, err := res.Body.ReadWithin(b, soon)
		assert.NoError(t, err)
		assert.Equal(t, text, string(b[:n]))
	}
	close(more)
	_, err = res.Body.Read(b)
	assert.Equal(t, io.EOF, err)
	res.Body.Close()
}

func TestOctetsMayComeOneByOne(t *testing.T) {
	s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) {
		for {
			if _, ok := c.request(); !ok {
				return
			}
			b := appendStream(nil, typeStderr, []byte("note\n"))
			b = appendStream(b, typeStdout, []byte(head+"body"))
			b = appendRecord(appendRecord(b, typeStdout, requestID, nil), typeGetValuesResult, 0, []byte("??"))
			b = appendEnd(b, requestID, 0, statusRequestComplete)
			for i := range b {
				c.Write(b[i : i+1])
			}
		}
	}))
	for range 3 {
		res, err := s.RoundTrip(t.Context(), aRequest())
		require.NoError(t, err)
		var all []byte
		for b := make([]byte, 3); ; {
			n, err := res.Body.ReadWithin(b, time.Microsecond)
			all = append(all, b[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			}
		}
		res.Body.Close()
		assert.Equal(t, "body", string(all))
		assert.Equal(t, "id note", <-s.lines)
	}
}

func TestRecordsThatHaveComeTogetherAreReadTogether(t *testing.T) {
	var want, log string
	b := appendRecord(nil, typeStdout, requestID, []byte("Content-Type: text/plain\r\n\r\n"))
	for i := range 50 {
		piece := strings.Repeat(fmt.Sprint(i), 1+i)
		want += piece
		b = appendRecord(b, typeStdout, requestID, []byte(piece))
		if i == 40 {
			b = appendRecord(b, typeStderr, requestID, []byte("oops\n"))
		}
	}
	b = appendEnd(appendRecord(b, typeStdout, requestID, nil), requestID, 0, statusRequestComplete)
	f := newFake(t, func(c *fakeConn, _ int) {
		c.request()
		c.Write(b)
	})
	s := newTestTransport(t, f, func(c *TransportConfig) { c.Stderr = func(_ *cgi.Request, line string) { log += line } })
	res, err := s.RoundTrip(context.Background(), aRequest())
	require.NoError(t, err)
	var got []string
	for b := make([]byte, 64<<10); err == nil; {
		var n int
		if n, err = res.Body.Read(b); n > 0 {
			got = append(got, string(b[:n]))
		}
	}
	assert.Equal(t, io.EOF, err)
	assert.Equal(t, want, strings.Join(got, ""))
	assert.Len(t, got, 2, "to the line of standard error, and from there")
	res.Body.Close()
	assert.Equal(t, "oops", log)
}

func TestAnAnswerBeforeTheUploadEndsComesAtOnce(t *testing.T) {
	f := newFake(t, func(c *fakeConn, n int) {
		if n > 1 {
			echo(c, n)
			return
		}
		c.params()
		c.answer("no, thanks")
		c.untilTheEnd()
	})
	s := newTestTransport(t, f)
	r, w := io.Pipe()
	got := s.must(withBody(r, 1<<20)) // nobody has written any of it
	assert.Equal(t, "no, thanks", got)
	w.CloseWithError(errors.New("the client has gone"))
	assert.Equal(t, "x ", s.must(withVars("A=x")), "the connection is not used again")
	assert.EqualValues(t, 2, f.conns.Load())
}

func TestABodyThatBreaksEndsTheRequest(t *testing.T) {
	for name, test := range map[string]struct {
		r    io.Reader
		want error
	}{
		"by an error": {io.MultiReader(strings.NewReader("some"), errReader{cgi.ErrBodyTimeout}), cgi.ErrBodyTimeout},
		"by its end":  {strings.NewReader("some"), io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			aborted := make(chan bool, 1)
			s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) {
				q, _ := c.request()
				aborted <- q.aborted
			}))
			_, err := s.ask(withBody(test.r, 1000))
			assert.ErrorIs(t, err, test.want)
			assert.True(t, <-aborted)
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestAClientThatLeavesAbortsTheRequestAndItsConnectionIsNotUsedAgain(t *testing.T) {
	aborts := make(chan bool, 200)
	f := newFake(t, func(c *fakeConn, _ int) {
		for {
			q, ok := c.request()
			if !ok {
				return
			}
			if q.vars["A"] != "slow" {
				c.answer(q.vars["A"])
				continue
			}
			c.stdout(head + "slow")
			rec, ok := c.next()
			aborts <- ok && rec.typ == typeAbortRequest
			c.answer("too late") // it must reach nobody
		}
	})
	s := newTestTransport(t, f)
	for i := range 60 {
		ctx, cancel := context.WithCancel(t.Context())
		res, err := s.RoundTrip(ctx, aRequest(withVars("A=slow")))
		require.NoError(t, err)
		cancel()
		_, err = io.ReadAll(res.Body)
		assert.ErrorIs(t, err, cgi.ErrGone)
		res.Body.Close()
		assert.True(t, <-aborts)
		assert.Equal(t, fmt.Sprint(i), s.must(withVars(fmt.Sprint("A=", i))))
	}
}

func TestARequestThatIsToFinishIsNotAborted(t *testing.T) {
	goOn, done := make(chan bool), make(chan bool, 1)
	s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) {
		c.request()
		c.stdout(head + "begun")
		<-goOn
		done <- c.has(50 * time.Millisecond)
		c.stdout(strings.Repeat("x", 1<<20))
		c.end(statusRequestComplete)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	req := aRequest()
	req.Disconnect = cgi.Finish
	ended := make(chan cgi.Exit, 1)
	req.AtEnd(func(e cgi.Exit) { ended <- e })
	res, err := s.RoundTrip(ctx, req)
	require.NoError(t, err)
	cancel()
	res.Body.Close()
	close(goOn)
	assert.False(t, <-done, "it was told something")
	assert.True(t, (<-ended).Started)
}

func TestEachAnswerIsItsOwnRequests(t *testing.T) {
	f := newFake(t, echo)
	s := newTestTransport(t, f, func(c *TransportConfig) { c.MaxConns = 7 })
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for i := range 50 {
				token := fmt.Sprintf("%d-%d", g, i)
				ctx, cancel := context.WithCancel(context.Background())
				res, err := s.RoundTrip(ctx, aRequest(withVars("A="+token)))
				if !assert.NoError(t, err) {
					cancel()
					return
				}
				if i%5 == 0 {
					cancel() // in the midst of it
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				cancel()
				if err == nil {
					assert.Equal(t, token+" ", string(b))
				} else {
					assert.ErrorIs(t, err, cgi.ErrGone)
				}
			}
		})
	}
	wg.Wait()
}

func TestStandardErrorIsLoggedInLinesOfItsRequest(t *testing.T) {
	s := newTestTransport(t, newFake(t, func(c *fakeConn, _ int) {
		c.request()
		c.stderr("PHP Warning: a")
		c.stderr(" thing\nand ano")
		c.stdout(head)
		c.stderr("ther")
		c.end(statusRequestComplete)
	}))
	s.must()
	assert.Equal(t, "id PHP Warning: a thing", <-s.lines)
	assert.Equal(t, "id and another", <-s.lines)
}

func TestWhatComesBehindAnAnswerIsNotTheNextOnes(t *testing.T) {
	for name, late := range map[string]bool{"at once": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			sent := make(chan bool)
			f := newFake(t, func(c *fakeConn, n int) {
				if n > 1 {
					echo(c, n)
					return
				}
				c.request()
				b := appendEnd(appendStream(nil, typeStdout, []byte(head+"first")), requestID, 0, statusRequestComplete)
				more := appendEnd(appendStream(nil, typeStdout, []byte(head+"WRONG")), requestID, 0, statusRequestComplete)
				if late {
					c.Write(b)
					<-sent
					c.Write(more)
					sent <- true
				} else {
					c.Write(append(b, more...))
				}
				c.untilTheEnd()
			})
			s := newTestTransport(t, f)
			assert.Equal(t, "first", s.must())
			if late {
				sent <- true
				<-sent
			}
			assert.Equal(t, "x ", s.must(withVars("A=x")))
		})
	}
}

func TestTimeOuts(t *testing.T) {
	hang := func(c *fakeConn, _ int) {
		q, _ := c.request()
		if q.vars["A"] == "part" {
			c.stdout(head + "part")
		}
		c.untilTheEnd()
	}
	for name, test := range map[string]struct {
		to   cgi.Timeouts
		a    string
		says string
	}{
		"first byte": {cgi.Timeouts{FirstByte: 30 * time.Millisecond, Idle: patience}, "", cgi.ReasonFirstByte},
		"idle":       {cgi.Timeouts{FirstByte: patience, Idle: 30 * time.Millisecond}, "part", cgi.ReasonIdle},
		"total":      {cgi.Timeouts{FirstByte: patience, Idle: patience, Total: 30 * time.Millisecond}, "part", cgi.ReasonTotal},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestTransport(t, newFake(t, hang))
			_, err := s.ask(withVars("A="+test.a), func(r *cgi.Request) { r.Timeout = test.to })
			assert.ErrorIs(t, err, cgi.ErrTimeout)
			assert.Contains(t, err.Error(), test.says)
		})
	}
}

func TestAKeptConnectionThatNobodyNeedsIsClosed(t *testing.T) {
	closed := make(chan bool)
	s := newTestTransport(t, newFake(t, func(c *fakeConn, n int) { echo(c, n); close(closed) }), func(c *TransportConfig) { c.Keep = 20 * time.Millisecond })
	s.must()
	select {
	case <-closed:
	case <-time.After(patience):
		assert.Fail(t, "it is kept")
	}
}

func TestAConnectionIsUsedAgainWhenADeadlineOfItsLastRequestHasPassed(t *testing.T) {
	const within = 50 * time.Millisecond
	goOn := make(chan bool)
	f := newFake(t, func(c *fakeConn, _ int) {
		for {
			if _, ok := c.request(); !ok {
				return
			}
			c.stdout(head)
			<-goOn
			c.stdout("x")
			c.end(statusRequestComplete)
		}
	})
	s := newTestTransport(t, f)
	for range 3 {
		res, err := s.RoundTrip(context.Background(), aRequest())
		require.NoError(t, err)
		time.AfterFunc(within/10, func() { goOn <- true })
		n, err := res.Body.ReadWithin(make([]byte, 10), within) // has to wait, so the system knows of the deadline
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		_, err = io.ReadAll(res.Body)
		require.NoError(t, err)
		res.Body.Close()
		time.Sleep(within)
	}
	assert.EqualValues(t, 1, f.conns.Load())
}

func TestNoConnectionIsKeptWhereNoneIsToBe(t *testing.T) {
	f := newFake(t, echo)
	s := newTestTransport(t, f, func(c *TransportConfig) { c.Keep = 0 })
	for range 3 {
		s.must()
	}
	assert.EqualValues(t, 3, f.conns.Load())
}

// php-fpm with one child: a kept connection would hold it for ever.
func TestNoConnectionIsKeptWhileARequestWaitsForTheApplication(t *testing.T) {
	var child sync.Mutex
	s := newTestTransport(t, newFake(t, func(c *fakeConn, n int) {
		child.Lock()
		defer child.Unlock()
		echo(c, n)
	}))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				token := fmt.Sprintf("%d-%d", g, i)
				b, err := s.ask(withVars("A=" + token))
				assert.NoError(t, err)
				assert.Equal(t, token+" ", b)
			}
		})
	}
	wg.Wait()
}
