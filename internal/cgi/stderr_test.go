package cgi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStandardErrorIsCutIntoLines(t *testing.T) {
	long := strings.Repeat("x", maxStderrLine)
	for name, test := range map[string]struct {
		writes []string
		lines  []string
	}{
		"nothing":               {nil, nil},
		"a line":                {[]string{"a\n"}, []string{"a"}},
		"without an end":        {[]string{"a"}, []string{"a"}},
		"lines":                 {[]string{"a\nb\nc\n"}, []string{"a", "b", "c"}},
		"in pieces":             {[]string{"a", "b", "\nc", "", "d\n", "e"}, []string{"ab", "cd", "e"}},
		"octet-wise":            {strings.Split("ab\ncd\n", ""), []string{"ab", "cd"}},
		"CRLF":                  {[]string{"a\r\nb\r", "\nc\rd\n"}, []string{"a", "b", "c\rd"}},
		"empty lines":           {[]string{"\n\na\n\r\n\nb\n\n"}, []string{"a", "b"}},
		"not text":              {[]string{"\x00\xff\x1b[31m\n"}, []string{"\x00\xff\x1b[31m"}},
		"as long as it may be":  {[]string{long + "\n", long + "\n"}, []string{long, long}},
		"one too long":          {[]string{long + "y\n"}, []string{long, "y"}},
		"much too long":         {[]string{long + long + long + "y"}, []string{long, long, long, "y"}},
		"too long, in pieces":   {[]string{long[1:], "yz", "\n"}, []string{long[1:] + "y", "z"}},
		"too long, no end":      {[]string{long, long}, []string{long, long}},
		"a line after too long": {[]string{long + "y\nz\n"}, []string{long, "y", "z"}},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			l := Lines{line: func(s string) { lines = append(lines, s) }}
			for _, w := range test.writes {
				l.Write([]byte(w))
			}
			l.End()
			assert.Equal(t, test.lines, lines)
		})
	}
}

func TestStandardErrorIsBounded(t *testing.T) {
	var lines []string
	l := Lines{line: func(s string) { lines = append(lines, s) }}
	line := strings.Repeat("x", 1023) + "\n"
	for range 1024 {
		l.Write([]byte(line))
	}
	l.End()
	kept := maxStderr / 1023
	require.Len(t, lines, kept+1)
	assert.Equal(t, fmt.Sprintf("(%d more octets were not logged: the limit is %d per request)", (1024-kept)*1024, maxStderr), lines[kept])
	assert.LessOrEqual(t, cap(l.part), 2*maxStderrLine)
}

func TestLinesOfStandardErrorAreTaggedWithTheRequest(t *testing.T) {
	s := newSpawn(t)
	a := s.call("err one\ntwo\r\n\nth", hello, "err ree")
	b := s.call(hello, "err b\n")
	silent := s.call(helloWorld)
	for _, c := range []*call{a, b, silent} {
		c.mustAnswer()
		c.wait()
	}
	assert.Equal(t, []string{"one", "two", "three"}, s.stderrOf(a))
	assert.Equal(t, []string{"b"}, s.stderrOf(b))
	assert.Empty(t, s.stderrOf(silent))
}

func TestStandardErrorIsLoggedWheneverItIsWritten(t *testing.T) {
	s := newSpawn(t)
	for name, steps := range map[string][]string{
		"before the answer":            {"err oops\n", helloWorld},
		"behind the answer":            {helloWorld, "err oops\n"},
		"long before":                  {"err oops\n", "sleep 150ms", helloWorld},
		"long behind":                  {helloWorld, "sleep 150ms", "err oops\n"},
		"behind a closed answer":       {helloWorld, "close 1", "sleep 150ms", "err oops\n"},
		"at the end of a long script":  {hello, "sleep 150ms", "out hello, world\n", "err oops"},
		"by a child":                   {"fork 1 hold " + script("err oops\n"), "sleep 150ms", helloWorld},
		"and closed":                   {"err oops\n", "close 2", "sleep 150ms", helloWorld},
		"with an exit status":          {helloWorld, "err oops\n", "exit 3"},
		"in place of an answer":        {"err oops\n", "exit 255"},
		"in place of a late answer":    {"sleep 150ms", "err oops\n", "exit 255"},
		"with a bad head":              {"err oops\n", "out oops\n\n", "hang"},
		"as the last word of a signal": {"err oops\n", "kill SIGKILL"},
	} {
		c := s.call(steps...)
		body, err := c.answer()
		if err == nil {
			assert.Equal(t, "hello, world\n", body, name)
		}
		c.wait()
		assert.Equal(t, []string{"oops"}, s.stderrOf(c), name)
	}
}

