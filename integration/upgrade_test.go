//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// upgradable is a gateway whose binary can be replaced.
func upgradable(t *testing.T, yaml string, env ...string) *reloaded {
	t.Helper()
	needs(t, "perl")
	built, err := raceGateway()
	require.NoError(t, err)
	dir := tempDir(t)
	r := &reloaded{binary: filepath.Join(dir, "gateway"), file: filepath.Join(dir, "gateway.yaml")}
	require.NoError(t, os.Symlink(built, r.binary))
	writeFile(t, filepath.Join(dir, "warm.pl"), echoes["warm.pl"], 0o755)
	r.gateway = &gateway{dir: dir}
	r.write(t, r.warm(yaml))
	r.gateway = startServing(t, "gateway", dir, []string{r.binary, "serve", "--config", r.file, "--wait", "20s", "--pid-file", filepath.Join(dir, "pid")}, env)
	return r
}

// warm is a configuration with one warm program, and what else is given.
func (r *reloaded) warm(more string) string {
	return strings.ReplaceAll(`
listen: [{http: 127.0.0.1:0}, {http: "unix:@DIR@/s"}]
admin: 127.0.0.1:0
routes:
  - path: /warm
    mode: warm
    cgi: {program: @DIR@/warm.pl}
`+more, "@DIR@", r.dir)
}

// state is how a script is answered, and by which warm parent.
func (r *reloaded) state(t *testing.T, script string) (mode string, parent int) {
	for _, s := range r.status(t) {
		if s.Script == script {
			mode, parent = s.Mode, s.Parent
		}
	}
	return mode, parent
}

func (r *reloaded) mode(t *testing.T, script string) string {
	mode, _ := r.state(t, script)
	return mode
}

func TestWarmParentsThatFailToLoadLeaveTheOldStateServing(t *testing.T) {
	r := upgradable(t, "")
	c := newClient(t, r.url())
	require.Eventually(t, func() bool {
		return c.get(t, "/warm?x").status == 200 && r.mode(t, "/warm") == "warm"
	}, patience, 10*time.Millisecond)
	bad := writeFile(t, filepath.Join(r.dir, "bad.pl"), "#!/usr/bin/perl\nuse No::Such::Module;\n", 0o755)
	for what, more := range map[string]string{
		"a new program that is to be warm":           "  - {path: /bad, mode: warm, cgi: {program: " + bad + "}}\n",
		"one that has been warm, with other modules": "    preload: [No::Such::Module]\n",
	} {
		r.write(t, r.warm(more))
		out, err := r.command("reload")
		assert.Error(t, err, what)
		assert.Contains(t, out, "the configuration was not taken, the one before it is served", what)
		assert.Contains(t, out, "No/Such/Module.pm", what)
		out, err = r.command("status")
		require.NoError(t, err)
		assert.Contains(t, out, "was refused", what)
		assert.Contains(t, r.out.String(), "the configuration was not taken, the old one stays", what)
		assert.Equal(t, 404, c.get(t, "/bad").status, what)
		assert.Equal(t, "x ", c.get(t, "/warm?x").body, what)
		assert.Equal(t, "warm", r.mode(t, "/warm"), what)
	}
	// In mode auto nobody has demanded it, and a script that is the same keeps its workers.
	_, parent := r.state(t, "/warm")
	r.write(t, r.warm("  - {path: /bad, cgi: {program: "+bad+"}}\n"))
	out, err := r.command("reload")
	require.NoError(t, err, out)
	assert.Equal(t, 502, c.get(t, "/bad").status)
	_, now := r.state(t, "/warm")
	assert.Equal(t, parent, now)
	out, err = r.command("status")
	require.NoError(t, err)
	assert.NotContains(t, out, "was refused")
}

func TestANewBinaryThatDoesNotStartLeavesTheOldOneServing(t *testing.T) {
	r := upgradable(t, "")
	c := newClient(t, r.url())
	before := r.pid
	replace := func(text string) {
		require.NoError(t, os.Remove(r.binary))
		writeFile(t, r.binary, text, 0o755)
	}
	built, err := raceGateway()
	require.NoError(t, err)
	asks := &reloaded{binary: built, gateway: r.gateway}
	for text, says := range map[string]string{
		"#!/bin/sh\nexit 3\n":     "exit status 3",
		"#!/bin/sh\nkill -9 $$\n": "signal: killed",
		"no program":              "exec format error",
	} {
		replace(text)
		out, err := asks.command("upgrade")
		assert.Error(t, err)
		assert.Contains(t, out, fmt.Sprintf("this process (%d) goes on", before))
		assert.Contains(t, out, says)
		assert.Equal(t, 200, c.get(t, "/warm?x").status)
	}
	require.NoError(t, os.Remove(r.binary))
	require.NoError(t, os.Symlink(built, r.binary))
	r.write(t, r.warm("  - {path: /bad}\n"))
	out, err := r.command("upgrade")
	assert.Error(t, err)
	assert.Regexp(t, `(?s)the configuration is not valid.*gateway.yaml:8:5: routes\[1\]`, out)
	assert.FileExists(t, filepath.Join(r.dir, "s"), "the sockets' files are the old one's")
	assert.Equal(t, 200, c.get(t, "/warm?x").status)

	r.write(t, r.warm("  - {path: /new, cgi: {program: @DIR@/warm.pl}}\n"))
	r.upgrade(t)
	assert.Equal(t, 200, newClient(t, r.url()).get(t, "/new?x").status, "with the configuration as it is now")
}

