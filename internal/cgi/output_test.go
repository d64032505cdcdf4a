package cgi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAHeadThatComesOctetByOctetIsWaitedFor(t *testing.T) {
	s := newSpawn(t)
	var steps []string
	for _, o := range strings.Split("Status: 201 Made\r\nX-A: b\r\n c\r\n\r\nhello", "") {
		steps = append(steps, "out "+o)
	}
	c := s.call(steps...)
	res := c.start()
	assert.Equal(t, []any{201, "Made", "b c"}, []any{res.Status, res.Reason, res.Header.Get("X-A")})
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(b))
	res.Body.Close()
}

func TestAHeadMayBe64KiBAndNoMore(t *testing.T) {
	s := newSpawn(t)
	head := func(size int) string {
		const before, after = "Status: 202\nX-Long: ", "\n\n"
		return before + strings.Repeat("x", size-len(before)-len(after)) + after
	}
	for _, size := range []int{32<<10 - 1, 32 << 10, 32<<10 + 1, MaxHead - 1, MaxHead} {
		// In an argument of a system call, at most 128 KiB.
		c := s.call("out "+head(size)+"body", "outn 100000")
		res := c.start()
		assert.Equal(t, 202, res.Status)
		assert.Len(t, res.Header.Get("X-Long"), size-len("Status: 202\nX-Long: \n\n"))
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		assert.True(t, string(b) == "body"+string(pattern(100000)), "%d octets of head", size)
		res.Body.Close()
	}
	for name, c := range map[string]*call{
		"one more": s.call("out "+head(MaxHead+1), "hang"),
		"no end":   s.call("out X: "+strings.Repeat("x", MaxHead), "hang"),
		"for ever": s.call("drip 1000000 0s X: y\n"),
	} {
		_, err := c.try()
		assert.ErrorIs(t, err, ErrBadHead, name)
		assert.Contains(t, err.Error(), "longer than 65536 octets", name)
		assert.Equal(t, ReasonBadHead, c.wait().Killed, name)
	}
}

func TestAScriptWithoutAnAnswerSaysHowItEnded(t *testing.T) {
	s := newSpawn(t)
	for name, test := range map[string]struct {
		steps  []string
		says   string
		code   int
		signal string
	}{
		"nothing":          {[]string{"exit 0"}, "exit status 0", 0, ""},
		"exit status":      {[]string{"exit 3"}, "exit status 3", 3, ""},
		"after a while":    {[]string{"sleep 150ms", "exit 3"}, "exit status 3", 3, ""},
		"words":            {[]string{"err oops\n", "exit 255"}, "exit status 255", 255, ""},
		"a signal":         {[]string{"kill SIGTERM"}, "died of SIGTERM", -1, "SIGTERM"},
		"a crash":          {[]string{"kill SIGSEGV"}, "died of SIGSEGV", -1, "SIGSEGV"},
		"the OOM killer":   {[]string{"sleep 100ms", "kill SIGKILL"}, "died of SIGKILL", -1, "SIGKILL"},
		"closed, then end": {[]string{"close 1", "exit 4"}, "exit status 4", 4, ""},
	} {
		for _, nph := range []bool{false, true} {
			c := s.call(test.steps...)
			c.Script.NPH = nph
			_, err := c.try()
			assert.ErrorIs(t, err, ErrNoOutput, name)
			assert.Contains(t, err.Error(), test.says, name)
			e := c.wait()
			assert.Equal(t, []any{true, test.code, test.signal, ""}, []any{e.Started, e.Code, e.Signal, e.Killed}, name)
		}
	}
}

func TestAScriptThatClosesItsOutputWithoutAnAnswerIsEnded(t *testing.T) {
	s := newSpawn(t)
	c := s.call("close 1", "hang")
	_, err := c.try()
	assert.ErrorIs(t, err, ErrNoOutput)
	assert.Contains(t, err.Error(), "it closed standard output")
	assert.Equal(t, "SIGTERM", c.wait().Signal)

	go_ := t.TempDir() + "/go"
	c = s.call("close 1", "await "+go_, "exit 5")
	c.Disconnect = Finish
	_, err = c.try()
	assert.ErrorIs(t, err, ErrNoOutput)
	touch(t, go_)
	e := c.wait()
	assert.Equal(t, []any{5, ""}, []any{e.Code, e.Killed})
}

