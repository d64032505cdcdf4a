package cgi

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/census"
)

func TestAScriptHasThreeDescriptorsAndNoOther(t *testing.T) {
	s := newSpawn(t)
	// Things to inherit, and one that is in use by another script.
	file, err := os.Open("/proc/self/status")
	require.NoError(t, err)
	defer file.Close()
	other := s.call(hello, "copy")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	other.Body, other.Length = r, 1
	res := other.start()
	defer w.Close()

	// A Go program has descriptors of its own; ls has that of the folder.
	c := s.callFile("/bin/ls", "-l", "/proc/self/fd")
	c.Script.NPH = true
	c.Body, c.Length = strings.NewReader("x"), 1
	got := regexp.MustCompile(`(?m)(\S+) -> (\S+?)(:\[\d+\])?$`).FindAllStringSubmatch(c.mustAnswer(), -1)
	var fds [][]string
	for _, m := range got {
		fds = append(fds, []string{m[1], m[2]})
	}
	require.Len(t, fds, 4)
	assert.Regexp(t, `^/proc/\d+/fd$`, fds[3][1])
	assert.Equal(t, [][]string{{"0", "pipe"}, {"1", "pipe"}, {"2", "pipe"}}, fds[:3])

	w.Write([]byte("x"))
	_, err = res.Body.Read(make([]byte, 1))
	require.NoError(t, err)
	res.Body.Close()
}

func TestDescriptorsAreWhatRFC3875WantsThemToBe(t *testing.T) {
	s := newSpawn(t)
	st := s.call(hello, "state").state()
	assert.Equal(t, "/dev/null", st.Stdin, "without a body")
	assert.NotEqual(t, st.Stdout, st.Stderr)
	assert.Regexp(t, `^pipe:`, st.Stdout)
	assert.Regexp(t, `^pipe:`, st.Stderr)
	small := s.call(hello, "state")
	small.Body, small.Length = strings.NewReader("x"), 1
	assert.Regexp(t, `^pipe:`, small.state().Stdin)
}

func TestNoSignalIsIgnoredOrBlocked(t *testing.T) {
	st := newSpawn(t).call(hello, "state").state()
	assert.Equal(t, strings.Repeat("0", 16), st.Blocked)
	ignored, err := strconv.ParseUint(st.Ignored, 16, 64)
	require.NoError(t, err)
	// Whoever started the test may have left the C library's own signals, 32 and 33,
	// ignored (make does); the gateway sets them right when it starts.
	assert.Zero(t, ignored&^(3<<31), "ignored: %x", ignored)
}

// Go ignores SIGPIPE in its own way, which a script
// must not inherit.
func TestDyingOfABrokenPipeIsPossible(t *testing.T) {
	s := newSpawn(t)
	c := s.callFile("/bin/sh", "-c", "printf 'Content-Type: text/plain\n\n'; kill -PIPE $$; echo alive")
	_, err := c.answer()
	assert.ErrorIs(t, err, ErrTruncated)
	assert.Equal(t, "SIGPIPE", c.wait().Signal)
}

func TestTheExitOfAnotherChildIsNotTaken(t *testing.T) {
	s := newSpawn(t)
	p, err := os.StartProcess(self(t), []string{"other"}, &os.ProcAttr{Env: []string{stepsVar + "=" + script("exit 7")}})
	require.NoError(t, err)
	eventually(t, func() bool { i, ok := census.Find(p.Pid); return ok && i.Dead() }, "the end of the other child")
	for range 3 {
		assert.Equal(t, "hello, world\n", s.call(helloWorld).mustAnswer())
	}
	st, err := p.Wait()
	require.NoError(t, err)
	assert.Equal(t, 7, st.ExitCode())
}

// The standard error of a short script is read only when it has ended.
func TestAFloodOfStandardErrorFromAShortScriptIsBounded(t *testing.T) {
	if _, err := os.Stat("/usr/bin/setsid"); err != nil {
		t.Skip("there is no setsid")
	}
	s := newSpawn(t)
	file := t.TempDir() + "/pid"
	c := s.callFile("/bin/sh", "-c", `setsid sh -c 'echo $$ >"$1"; exec yes 1>&2' - "$0" & while [ ! -s "$0" ]; do :; done; printf 'Content-Type: text/plain\n\nhello'`, file)
	c.Env = []string{"PATH=/usr/bin:/bin"}
	assert.Equal(t, "hello", c.mustAnswer())
	c.wait()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	require.NoError(t, err)
	endDaemon(t, pid)
}
