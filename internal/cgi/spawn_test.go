package cgi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAScriptAnswers(t *testing.T) {
	s := newSpawn(t)
	c := s.call("out Status: 201 Made\nContent-Type: text/plain\nX-A: 1\n\nhello, world\n")
	res := c.start()
	assert.Equal(t, 201, res.Status)
	assert.Equal(t, "Made", res.Reason)
	assert.Equal(t, "1", res.Header.Get("X-A"))
	assert.EqualValues(t, -1, res.Length)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "hello, world\n", string(b))
	require.NoError(t, res.Body.Close())
	require.NoError(t, res.Body.Close(), "once more does no harm")
	e := c.wait()
	assert.Positive(t, e.User+e.System)
	e.User, e.System = 0, 0
	assert.Equal(t, Exit{Started: true}, e)
}

func TestTheEnvironmentIsExactlyTheBaseAndTheVariables(t *testing.T) {
	t.Setenv("OF_THE_GATEWAY", "secret")
	s := newSpawn(t)
	c := s.call(hello, "env")
	c.Env = append(c.Env, "PATH=/bin", "EMPTY=", "LATIN=\xe4", "TZ=UTC", "HTTP_X=set by the configuration", "PREFIX=a")
	c.Vars = []string{"QUERY_STRING=a=b&c", "HTTP_X=the client's", "PATH_INFO=/\xff\n=", "PREFIX_LONGER=b", "PREF=c", "SCRIPT_NAME=", "TZ=evil"}
	assert.Equal(t, append(c.Env, "QUERY_STRING=a=b&c", "PATH_INFO=/\xff\n=", "PREFIX_LONGER=b", "PREF=c", "SCRIPT_NAME="),
		strings.Split(c.mustAnswer(), "\x00"))
}

func TestAScriptWithoutBaseOrVariablesHasNoEnvironment(t *testing.T) {
	t.Setenv("OF_THE_GATEWAY", "secret")
	s := newSpawn(t)
	c := s.callFile("/usr/bin/env")
	c.Script.NPH = true
	_, err := c.try()
	assert.ErrorIs(t, err, ErrNoOutput)
	c = s.callFile("/usr/bin/env")
	c.Script.NPH = true
	c.Vars = []string{"A=b"}
	assert.Equal(t, "A=b\n", c.mustAnswer())
}

func TestArguments(t *testing.T) {
	s := newSpawn(t)
	c := s.call(hello, "args")
	c.Script.Args = []string{"-s", "", "a b", "\xff"}
	assert.Equal(t, []string{c.Script.File, "-s", "", "a b", "\xff"}, strings.Split(c.mustAnswer(), "\x00"))

	c = s.call(hello, "args")
	c.Script.Interpreter, c.Script.File, c.Script.Args = c.Script.File, "/srv/a.pl", []string{"-d", "x"}
	c.Script.Dir = "/"
	// Behind the file's name, so that they are never options of the interpreter.
	assert.Equal(t, []string{c.Script.Interpreter, "/srv/a.pl", "-d", "x"}, strings.Split(c.mustAnswer(), "\x00"))
}

func (c *call) state() (st state) {
	c.s.t.Helper()
	require.NoError(c.s.t, json.Unmarshal([]byte(c.mustAnswer()), &st))
	return st
}