func TestABadHeadEndsTheScript(t *testing.T) {
	s := newSpawn(t)
	for name, out := range map[string]string{
		"no head":         "hello, world\n\n",
		"an empty line":   "\nhello, world\n",
		"a traceback":     "Traceback (most recent call last):\n  File \"a\", line 1\n\n",
		"HTTP":            "HTTP/1.1 200 OK\nA: b\n\n",
		"NUL":             "A: b\x00\n\n",
		"injected CR":     "A: b\rSet-Cookie: c\n\n",
		"two lengths":     "Content-Length: 5\nContent-Length: 6\n\nhello",
		"status":          "Status: 99\n\n",
		"an early answer": "Status: 103 Early Hints\nLink: </a>\n\nStatus: 200\n\n",
	} {
		c := s.call("out "+out, "hang")
		_, err := c.try()
		assert.ErrorIs(t, err, ErrBadHead, name)
		e := c.wait()
		assert.Equal(t, []string{ReasonBadHead, "SIGTERM"}, []string{e.Killed, e.Signal}, name)
	}
}

func TestAnOutputThatEndsWithinItsHeadIsABadHead(t *testing.T) {
	s := newSpawn(t)
	_, err := s.call("out Content-Type: text/plain\nhello").try()
	assert.ErrorIs(t, err, ErrBadHead)
	assert.Contains(t, err.Error(), `ends within it, after 30 octets: "Content-Type: text/plain\nhello"`)
	_, err = s.call("out Content-Type: text/plain\n", "kill SIGSEGV").try()
	assert.ErrorIs(t, err, ErrBadHead)
	assert.ErrorIs(t, err, ErrTruncated)
	assert.Contains(t, err.Error(), "died of SIGSEGV")
}

func TestAnExitStatusBehindAnAnswerDoesNotSpoilIt(t *testing.T) {
	s := newSpawn(t)
	c := s.call(helloWorld, "exit 3")
	assert.Equal(t, "hello, world\n", c.mustAnswer())
	e := c.wait()
	assert.Equal(t, []any{3, "", ""}, []any{e.Code, e.Signal, e.Killed})
}

func TestAnAnswerThatBreaksOffIsAnError(t *testing.T) {
	s := newSpawn(t)
	for name, test := range map[string]struct {
		steps []string
		body  string
		says  string
	}{
		"a crash":                   {[]string{hello + "part", "kill SIGSEGV"}, "part", "the script died of SIGSEGV"},
		"the OOM killer":            {[]string{hello, "outn 100000", "kill SIGKILL"}, string(pattern(100000)), "the script died of SIGKILL"},
		"a crash after a while":     {[]string{hello + "part", "sleep 150ms", "kill SIGABRT"}, "part", "the script died of SIGABRT"},
		"before any body":           {[]string{hello, "kill SIGTERM"}, "", "the script died of SIGTERM"},
		"short of its length":       {[]string{"out Content-Length: 10\n\npart"}, "part", "6 octets of its Content-Length are missing"},
		"none of its length":        {[]string{"out Content-Length: 10\n\n"}, "", "10 octets of its Content-Length are missing"},
		"short, by a lot":           {[]string{"out Content-Length: 9223372036854775807\n\n", "outn 100000"}, string(pattern(100000)), "octets of its Content-Length are missing"},
		"short, by a crash":         {[]string{"out Content-Length: 10\n\npart", "kill SIGBUS"}, "part", "the script died of SIGBUS"},
		"short, and closed":         {[]string{"out Content-Length: 10\n\npart", "close 1", "sleep 300ms"}, "part", "6 octets of its Content-Length are missing"},
		"short, and exit status":    {[]string{"out Content-Length: 10\n\npart", "exit 1"}, "part", "6 octets of its Content-Length are missing"},
		"nph, and a crash":          {[]string{"out HTTP/1.0 200 OK\n\npart", "kill SIGSEGV"}, "HTTP/1.0 200 OK\n\npart", "the script died of SIGSEGV"},
		"a crash behind a pipeful":  {[]string{hello, "outn 65000", "kill SIGKILL"}, string(pattern(65000)), "the script died of SIGKILL"},
		"closed, then a crash soon": {[]string{hello + "part", "close 1", "kill SIGKILL"}, "part", "the script died of SIGKILL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.call(test.steps...)
			c.Script.NPH = strings.HasPrefix(name, "nph")
			body, err := c.answer()
			assert.ErrorIs(t, err, ErrTruncated)
			require.Error(t, err)
			assert.Contains(t, err.Error(), test.says)
			assert.True(t, test.body == body, "what there was is delivered")
		})
	}
}

