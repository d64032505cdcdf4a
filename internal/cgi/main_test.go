package cgi

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"warmcgi/internal/census"
	"warmcgi/internal/shim"
)

// TestMain is also the main function of every script of these tests: the test binary
// starts itself, see play.
func TestMain(m *testing.M) {
	if steps := os.Getenv(stepsVar); steps != "" {
		play(steps)
	}
	if len(os.Args) == 2 && os.Args[1] == "shim" {
		os.Exit(shim.Main())
	}
	census.Isolate()
	code := m.Run()
	if code == 0 && !fuzzing() {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// fuzzing reports whether this is `go test -fuzz` or one of its workers, which have
// goroutines and children of their own.
func fuzzing() bool {
	return flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.fuzzworker").Value.String() == "true"
}

// patience is how long a test waits for what must happen. No test passes by waiting
// that long.
const patience = 30 * time.Second

// eventually waits for a state.
func eventually(t testing.TB, ok func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "did not happen: "+what)
		}
	}
}

// A testSpawn is a Spawn whose test fails if anything is left of its scripts in the
// end: a process, a descriptor, a goroutine, or a request whose End was not called.
type testSpawn struct {
	*Spawn
	t testing.TB

	mu    sync.Mutex
	calls []*call
	lines map[*Request][]string
}

func newSpawn(t testing.TB) *testSpawn {
	t.Helper()
	before := census.Take(t)
	s := &testSpawn{t: t, lines: map[*Request][]string{}}
	var err error
	s.Spawn, err = NewSpawn(SpawnConfig{Shim: shimCommand, Stderr: func(req *Request, line string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines[req] = append(s.lines[req], line)
	}})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() { // it may have left anything open
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s.Close(ctx)
			return
		}
		for _, c := range s.calls {
			c.wait()
		}
		assert.Zero(t, s.Running())
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, s.Close(ctx))
		before.Compare(t, patience)
	})
	return s
}

// stderrOf is what a script has written to standard error so far, as it was logged.
func (s *testSpawn) stderrOf(c *call) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[&c.Request]
}

// A call is a request for a script that the test binary plays.
type call struct {
	Request
	s     *testSpawn
	ended chan struct{}
	exit  Exit // once ended is closed
}

// call prepares a request. It allows the script all the time it wants; tests that
// don't, say so.
func (s *testSpawn) call(steps ...string) *call {
	c := s.callFile(self(s.t))
	c.Env = []string{stepsVar + "=" + script(steps...)}
	return c
}

// callFile prepares a request for another program.
func (s *testSpawn) callFile(file string, args ...string) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &call{s: s, ended: make(chan struct{})}
	c.ID = fmt.Sprintf("%s#%d", s.t.Name(), len(s.calls))
	c.Script = Script{Name: "/cgi-bin/test", File: file, Args: args}
	c.Timeout.Grace = patience
	c.AtEnd(func(e Exit) {
		c.exit = e
		close(c.ended) // a second time would panic
	})
	s.calls = append(s.calls, c)
	return c
}

func self(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return exe
}

// with changes a call.
func (c *call) with(f func(c *call)) *call {
	f(c)
	return c
}

// start sends the request and expects an answer.
func (c *call) start() *Response {
	c.s.t.Helper()
	res, err := c.try()
	require.NoError(c.s.t, err)
	return res
}

// try sends the request. A script that never answers fails the test in the end.
func (c *call) try() (*Response, error) { return c.tryWith(context.Background()) }

func (c *call) tryWith(ctx context.Context) (*Response, error) {
	c.s.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	c.s.t.Cleanup(cancel)
	return c.s.RoundTrip(ctx, &c.Request)
}

// answer sends the request and reads the whole answer.
func (c *call) answer() (string, error) {
	c.s.t.Helper()
	res, err := c.try()
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// mustAnswer is answer for scripts that do.
func (c *call) mustAnswer() string {
	c.s.t.Helper()
	body, err := c.answer()
	require.NoError(c.s.t, err)
	return body
}

// wait waits until the backend is done with the request.
func (c *call) wait() Exit {
	c.s.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		assert.Fail(c.s.t, "End was never called", "%s", c.Env)
	}
	return c.exit
}

// hasEnded reports whether the backend is done with the request.
func (c *call) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// readLine reads up to a line end, so that a test knows how far its script is.
func readLine(t testing.TB, b io.Reader) string {
	t.Helper()
	var line strings.Builder
	for one := make([]byte, 1); ; {
		n, err := b.Read(one)
		require.NoError(t, err, "after %q", line.String())
		if n == 0 {
			continue
		}
		if one[0] == '\n' {
			return line.String()
		}
		line.WriteByte(one[0])
	}
}

// touch tells a script something, see script.
func touch(t testing.TB, file string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, nil, 0o666))
}

// pidIn is what a script has told the test with "touch".
func pidIn(t testing.TB, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(string(b))
	require.NoError(t, err)
	return pid
}

// shimCommand: this program is the shim, too. With the race detector in it, it would take a
// second to end.
var shimCommand = []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", os.Args[0], "shim"}
