package cgi

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

// isWaitable reports whether a child has ended, with all its threads: the first one can be
// a zombie before that.
func isWaitable(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

func TestAScriptThatHasEndedByItselfIsNotSaidToHaveBeenKilled(t *testing.T) {
	s := newSpawn(t)
	for name, steps := range map[string][]string{
		"a bad head":        {"out nonsense\n\n", "exit 7"},
		"an answer, unread": {helloWorld, "exit 7"},
	} {
		dir := t.TempDir()
		c := s.call(append([]string{"touch " + dir + "/pid"}, steps...)...)
		c.Script.NPH = true
		res := c.start()
		// Its end comes before the gateway gives it up.
		pid := pidIn(t, dir+"/pid")
		eventually(t, func() bool { return isWaitable(pid) }, "the end of the script")
		res.Body.Close()
		e := c.wait()
		assert.Equal(t, []any{7, ""}, []any{e.Code, e.Killed}, name)
	}
	c := s.call("out Content-Type: text/plain\n", "exit 7")
	_, err := c.try()
	assert.ErrorIs(t, err, ErrBadHead)
	e := c.wait()
	assert.Equal(t, []any{7, ""}, []any{e.Code, e.Killed}, "half a head")
}