func TestAnAnswerIsCompleteWithItsAnnouncedLength(t *testing.T) {
	for name, test := range map[string]struct {
		steps []string
		body  string
	}{
		"exact":                 {[]string{"out Content-Length: 5\n\nhello"}, "hello"},
		"in pieces":             {[]string{"out Content-Length: 5\n\nhe", "drip 3 20ms l"}, "helll"},
		"longer than announced": {[]string{"out Content-Length: 5\n\nhello, world\n"}, "hello"},
		"much longer":           {[]string{"out Content-Length: 100000\n\n", "outn 1000000"}, string(pattern(100000))},
		"empty":                 {[]string{"out Content-Length: 0\n\n"}, ""},
		"empty, and more":       {[]string{"out Content-Length: 0\n\nhello"}, ""},
		"a crash behind it":     {[]string{"out Content-Length: 5\n\nhello", "kill SIGSEGV"}, "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpawn(t)
			c := s.call(test.steps...)
			assert.True(t, c.mustAnswer() == test.body)
			e := c.wait()
			assert.Equal(t, "", e.Killed, "what it does behind its answer is its own affair")
		})
	}
}

func TestTheEndOfAnAnswerIsReportedAgainAndAgain(t *testing.T) {
	s := newSpawn(t)
	for _, c := range []*call{s.call(hello + "ab"), s.call("out Content-Length: 2\n\nab")} {
		res := c.start()
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		assert.Equal(t, "ab", string(b))
		for range 3 {
			n, err := res.Body.Read(make([]byte, 10))
			assert.Equal(t, []any{0, io.EOF}, []any{n, err})
			n, err = res.Body.ReadWithin(make([]byte, 10), time.Nanosecond)
			assert.Equal(t, []any{0, io.EOF}, []any{n, err})
		}
		res.Body.Close()
	}
}

func TestAReadOfNothingIsNotTheEnd(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	res := s.call(hello+"first\n", "await "+dir+"/go", "out second\n").start()
	for _, line := range []string{"first", "second"} { // the first came with the head
		for range 3 {
			n, err := res.Body.Read(nil)
			assert.Equal(t, []any{0, nil}, []any{n, err})
			n, err = res.Body.ReadWithin([]byte{}, time.Minute)
			assert.Equal(t, []any{0, nil}, []any{n, err})
		}
		touch(t, dir+"/go")
		assert.Equal(t, line, readLine(t, res.Body))
	}
	res.Body.Close()
}

// A script may answer and work on: that is how people fork off work in CGI.
func TestAnAnswerIsCompleteWhenItsOutputIsClosedAndTheScriptGoesOn(t *testing.T) {
	s := newSpawn(t)
	for name, steps := range map[string][]string{
		"closed":           {helloWorld, "close 1"},
		"all closed":       {helloWorld, "close 0", "close 1", "close 2"},
		"announced length": {"out Content-Length: 13\n\nhello, world\n"},
		"announced 0":      {"out Content-Length: 0\n\n"},
	} {
		for _, disconnect := range []Disconnect{Kill, Finish} {
			t.Run(fmt.Sprint(name, ", ", disconnect), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				c := s.call(append(steps, "await "+dir+"/go", "touch "+dir+"/done", "exit 6")...)
				c.Disconnect = disconnect
				ctx, cancel := context.WithCancel(t.Context())
				res, err := c.tryWith(ctx)
				require.NoError(t, err)
				b, err := io.ReadAll(res.Body)
				require.NoError(t, err)
				if name != "announced 0" {
					assert.Equal(t, "hello, world\n", string(b))
				}
				require.NoError(t, res.Body.Close())
				cancel() // as a handler does that returns
				assert.False(t, c.hasEnded(), "the answer is complete before the script has ended")
				assert.Positive(t, s.Running())
				touch(t, dir+"/go")
				e := c.wait()
				assert.Equal(t, []any{6, "", ""}, []any{e.Code, e.Signal, e.Killed})
				assert.True(t, exists(dir+"/done"))
			})
		}
	}
}

func TestAnAnswerOfAnnouncedLengthThatWasTakenWholeNeedsNoReadForItsEnd(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	c := s.call("out Content-Length: 5\n\nhello", "await "+dir+"/go", "exit 6")
	res := c.start()
	_, err := io.ReadFull(res.Body, make([]byte, 5))
	require.NoError(t, err)
	res.Body.Close()
	touch(t, dir+"/go")
	e := c.wait()
	assert.Equal(t, []any{6, "", ""}, []any{e.Code, e.Signal, e.Killed})
}