func TestTheWorkingDirectoryIsTheScriptsFolder(t *testing.T) {
	s := newSpawn(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	assert.Equal(t, filepath.Dir(self(t)), s.call(hello, "state").state().Dir)
	assert.Equal(t, dir, s.call(hello, "state").with(func(c *call) { c.Script.Dir = dir }).state().Dir)
	require.NoError(t, os.Symlink(self(t), filepath.Join(dir, "link.cgi")))
	c := s.call(hello, "state")
	c.Script.File = filepath.Join(dir, "link.cgi")
	assert.Equal(t, dir, c.state().Dir, "a link's own folder")
}

func TestAScriptHasAProcessGroupOfItsOwn(t *testing.T) {
	s := newSpawn(t)
	st := s.call(hello, "state").state()
	assert.Equal(t, st.Pid, st.Group)
	assert.Equal(t, os.Getpid(), st.Parent)
	assert.NotEqual(t, st.Pid, st.Session)
}

func TestTheUmaskIsTheGatewaysOwn(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	assert.Equal(t, 0o027, newSpawn(t).call(hello, "state").state().Umask)
}

func TestARedirectIsSeenAsWhatItIs(t *testing.T) {
	s := newSpawn(t)
	res := s.call("out Location: /a?b\n\n").start()
	assert.Equal(t, "/a?b", res.LocalRedirect())
	res.Body.Close()
	res = s.call("out Location: http://example.org/\n\n").start()
	assert.Equal(t, "", res.LocalRedirect())
	assert.Equal(t, 302, res.Status)
	res.Body.Close()
}

func TestAnNphScriptsAnswerIsLeftAsItIs(t *testing.T) {
	s := newSpawn(t)
	const answer = "HTTP/1.1 299 Own\r\nConnection: x\r\n\r\nbody"
	c := s.call("out " + answer).with(func(c *call) { c.Script.NPH = true })
	res := c.start()
	assert.True(t, res.Raw)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, answer, string(b))

	c = s.call("out "+answer, "outn 1000000").with(func(c *call) { c.Script.NPH = true })
	res, err = c.start().Cook()
	require.NoError(t, err)
	assert.Equal(t, []any{299, "Own"}, []any{res.Status, res.Reason})
	b, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(append([]byte("body"), pattern(1e6)...), b))
	res.Body.Close()
}

func TestAFailureToStartSaysWhatAStrangerWouldWantToHear(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode fs.FileMode) string {
		f := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(f, []byte(content), mode))
		return f
	}
	for name, test := range map[string]struct {
		file, interpreter string
		vars              []string
		is                error
		says              string
	}{
		"no such file":                {file: filepath.Join(dir, "none"), is: fs.ErrNotExist, says: "no such file"},
		"no such folder":              {file: filepath.Join(dir, "none", "none"), is: fs.ErrNotExist},
		"no such interpreter":         {file: file("missing", "#!/usr/bin/nonesuch -w\n", 0o755), is: fs.ErrNotExist, says: `interpreter "/usr/bin/nonesuch" of the #! line`},
		"space before it":             {file: file("space", "#! \t/usr/bin/nonesuch\n", 0o755), is: fs.ErrNotExist, says: `interpreter "/usr/bin/nonesuch" of the #! line`},
		"CRLF":                        {file: file("crlf", "#!/bin/sh\r\necho\r\n", 0o755), is: fs.ErrNotExist, says: `the #! line ends in CRLF, so "/bin/sh\r" is looked for`},
		"no #! line":                  {file: file("plain", "echo hello\n", 0o755), is: syscall.ENOEXEC, says: "no #! line?"},
		"empty":                       {file: file("empty", "", 0o755), is: syscall.ENOEXEC, says: "no #! line?"},
		"a byte order mark":           {file: file("bom", "\ufeff#!/bin/sh\n", 0o755), is: syscall.ENOEXEC, says: "no #! line?"},
		"no execute bit":              {file: file("noexec", "#!/bin/sh\n", 0o644), is: fs.ErrPermission, says: "no execute bit"},
		"a folder":                    {file: dir, is: fs.ErrPermission},
		"a file for a folder":         {file: filepath.Join(self(t), "x"), is: syscall.ENOTDIR},
		"no such configured one":      {file: file("a.pl", "", 0o644), interpreter: "/usr/bin/nonesuch", is: fs.ErrNotExist},
		"interpreter not executable":  {file: file("b.pl", "", 0o644), interpreter: file("notperl", "", 0o644), is: fs.ErrPermission, says: "no execute bit"},
		"too large an environment":    {file: self(t), vars: []string{"A=" + strings.Repeat("x", 3<<20)}, is: syscall.E2BIG, says: "the request's variables are too large"},
		"NUL in a variable":           {file: self(t), vars: []string{"A=b\x00C=d"}, is: syscall.EINVAL},
		"the interpreter is a script": {file: file("loop", "#!"+filepath.Join(dir, "loop")+"\n", 0o755), is: syscall.ELOOP},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpawn(t)
			c := s.callFile(test.file)
			c.Script.Interpreter, c.Vars = test.interpreter, test.vars
			c.Body, c.Length = strings.NewReader("body"), 4
			res, err := c.try()
			assert.Nil(t, res)
			require.ErrorIs(t, err, ErrStart)
			assert.ErrorIs(t, err, test.is)
			assert.Contains(t, err.Error(), test.says)
			assert.Contains(t, err.Error(), "/cgi-bin/test")
			require.True(t, c.hasEnded(), "before RoundTrip returns")
			assert.Equal(t, Exit{}, c.exit)
		})
	}
}

