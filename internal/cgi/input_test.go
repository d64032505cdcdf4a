package cgi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sumOf is what a script that sums its input up writes.
func sumOf(b []byte) string { return fmt.Sprintf("%d %x\n", len(b), sha256.Sum256(b)) }

// spool receives a body for a call, in memory or in a file.
func (c *call) spool(b []byte, memory int64) *call {
	c.s.t.Helper()
	s, err := Spool(bytes.NewReader(b), SpoolConfig{Max: 1 << 30, Memory: memory})
	require.NoError(c.s.t, err)
	c.s.t.Cleanup(func() { s.Close() })
	c.Body, c.Length = s, s.Len()
	return c
}

// stream gives a call a body that was not received before.
func (c *call) stream(r io.Reader, length int) *call {
	c.Body, c.Length = r, int64(length)
	return c
}

// counted counts what was read.
type counted struct {
	r io.Reader
	n atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func TestABodyReachesTheScriptWholeAndEnds(t *testing.T) {
	s := newSpawn(t)
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 1 << 20, 3<<20 + 3} {
		body := pattern(size)
		for how, c := range map[string]*call{
			"in memory":      s.call(hello, "sum").spool(body, 1<<30),
			"in a file":      s.call(hello, "sum").spool(body, 0),
			"streamed":       s.call(hello, "sum").stream(bytes.NewReader(body), size),
			"in bits":        s.call(hello, "sum").stream(iotest.HalfReader(bytes.NewReader(body)), size),
			"last with EOF":  s.call(hello, "sum").stream(iotest.DataErrReader(bytes.NewReader(body)), size),
			"without an end": s.call(hello, "sum").stream(io.MultiReader(bytes.NewReader(body), forever{}), size),
		} {
			assert.Equal(t, sumOf(body), c.mustAnswer(), "%d octets %s", size, how)
			assert.Equal(t, 0, c.wait().Code)
		}
	}
}

// forever is a connection on which more would come.
type forever struct{}

func (forever) Read(b []byte) (int, error) { return copy(b, "GET / HTTP/1.1\r\n"), nil }

func TestOnlyTheAnnouncedLengthIsRead(t *testing.T) {
	s := newSpawn(t)
	body := &counted{r: forever{}}
	c := s.call(hello, "sum").stream(body, 100_000)
	assert.Equal(t, "100000 ", c.mustAnswer()[:7])
	c.wait()
	assert.EqualValues(t, 100_000, body.n.Load())
}

func TestWithoutABodyInputIsAtItsEnd(t *testing.T) {
	s := newSpawn(t)
	assert.Equal(t, sumOf(nil), s.call(hello, "sum").mustAnswer())
	assert.Equal(t, sumOf(nil), s.call(hello, "sum").stream(strings.NewReader(""), 0).mustAnswer())
}

func TestASpooledBodyIsASeekableFile(t *testing.T) {
	s := newSpawn(t)
	body := pattern(100_000)
	c := s.call(hello, "seek", "sum", "seek").spool(body, 1000)
	last := fmt.Sprintf("%d %q\n", len(body), body[len(body)-1:])
	assert.Equal(t, last+sumOf(body)+last, c.mustAnswer())
}

func TestEveryStartBeginsAtTheBeginningOfTheBody(t *testing.T) {
	s := newSpawn(t)
	body := pattern(100_000)
	first := s.call("read 50000").spool(body, 1000)
	_, err := first.answer()
	require.ErrorIs(t, err, ErrNoOutput)
	first.wait()
	again := s.call(hello, "sum")
	again.Body, again.Length = first.Body, first.Length
	assert.Equal(t, sumOf(body), again.mustAnswer())
}

func TestASpoolMayBeClosedWhileTheScriptStillReadsIt(t *testing.T) {
	s := newSpawn(t)
	go_ := t.TempDir() + "/go"
	body := pattern(1 << 20)
	c := s.call(hello, "await "+go_, "sum").spool(body, 1000)
	res := c.start()
	require.NoError(t, c.Body.(*Spooled).Close())
	touch(t, go_)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, sumOf(body), string(b))
}