func TestAScriptThatWritesOnBehindItsAnswerCanDoSo(t *testing.T) {
	s := newSpawn(t)
	c := s.call("out Content-Length: 5\n\nhello", "outn 1000000", "sleep 100ms", "outn 1000000", "exit 6")
	assert.Equal(t, "hello", c.mustAnswer())
	assert.Equal(t, 6, c.wait().Code)
}

func TestAnAnswerThatIsGivenUpEndsTheScriptOrDoesNot(t *testing.T) {
	for name, steps := range map[string][]string{
		"before any of it": {hello},
		"in the middle":    {hello + "first\n"},
		"a long one":       {hello + "first\n", "outn 1000000"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpawn(t)
			c := s.call(append(steps, "hang")...)
			res := c.start()
			if name != "before any of it" {
				assert.Equal(t, "first", readLine(t, res.Body))
			}
			res.Body.Close()
			e := c.wait()
			assert.Equal(t, ReasonDisconnect, e.Killed)
			assert.Contains(t, []string{"SIGTERM", "SIGPIPE"}, e.Signal)

			dir := t.TempDir()
			c = s.call(append(steps, "await "+dir+"/go", "outn 1000000", "touch "+dir+"/done", "exit 6")...)
			c.Disconnect = Finish
			res = c.start()
			res.Body.Close()
			touch(t, dir+"/go")
			e = c.wait()
			assert.Equal(t, []any{6, "", ""}, []any{e.Code, e.Signal, e.Killed})
			assert.True(t, exists(dir+"/done"))
		})
	}
}

func TestAReadCanBeGivenUpAndTakenUpAgain(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	c := s.call(hello+"first\n", "await "+dir+"/go", "out second\n")
	res := c.start()
	assert.Equal(t, "first", readLine(t, res.Body))
	b := make([]byte, 100)
	for range 3 {
		n, err := res.Body.ReadWithin(b, 20*time.Millisecond)
		assert.Zero(t, n)
		assert.True(t, errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, ErrTimeout))
	}
	touch(t, dir+"/go")
	n, err := res.Body.ReadWithin(b, patience)
	require.NoError(t, err)
	assert.Equal(t, "second\n", string(b[:n]))
	_, err = res.Body.ReadWithin(b, patience)
	assert.Equal(t, io.EOF, err)
	res.Body.Close()
	assert.Equal(t, "", c.wait().Killed)
}

func TestReadWithinSeesTheEndOfTheAnswer(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	var last *call
	for _, test := range []struct {
		steps []string
		is    error
	}{
		{[]string{hello}, io.EOF},
		{[]string{hello, "exit 3"}, io.EOF},
		{[]string{hello, "kill SIGSEGV"}, ErrTruncated},
		{[]string{"out Content-Length: 5\n\n"}, ErrTruncated},
		{[]string{"out Content-Length: 0\n\n", "await " + dir + "/go"}, io.EOF},
	} {
		last = s.call(test.steps...)
		res := last.start()
		n, err := res.Body.ReadWithin(make([]byte, 10), patience)
		assert.Zero(t, n)
		assert.ErrorIs(t, err, test.is)
		res.Body.Close()
	}
	touch(t, dir+"/go")
	last.wait()
}

func TestWhatCameWithTheHeadIsThereAtOnce(t *testing.T) {
	s := newSpawn(t)
	c := s.call(hello+"ahead", "hang")
	res := c.start()
	b := make([]byte, 3)
	n, err := res.Body.ReadWithin(b, time.Nanosecond)
	require.NoError(t, err)
	assert.Equal(t, "ahe", string(b[:n]))
	n, err = res.Body.ReadWithin(b, time.Nanosecond)
	require.NoError(t, err)
	assert.Equal(t, "ad", string(b[:n]))
	res.Body.Close()
}

func TestALongAnswerIsByteExact(t *testing.T) {
	s := newSpawn(t)
	const size = 5<<20 + 3
	want := pattern(size)
	for _, head := range []string{hello, fmt.Sprintf("out Content-Length: %d\n\n", size)} {
		c := s.call(head, fmt.Sprint("outn ", size))
		res := c.start()
		var got bytes.Buffer
		_, err := io.CopyBuffer(struct{ io.Writer }{&got}, res.Body, make([]byte, 777))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want, got.Bytes()))
		res.Body.Close()
	}
}