func TestScriptsThatRunAtOnceAreNotMixedUp(t *testing.T) {
	s := newSpawn(t)
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		body := fmt.Sprintf("%d %s", i, pattern(1000*(i%70)))
		c := s.call("err "+fmt.Sprint(i), hello, "copy")
		c.Vars = []string{"N=" + fmt.Sprint(i)}
		c.Body, c.Length = strings.NewReader(body), int64(len(body))
		if i%3 == 0 {
			spooled, err := Spool(c.Body, SpoolConfig{Max: 1 << 20, Memory: 30000})
			require.NoError(t, err)
			defer spooled.Close()
			c.Body = spooled
		}
		wg.Go(func() {
			got, err := c.answer()
			assert.NoError(t, err)
			assert.True(t, body == got, "%d: %.20q", i, got)
			assert.Equal(t, 0, c.wait().Code)
			assert.Equal(t, []string{fmt.Sprint(i)}, s.stderrOf(c))
		})
	}
	wg.Wait()
}

func TestEndCallsWhatItWasGivenOnceAndTheLastFirst(t *testing.T) {
	var req Request
	var got []string
	req.AtEnd(func(e Exit) { got = append(got, fmt.Sprint("first ", e.Code)) })
	req.AtEnd(func(e Exit) { got = append(got, fmt.Sprint("second ", e.Code)) })
	req.End(Exit{Code: 3})
	req.End(Exit{Code: 4})
	assert.Equal(t, []string{"second 3", "first 3"}, got)
}

func TestWhatRunsIsCountedAndOwnedUntilItHasEnded(t *testing.T) {
	s := newSpawn(t)
	assert.Zero(t, s.Running())
	assert.False(t, s.Owns(os.Getpid()))
	c := s.call(hello, "out pid\n", "state", "out \n", "copy")
	r, w := io.Pipe()
	c.Body, c.Length = r, 1
	res := c.start()
	assert.Equal(t, "pid", readLine(t, res.Body))
	var st state
	require.NoError(t, json.Unmarshal([]byte(readLine(t, res.Body)), &st))
	assert.Equal(t, 1, s.Running())
	assert.True(t, s.Owns(st.Pid))
	c.AtEnd(func(Exit) {
		assert.Zero(t, s.Running(), "End comes last")
		assert.False(t, s.Owns(st.Pid))
		assert.ErrorIs(t, syscall.Kill(-st.Pid, 0), syscall.ESRCH, "nothing is left of the group")
	})
	w.Write([]byte("x"))
	rest, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "x", string(rest))
	res.Body.Close()
	c.wait()
}

func TestCloseWaitsUntilTheLastRequestKnowsOfItsEnd(t *testing.T) {
	s := newSpawn(t)
	c := s.call(hello, "hang")
	told, goOn := make(chan struct{}), make(chan struct{})
	c.AtEnd(func(Exit) {
		close(told)
		<-goOn
	})
	res := c.start()
	closed := make(chan error, 1)
	go func() { closed <- s.Close(t.Context()) }() // ends with the script
	go func() {                                    // ends with the script
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}()
	<-told
	assert.Zero(t, s.Running())
	select {
	case err := <-closed:
		t.Error("a place is still taken, and is counted as such")
		closed <- err
	case <-time.After(100 * time.Millisecond):
	}
	close(goOn)
	assert.NoError(t, <-closed)
	c.wait()
}