func TestAScriptNeedNotReadItsBody(t *testing.T) {
	s := newSpawn(t)
	const size = 3 << 20
	for name, steps := range map[string][]string{
		"unread":              {helloWorld},
		"half read":           {fmt.Sprintf("read %d", size/2), helloWorld},
		"closed":              {"close 0", helloWorld},
		"closed, then busy":   {"close 0", "sleep 100ms", helloWorld},
		"closed after a bit":  {"read 10", "close 0", helloWorld},
		"answered, then read": {helloWorld, fmt.Sprintf("read %d", size)},
	} {
		t.Run(name, func(t *testing.T) {
			body := &counted{r: iotest.HalfReader(bytes.NewReader(pattern(size)))}
			c := s.call(steps...).stream(body, size)
			assert.Equal(t, "hello, world\n", c.mustAnswer())
			e := c.wait()
			assert.Equal(t, []any{0, "", ""}, []any{e.Code, e.Signal, e.Killed})
			// The client has to send it before it can read the answer.
			eventually(t, func() bool { return body.n.Load() == size }, "the end of the body")
		})
		c := s.call(steps...).spool(pattern(size), 1<<30)
		assert.Equal(t, "hello, world\n", c.mustAnswer(), "%s, in memory", name)
		c.wait()
		c = s.call(steps...).spool(pattern(size), 0)
		assert.Equal(t, "hello, world\n", c.mustAnswer(), "%s, in a file", name)
		c.wait()
	}
}

func TestBodyAndAnswerFlowAtOnce(t *testing.T) {
	s := newSpawn(t)
	body := pattern(3 << 20)
	c := s.call(hello, "copy").stream(bytes.NewReader(body), len(body))
	assert.True(t, c.mustAnswer() == string(body))

	r, w := io.Pipe()
	c = s.call(hello, "copy").stream(r, 10)
	res := c.start()
	for i := range 5 {
		line := fmt.Sprintf("%d\n", i)
		_, err := io.WriteString(w, line)
		require.NoError(t, err)
		assert.Equal(t, line, readLine(t, res.Body)+"\n", "before the rest of the body has come")
	}
	n, err := res.Body.Read(make([]byte, 1))
	assert.Equal(t, []any{0, io.EOF}, []any{n, err})
	res.Body.Close()
}

func TestABodyThatBreaksOffEndsTheScript(t *testing.T) {
	boom := errors.New("boom")
	for name, test := range map[string]struct {
		body io.Reader
		is   []error
		says string
	}{
		"an error":       {io.MultiReader(strings.NewReader("0123456789"), iotest.ErrReader(boom)), []error{ErrBody, boom}, "90 of 100 octets are missing"},
		"an early end":   {strings.NewReader("0123456789"), []error{ErrBody, io.ErrUnexpectedEOF}, "90 of 100 octets are missing"},
		"a client gone":  {iotest.ErrReader(ErrGone), []error{ErrBody, ErrGone}, "100 of 100"},
		"a slow client":  {iotest.ErrReader(ErrBodyTimeout), []error{ErrBody, ErrBodyTimeout}, "100 of 100"},
		"error and data": {iotest.DataErrReader(io.MultiReader(strings.NewReader("01234"), iotest.ErrReader(boom))), []error{ErrBody, boom}, "95 of 100"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpawn(t)
			c := s.call("sum", "hang").stream(test.body, 100)
			_, err := c.try()
			for _, is := range test.is {
				assert.ErrorIs(t, err, is)
			}
			assert.Contains(t, err.Error(), test.says)
			assert.Contains(t, err.Error(), "script /cgi-bin/test: ")
			assert.Equal(t, ReasonBody, c.wait().Killed)
		})
	}
}

func TestABodyThatBreaksOffWithinTheAnswerCutsItShort(t *testing.T) {
	s := newSpawn(t)
	r, w := io.Pipe()
	c := s.call(hello, "out first\n", "copy", "hang").stream(r, 100)
	res := c.start()
	assert.Equal(t, "first", readLine(t, res.Body))
	w.CloseWithError(ErrBodyTimeout)
	_, err := io.ReadAll(res.Body)
	assert.ErrorIs(t, err, ErrBody)
	assert.ErrorIs(t, err, ErrBodyTimeout)
	_, again := res.Body.Read(make([]byte, 1))
	assert.Equal(t, err, again, "the error stays")
	res.Body.Close()
	assert.Equal(t, ReasonBody, c.wait().Killed)
}

