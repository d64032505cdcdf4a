package cgi

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/census"
)

func TestWhatAScriptLeavesInItsGroupIsEnded(t *testing.T) {
	for name, test := range map[string]struct {
		n     int
		child []string
		grace time.Duration
	}{
		"children that sleep":     {50, []string{"hang"}, patience},
		"children that are deaf":  {20, []string{"ignore SIGTERM", "hang"}, 100 * time.Millisecond},
		"children with children":  {10, []string{"fork 2 free " + script("hang"), "hang"}, patience},
		"children that have died": {20, []string{"exit 0"}, patience},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpawn(t)
			dir := t.TempDir()
			// Each child says that it is there; their number is part of the file's name.
			steps := []string{"touch " + dir + "/parent"}
			for i := range test.n {
				steps = append(steps, "fork 1 free "+script(append([]string{fmt.Sprintf("touch %s/child%d", dir, i)}, test.child...)...))
			}
			for i := range test.n {
				steps = append(steps, fmt.Sprintf("await %s/child%d", dir, i))
			}
			c := s.call(append(steps, helloWorld)...)
			c.Timeout.Grace = test.grace
			group := 0
			c.AtEnd(func(Exit) {
				assert.Empty(t, census.Group(t, group))
				assert.ErrorIs(t, syscall.Kill(-group, 0), syscall.ESRCH, "not even the dead are left")
			})
			res := c.start()
			group = pidIn(t, dir+"/parent")
			b, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			assert.Equal(t, "hello, world\n", string(b))
			res.Body.Close()
			e := c.wait()
			assert.Equal(t, 0, e.Code)
			if name == "children that have died" {
				assert.Contains(t, []string{"", ReasonLeftBehind}, e.Killed, "the last of them may still be dying")
			} else {
				assert.Equal(t, ReasonLeftBehind, e.Killed)
			}
		})
	}
}

func TestChildrenThatHoldTheAnswerHoldItUntilItIsIdle(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	c := s.call("touch "+dir+"/parent", "fork 50 hold "+script("hang"), helloWorld)
	c.Timeout.Idle = time.Second
	res := c.start()
	b, err := io.ReadAll(res.Body)
	assert.ErrorIs(t, err, ErrTimeout, "whoever is in the group may still write")
	assert.Equal(t, "hello, world\n", string(b))
	res.Body.Close()
	e := c.wait()
	assert.Equal(t, []any{0, ReasonIdle}, []any{e.Code, e.Killed})
	assert.Empty(t, census.Group(t, pidIn(t, dir+"/parent")))
}

func TestChildrenThatHoldAnAnnouncedAnswerDoNotHoldIt(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	c := s.call("touch "+dir+"/parent", "fork 5 hold "+script("hang"), "out Content-Length: 5\n\nhello")
	assert.Equal(t, "hello", c.mustAnswer())
	e := c.wait()
	assert.Equal(t, []any{0, ReasonLeftBehind}, []any{e.Code, e.Killed})
	assert.Empty(t, census.Group(t, pidIn(t, dir+"/parent")))
}

func TestADaemonThatHoldsTheAnswerDoesNotHoldItForLong(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for name, steps := range map[string][]string{
		"at once":             {helloWorld},
		"after a while":       {"sleep 100ms", helloWorld},
		"announced, in short": {"out Content-Length: 100\n\nhello, world\n"},
		"nph":                 {"out hello, world\n"},
		"no output":           {},
	} {
		ready := filepath.Join(dir, name)
		c := s.call(append([]string{"fork 1 daemon " + script("touch "+ready, "hang"), "await " + ready}, steps...)...)
		c.Script.NPH = name == "nph"
		wg.Go(func() {
			began := time.Now()
			body, err := c.answer()
			assert.Less(t, time.Since(began), patience/2, "it is to be two seconds, on a machine that is not busy")
			switch name {
			case "no output":
				assert.ErrorIs(t, err, ErrNoOutput)
			case "announced, in short":
				assert.ErrorIs(t, err, ErrTruncated)
			default:
				assert.NoError(t, err, name)
				assert.Equal(t, "hello, world\n", body)
			}
			e := c.wait()
			assert.Equal(t, []any{0, ""}, []any{e.Code, e.Killed}, name)
		})
	}
	wg.Wait()
	daemons, err := filepath.Glob(dir + "/*")
	require.NoError(t, err)
	for _, file := range daemons {
		endDaemon(t, pidIn(t, file)) // it has survived
	}
}

func TestADaemonThatHoldsNothingIsLetGo(t *testing.T) {
	s := newSpawn(t)
	ready := t.TempDir() + "/ready"
	c := s.call("fork 1 freedaemon "+script("touch "+ready, "hang"), "await "+ready, helloWorld)
	assert.Equal(t, "hello, world\n", c.mustAnswer())
	e := c.wait()
	assert.Equal(t, []any{0, ""}, []any{e.Code, e.Killed})
	endDaemon(t, pidIn(t, ready))
}

func TestADaemonThatWritesIsHeardWhileItDoes(t *testing.T) {
	s := newSpawn(t)
	ready := t.TempDir() + "/ready"
	c := s.call(hello, "fork 1 daemon "+script("touch "+ready, "drip 10 20ms x", "close 1", "hang"), "await "+ready, "exit 0")
	assert.Equal(t, "xxxxxxxxxx", c.mustAnswer())
	c.wait()
	endDaemon(t, pidIn(t, ready))
}

func TestWhatAChildWritesBehindItsParentIsDelivered(t *testing.T) {
	s := newSpawn(t)
	var wg sync.WaitGroup
	for name, test := range map[string]struct{ child, body string }{
		"at once":            {"outn 1000000", string(pattern(1000000))},
		"little by little":   {"drip 5 150ms x", "xxxxx"},
		"after a long pause": {"drip 2 800ms x", "xx"}, // longer than a daemon may be silent
	} {
		c := s.call(hello+"parent\n", "fork 1 hold "+script(test.child))
		wg.Go(func() {
			body, err := c.answer()
			assert.NoError(t, err, name)
			assert.True(t, body == "parent\n"+test.body, "%s: %.100q", name, body)
			assert.Equal(t, 0, c.wait().Code)
		})
	}
	wg.Wait()
}

func TestAChildMayGiveTheWholeAnswer(t *testing.T) {
	s := newSpawn(t)
	c := s.call("fork 1 hold " + script("sleep 700ms", helloWorld))
	assert.Equal(t, "hello, world\n", c.mustAnswer())
	c.wait()
}

func TestAGroupIsEndedWithItsScript(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	for name, steps := range map[string][]string{
		"time is up":       {hello, "hang"},
		"the answer fails": {"out nonsense\n\n", "hang"},
		"a crash":          {hello, "kill SIGKILL"},
	} {
		parent := filepath.Join(dir, name)
		c := s.call(append([]string{"touch " + parent, "fork 3 free " + script("ignore SIGTERM", "hang"), "fork 3 free " + script("hang")}, steps...)...)
		c.Timeout = Timeouts{Idle: 200 * time.Millisecond, Grace: 100 * time.Millisecond}
		_, err := c.answer()
		assert.Error(t, err, name)
		c.wait()
		assert.Empty(t, census.Group(t, pidIn(t, parent)), name)
	}
}