func TestAnUpgradeTakesOverWhatIsOpenAndWarm(t *testing.T) {
	r := upgradable(t, "")
	c := newClient(t, r.url())
	require.Eventually(t, func() bool {
		return c.get(t, "/warm?x").status == 200 && r.mode(t, "/warm") == "warm"
	}, patience, 10*time.Millisecond)
	old := children(r.pid)
	r.upgrade(t)
	assert.Equal(t, "warm", r.mode(t, "/warm"), "before anybody has asked")
	pid, err := os.ReadFile(filepath.Join(r.dir, "pid"))
	require.NoError(t, err)
	assert.Equal(t, strconv.Itoa(r.pid)+"\n", string(pid))
	for _, p := range old {
		n, _ := strconv.Atoi(strings.Fields(p)[0])
		assert.Error(t, syscall.Kill(n, 0), "the old warm parents have ended: %s", p)
	}
	conn, err := net.Dial("unix", filepath.Join(r.dir, "s"))
	require.NoError(t, err)
	defer conn.Close()
	io.WriteString(conn, "GET /warm?by-unix HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Contains(t, string(b), "by-unix")
	// A door that the configuration has no more is closed by the one that takes over.
	r.write(t, strings.Replace(r.warm(""), `, {http: "unix:`+r.dir+`/s"}`, "", 1))
	r.upgrade(t)
	_, err = net.Dial("unix", filepath.Join(r.dir, "s"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, 200, c.get(t, "/warm?x").status)
}

func TestRequestsThatRunEndInTheOldProcess(t *testing.T) {
	r := upgradable(t, "  - {path: /slow, cgi: {program: @DIR@/slow.sh}}\n")
	writeFile(t, filepath.Join(r.dir, "slow.sh"), "#!/bin/sh\nprintf 'Content-Type: text/event-stream\\n\\ndata: 1\\n\\n'\nwhile [ ! -e "+r.dir+"/go ]; do sleep 0.05; done\necho 'data: 2'\n", 0o755)
	res := newClient(t, r.url()).open(t, "/slow")
	lines := bufio.NewReader(res.Body)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "data: 1\n", line)
	before := r.pid
	require.NoError(t, syscall.Kill(before, syscall.SIGUSR2))
	require.Eventually(t, func() bool { return strings.Contains(r.out.String(), "another process has taken over") }, patience, 10*time.Millisecond)
	assert.Equal(t, 200, newClient(t, r.url()).get(t, "/warm?x").status)
	out, err := r.command("upgrade")
	assert.Error(t, err)
	assert.Contains(t, out, fmt.Sprintf("the process before this one (%d) still answers its last requests: try again when it has ended", before))
	assert.NoError(t, syscall.Kill(before, 0), "it waits for the stream")
	writeFile(t, filepath.Join(r.dir, "go"), "", 0o644)
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	assert.Equal(t, "\ndata: 2\n", string(rest))
	pid, err := os.ReadFile(filepath.Join(r.dir, "pid"))
	require.NoError(t, err)
	r.server.pid, err = strconv.Atoi(strings.TrimSpace(string(pid)))
	require.NoError(t, err)
}

func TestSystemdIsToldWhatHappens(t *testing.T) {
	dir := tempDir(t)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	require.NoError(t, err)
	defer l.Close()
	r := upgradable(t, "", "NOTIFY_SOCKET="+filepath.Join(dir, "notify"))
	next := func() string {
		b := make([]byte, 4096)
		l.SetReadDeadline(time.Now().Add(patience))
		n, err := l.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	assert.Contains(t, next(), "READY=1")
	require.NoError(t, syscall.Kill(r.pid, syscall.SIGHUP))
	assert.Regexp(t, `^RELOADING=1\nMONOTONIC_USEC=\d+`, next())
	assert.Contains(t, next(), "READY=1\nSTATUS=serving")
	r.write(t, "nonsense")
	require.NoError(t, syscall.Kill(r.pid, syscall.SIGHUP))
	assert.Contains(t, next(), "RELOADING=1")
	assert.Contains(t, next(), "READY=1\nSTATUS=the last reload was refused")
	r.write(t, r.warm(""))
	r.upgrade(t)
	assert.ElementsMatch(t, []string{"READY=1\nSTATUS=serving", fmt.Sprintf("MAINPID=%d", r.pid)}, []string{next(), next()}, "the new process, and the old one")
	require.NoError(t, syscall.Kill(r.pid, syscall.SIGTERM))
	assert.Equal(t, "STOPPING=1", next())
	<-r.gone
}

func TestSIGHUPOfATerminalThatIsGoneEndsTheGateway(t *testing.T) {
	needs(t, "python3")
	dir := tempDir(t)
	binary, err := raceGateway()
	require.NoError(t, err)
	writeFile(t, filepath.Join(dir, "gateway.yaml"), "listen: [{http: 127.0.0.1:0}]\nroutes: [{path: /, files: {root: .}}]\n", 0o644)
	// The program gets a terminal of its own, which is closed when it serves.
	out, err := exec.Command("python3", "-c", `
import os, pty, re, sys, urllib.request
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
text = b''
while not re.search(rb'serving (\S+)\s', text):
    text += os.read(terminal, 4096)
urllib.request.urlopen(re.search(rb'serving (\S+)\s', text)[1].decode() + 'gateway.yaml').read()
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`, binary, "serve", "--config", filepath.Join(dir, "gateway.yaml")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "0\n", string(out))
}