func TestStandardErrorOfALongScriptIsLoggedAsItComes(t *testing.T) {
	s := newSpawn(t)
	go_ := t.TempDir() + "/go"
	c := s.call("err early\n", hello, "await "+go_, "err late\n")
	res := c.start()
	eventually(t, func() bool { return len(s.stderrOf(c)) == 1 }, "the first line, while the script runs")
	touch(t, go_)
	_, err := res.Body.Read(make([]byte, 1))
	assert.Error(t, err)
	res.Body.Close()
	c.wait()
	assert.Equal(t, []string{"early", "late"}, s.stderrOf(c))
}

func TestHalfAMegabyteOfStandardErrorDoesNotStopTheAnswer(t *testing.T) {
	s := newSpawn(t)
	const size = 512 << 10
	for name, steps := range map[string][]string{
		"before the head":     {fmt.Sprint("errn ", size), helloWorld},
		"within the head":     {"out X: y\n", fmt.Sprint("errn ", size), helloWorld},
		"within the body":     {hello + "hello, ", fmt.Sprint("errn ", size), "out world\n"},
		"behind the answer":   {helloWorld, fmt.Sprint("errn ", size)},
		"behind a closed one": {helloWorld, "close 1", fmt.Sprint("errn ", size)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.call(steps...)
			assert.Equal(t, "hello, world\n", c.mustAnswer())
			assert.Equal(t, 0, c.wait().Code)
			lines := s.stderrOf(c)
			kept := maxStderr / 63
			require.Len(t, lines, kept+1)
			assert.Equal(t, strings.Repeat("x", 63), lines[0])
			assert.Contains(t, lines[kept], fmt.Sprintf("(%d more octets", size-kept*64))
		})
	}
}

func TestStandardErrorThatADaemonHoldsIsNotWaitedFor(t *testing.T) {
	s := newSpawn(t)
	for name, before := range map[string]string{"short": "sleep 0s", "long": "sleep 150ms"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ready := t.TempDir() + "/ready"
			c := s.call(before, "err before\n", "fork 1 daemon "+script("touch "+ready, "hang"), "await "+ready, "err after\n", helloWorld, "close 1")
			// The daemon holds the answer open as well, but that is another test's matter.
			assert.Equal(t, "hello, world\n", c.mustAnswer())
			e := c.wait()
			assert.Equal(t, []any{0, ""}, []any{e.Code, e.Killed})
			assert.Equal(t, []string{"before", "after"}, s.stderrOf(c))
			endDaemon(t, pidIn(t, ready))
		})
	}
}

func TestADaemonThatFloodsStandardErrorDoesNotHoldTheRequest(t *testing.T) {
	s := newSpawn(t)
	ready := t.TempDir() + "/ready"
	var flood []string
	for range 100 {
		flood = append(flood, "errn 1000000")
	}
	c := s.call("fork 1 daemon "+script(append([]string{"ignore SIGPIPE", "close 1", "touch " + ready}, flood...)...), "await "+ready, helloWorld)
	assert.Equal(t, "hello, world\n", c.mustAnswer())
	began := time.Now()
	c.wait()
	assert.Less(t, time.Since(began), patience/2)
	lines := s.stderrOf(c)
	assert.Less(t, len(lines), 2*maxStderr/63)
	endDaemon(t, pidIn(t, ready))
}

// On a busy machine the goroutine that drains may not have come to read before it is
// called off.
func TestWhatIsInThePipeIsLoggedHoweverLateItIsRead(t *testing.T) {
	var fds [2]int
	require.NoError(t, pipe(&fds))
	unblock(fds[0])
	var lines []string
	s := NewStderr(fds[0])
	s.attach(func(line string) { lines = append(lines, line) })
	s.drain()
	s.file.SetReadDeadline(time.Unix(1, 0))
	<-s.done
	write(fds[1], []byte("late\nlast"))
	s.close()
	closeFD(fds[1])
	assert.Equal(t, []string{"late", "last"}, lines)
}
