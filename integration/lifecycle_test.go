//go:build linux

package integration

import (
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSIGTERMLetsRequestsEnd(t *testing.T) {
	dir := tempDir(t)
	newScripts(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(scriptsYAML, "@DIR@", dir))
	c := newClient(t, g.url())
	var answers []*http.Response
	for range 5 {
		answers = append(answers, c.open(t, "/cgi-bin/slow.sh"))
	}
	require.NoError(t, syscall.Kill(g.pid, syscall.SIGTERM))
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.url(), "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	}, patience, 10*time.Millisecond, "the door is still open")
	assert.Equal(t, http.StatusOK, newClient(t, g.admin).get(t, "/healthz").status)
	assert.Equal(t, http.StatusServiceUnavailable, newClient(t, g.admin).get(t, "/readyz").status)
	for _, res := range answers {
		b, err := io.ReadAll(res.Body)
		assert.NoError(t, err)
		assert.Equal(t, "first\nlast\n", string(b))
	}
	select {
	case <-g.gone:
		assert.NoError(t, g.err)
	case <-time.After(patience):
		t.Error("the gateway goes on without requests")
	}
}

func TestSIGTERMEndsWhatDoesNotEndItself(t *testing.T) {
	dir := tempDir(t)
	newScripts(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(scriptsYAML, "@DIR@", dir))
	c := newClient(t, g.url())
	res := c.open(t, "/cgi-bin/hang.sh")
	began := time.Now()
	require.NoError(t, syscall.Kill(g.pid, syscall.SIGTERM))
	time.Sleep(200 * time.Millisecond)
	require.NoError(t, syscall.Kill(g.pid, syscall.SIGTERM), "a second one does not wait")
	_, err := io.ReadAll(res.Body)
	assert.Error(t, err, "an answer that was cut short")
	select {
	case <-g.gone:
	case <-time.After(patience):
		t.Error("the gateway does not end")
	}
	assert.Less(t, time.Since(began), 9*time.Second)
	assert.Empty(t, scriptsIn(dir))
	g.owed = true
}

func TestSIGKILLOfTheGatewayEndsItsScripts(t *testing.T) {
	needs(t, "perl")
	dir := tempDir(t)
	newScripts(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(scriptsYAML, "@DIR@", dir))
	g.owed = true
	for _, script := range []string{"trickle.pl", "silent.sh", "stubborn.pl"} {
		for range 4 {
			c, err := net.Dial("tcp", strings.TrimPrefix(g.url(), "http://"))
			require.NoError(t, err)
			defer c.Close()
			io.WriteString(c, "GET /cgi-bin/"+script+" HTTP/1.1\r\nHost: x\r\n\r\n")
		}
	}
	require.Eventually(t, func() bool { return len(scriptsIn(dir)) == 12 }, patience, 10*time.Millisecond)
	g.kill()
	requireNoScripts(t, dir, 2*time.Second)
}

func TestScriptsAreCleanProcessesHoweverTheGatewayWasStarted(t *testing.T) {
	needs(t, "perl")
	dir := tempDir(t)
	newScripts(t, dir, "state.c")
	g := startGatewayAs(t, dir, strings.ReplaceAll(scriptsYAML, "@DIR@", dir), how{
		// Signals blocked and ignored, descriptors left open, and nohup.
		via: []string{"/usr/bin/perl", "-MPOSIX", "-e", `
			POSIX::sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGTERM, SIGCHLD, SIGINT, SIGUSR1, SIGALRM));
			$SIG{$_} = 'IGNORE' for qw(PIPE QUIT USR2 CHLD);
			POSIX::dup2(1, $_) for 7, 9, 20;
			exec 'nohup', @ARGV or die;`},
		env: []string{"SECRET=of the gateway"},
	})
	got := newClient(t, g.url()).get(t, "/cgi-bin/state.cgi")
	assert.Equal(t, "descriptor 0\ndescriptor 1\ndescriptor 2\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nleader 1\n", got.body)

	vars := varsOf(t, newClient(t, g.url()).get(t, "/cgi-bin/vars.sh"))
	assert.Equal(t, scriptPath, vars["PATH"])
	for _, name := range []string{"SECRET", "HOME", "TMPDIR", "GOFLAGS", "USER"} {
		assert.NotContains(t, vars, name)
	}
	// It was started with SIGTERM blocked, and ends by it all the same: see the cleanup.
}