func TestCloseEndsEveryScript(t *testing.T) {
	s := newSpawn(t)
	dir := t.TempDir()
	calls := map[string]*call{
		"no head yet":       s.call("touch "+dir+"/1", "hang"),
		"within its answer": s.call("touch "+dir+"/2", hello, "hang"),
		"deaf":              s.call("ignore SIGTERM", "touch "+dir+"/3", hello, "hang"),
		"with children":     s.call("fork 3 hold "+script("hang"), "fork 3 free "+script("hang"), "touch "+dir+"/4", hello, "hang"),
		"polite":            s.call("trap bye\n", "touch "+dir+"/5", hello, "hang"),
	}
	calls["deaf"].Timeout.Grace = 0
	var wg sync.WaitGroup
	for name, c := range calls {
		wg.Go(func() {
			body, err := c.answer()
			switch name {
			case "no head yet":
				assert.ErrorIs(t, err, ErrNoOutput, name)
			case "polite":
				assert.NoError(t, err, name)
				assert.Equal(t, "bye\n", body)
			default:
				assert.ErrorIs(t, err, ErrTruncated, name)
			}
			if err != nil {
				assert.Contains(t, err.Error(), ReasonShutdown)
			}
		})
	}
	eventually(t, func() bool { m, _ := filepath.Glob(dir + "/?"); return len(m) == len(calls) }, "the start of all scripts")
	require.NoError(t, s.Close(t.Context()))
	for name, c := range calls {
		assert.Equal(t, ReasonShutdown, c.wait().Killed, name)
	}
	wg.Wait()
	assert.Equal(t, "SIGKILL", calls["deaf"].exit.Signal)
	assert.Equal(t, "SIGTERM", calls["within its answer"].exit.Signal)

	late := s.call(helloWorld)
	_, err := late.try()
	assert.ErrorIs(t, err, ErrStart)
	assert.Equal(t, Exit{}, late.wait())
	assert.NoError(t, s.Close(t.Context()), "once more does no harm")
}

func TestCloseWaitsNoLongerThanItMay(t *testing.T) {
	s := newSpawn(t)
	c := s.call("ignore SIGTERM", hello, "out ready\n", "hang")
	res := c.start()
	assert.Equal(t, "ready", readLine(t, res.Body))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Close(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Contains(t, err.Error(), "1 scripts still run")
	assert.False(t, c.hasEnded())
	c.killHard(t)
	res.Body.Close()
	c.wait()
	assert.NoError(t, s.Close(t.Context()), "and a second Close finds that it has ended")
}

// killHard ends the script behind the gateway's back.
func (c *call) killHard(t testing.TB) {
	t.Helper()
	pid := 0
	c.s.Spawn.mu.Lock()
	for p := range c.s.live {
		if p.req == &c.Request {
			pid = p.pid
		}
	}
	c.s.Spawn.mu.Unlock()
	require.NotZero(t, pid)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

func TestWithoutConfigurationStandardErrorGoesToTheLog(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	defer slog.SetDefault(old)
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	s, err := NewSpawn(SpawnConfig{})
	require.NoError(t, err)
	ended := make(chan struct{})
	req := &Request{ID: "id-7", Script: Script{Name: "/a.cgi", File: self(t)}, Env: []string{stepsVar + "=" + script("err oops\n", helloWorld)}}
	req.AtEnd(func(Exit) { close(ended) })
	res, err := s.RoundTrip(t.Context(), req)
	require.NoError(t, err)
	_, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	res.Body.Close()
	<-ended
	require.NoError(t, s.Close(t.Context()))
	assert.Contains(t, log.String(), "id=id-7 script=/a.cgi line=oops")
}

func TestEveryErrorNamesTheScript(t *testing.T) {
	s := newSpawn(t)
	for _, c := range []*call{s.call("exit 3"), s.call("out nonsense\n\n"), s.callFile("/nonesuch"), s.call("kill SIGKILL")} {
		_, err := c.try()
		require.Error(t, err)
		assert.True(t, strings.HasPrefix(err.Error(), "script /cgi-bin/test: "), err.Error())
		assert.True(t, errors.Is(err, ErrNoOutput) || errors.Is(err, ErrBadHead) || errors.Is(err, ErrStart))
	}
}

func TestTooManyOpenFilesNamesTheLimitToRaise(t *testing.T) {
	err := explain(&Request{}, &os.SyscallError{Syscall: "pipe", Err: syscall.EMFILE})
	assert.ErrorIs(t, err, syscall.EMFILE)
	assert.ErrorContains(t, err, "too many open files: the gateway's own limit (ulimit -n, LimitNOFILE= in systemd)")
}