func TestABodyThatNobodyWantsMayBreakOff(t *testing.T) {
	s := newSpawn(t)
	r, w := io.Pipe()
	go_ := t.TempDir() + "/go"
	c := s.call("close 0", hello, "out first\n", "await "+go_, "out second\n").stream(r, 1<<20)
	res := c.start()
	assert.Equal(t, "first", readLine(t, res.Body))
	// Once something could not be written, the script has said that it wants no more.
	w.Write(pattern(1000))
	w.Write(pattern(1000))
	w.CloseWithError(errors.New("boom"))
	touch(t, go_)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "second\n", string(b))
	res.Body.Close()
	assert.Equal(t, "", c.wait().Killed)
}

func TestAScriptThatEndsDoesNotWaitForItsBody(t *testing.T) {
	s := newSpawn(t)
	r, w := io.Pipe()
	c := s.call(helloWorld).stream(r, 100)
	assert.Equal(t, "hello, world\n", c.mustAnswer())
	assert.Equal(t, 0, c.wait().Code, "although the client sends nothing")
	w.Close()
}

func TestAClientThatSendsSlowlyIsNotTheScriptsFault(t *testing.T) {
	s := newSpawn(t)
	const limit = time.Second
	var wg sync.WaitGroup
	for name, client := range map[string]struct {
		octets int
		pause  time.Duration
	}{
		"trickles": {10, limit / 4},
		"pauses":   {1, 5 * limit / 2},
	} {
		before := s.call("sum", "out A: b\n\n")
		before.Timeout = Timeouts{FirstByte: limit, Grace: patience}
		before.Script.NPH = true
		within := s.call(hello, "out first\n", "sum")
		within.Timeout = Timeouts{FirstByte: patience, Idle: limit, Grace: patience}
		for what, c := range map[string]*call{"before the first output": before, "within the output": within} {
			r, w := io.Pipe()
			c.stream(r, client.octets)
			wg.Go(func() {
				for range client.octets {
					time.Sleep(client.pause)
					w.Write([]byte("x"))
				}
			})
			wg.Go(func() {
				body, err := c.answer()
				assert.NoError(t, err, "%s %s", name, what)
				assert.Contains(t, body, fmt.Sprintf("%d ", client.octets))
			})
		}
	}
	wg.Wait()
}

func TestAScriptThatDoesNothingWithItsBodyIsOutOfTimeAllTheSame(t *testing.T) {
	s := newSpawn(t)
	for name, test := range map[string]struct {
		steps []string
		size  int
	}{
		"after its end":       {[]string{"read 10", "hang"}, 10},
		"never read":          {[]string{"hang"}, 1 << 20},
		"closed":              {[]string{"close 0", "hang"}, 1 << 20},
		"no longer read":      {[]string{"read 100000", "hang"}, 1 << 20},
		"fits into the pipe":  {[]string{"hang"}, 100},
		"no body":             {[]string{"hang"}, 0},
		"unread, head begun":  {[]string{"out A: b\n", "hang"}, 100},
		"unread, head is out": {[]string{hello, "hang"}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.call(test.steps...).stream(bytes.NewReader(pattern(test.size)), test.size)
			c.Timeout.FirstByte, c.Timeout.Idle = 100*time.Millisecond, 100*time.Millisecond
			_, err := c.answer()
			assert.ErrorIs(t, err, ErrTimeout)
			assert.NotEmpty(t, c.wait().Killed)
		})
	}
}

func TestWhatIsThrownAwayOfABodyGivesTheScriptNoTime(t *testing.T) {
	s := newSpawn(t)
	r, w := io.Pipe()
	c := s.call("close 0", "hang").stream(r, 1<<30)
	c.Timeout.FirstByte = time.Second
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for { // a client that would go on for ever
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := c.answer()
	assert.ErrorIs(t, err, ErrTimeout)
	r.CloseWithError(ErrGone)
	<-sent
}
