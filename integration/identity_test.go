//go:build linux

package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// needsRoot skips a test whose gateway runs scripts as other users; where all tests have
// to run it fails.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test needs root")
	}
	t.Skip("needs root")
}

// Scripts that say who they are, try to be root, and go over their limits: ?cpu, ?file, ?memory.
var identityScripts = map[string]string{
	"who.pl": `#!/usr/bin/perl
use POSIX ();
my $q = $ENV{QUERY_STRING};
if ($q eq 'cpu') { 1 while 1 }
if ($q eq 'file') { open my $f, '>', "/dev/shm/warmcgi-identity-$>" or die "$!"; unlink "/dev/shm/warmcgi-identity-$>"; syswrite $f, 'x' x (1 << 20) for 1 .. 9 }
if ($q eq 'memory') { my $n = 1 << 30; my $x = 'x' x $n }
print "Content-Type: text/plain\n\n$< $> ", join(' ', sort split ' ', $)), "\n";
print "root again\n" if POSIX::setuid(0) || POSIX::setgid(0);
$> = 0; $< = 0; print "root again\n" if $> == 0 || $< == 0;
print "a secret\n" if open my $s, '<', '/etc/shadow';
open my $l, '<', '/proc/self/limits'; print grep /^Max (?:cpu|address|processes|open|file size)/, <$l>;
`,
	"who.py": `#!/usr/bin/python3
import os
q = os.environ['QUERY_STRING']
if q == 'cpu':
    while True: pass
if q == 'memory':
    x = 'x' * (1 << 30)
print('Content-Type: text/plain\n')
print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))
for become in os.setuid, os.seteuid, os.setgid:
    try:
        become(0)
        print('root again')
    except PermissionError:
        pass
print([l for l in open('/proc/self/limits')])
`,
	"who.rb": `#!/usr/bin/ruby
q = ENV['QUERY_STRING']
loop {} if q == 'cpu'
x = 'x' * (1 << 30) if q == 'memory'
print "Content-Type: text/plain\n\n"
puts [Process.uid, Process.euid, Process.gid, Process.egid, Process.groups.sort].inspect
begin
  Process::Sys.setuid(0)
  puts 'root again'
rescue Errno::EPERM
end
puts File.read('/proc/self/limits')
`,
}

const identityYAML = `
listen: [{http: 127.0.0.1:0}]
defaults: {timeout: {total: 20s, grace: 500ms}}
routes:
  - {path: /spawn/, cgi: {dir: cgi}, mode: spawn, user: www-data, limits: {memory: 768MiB, cpu: 2s, processes: 60, files: 200, file_size: 4MiB}}
  - {path: /warm/, cgi: {dir: cgi}, mode: warm, user: www-data, limits: {memory: 768MiB, cpu: 2s, processes: 60, files: 200, file_size: 4MiB}}
  - {path: /reuse/, cgi: {dir: cgi}, mode: reuse, user: www-data, limits: {memory: 768MiB, cpu: 2s, processes: 60, files: 200, file_size: 4MiB}}
  - {path: /nobody/, cgi: {dir: cgi}, mode: spawn, user: nobody}
  - {path: /private/, cgi: {dir: private}, mode: warm, user: nobody}
  - {path: /foreign/, cgi: {dir: private}, mode: warm, user: www-data}
  - {path: /gateway/, cgi: {dir: cgi}, mode: spawn}
`

// startIdentity starts a root gateway whose scripts are other users.
func startIdentity(t *testing.T) *gateway {
	t.Helper()
	needsRoot(t)
	needs(t, "perl", "python3", "ruby")
	dir := tempDir(t)
	for name, text := range identityScripts {
		writeFile(t, filepath.Join(dir, "cgi", name), text, 0o755)
		private := filepath.Join(dir, "private", name)
		writeFile(t, private, text, 0o700)
		for _, p := range []string{private, filepath.Dir(private)} {
			require.NoError(t, os.Chown(p, 65534, 65534))
			require.NoError(t, os.Chmod(p, 0o700))
		}
	}
	writeFile(t, filepath.Join(dir, "cgi", "hang.pl"), "#!/usr/bin/perl\n$| = 1; $SIG{TERM} = 'IGNORE'; print \"Content-Type: text/plain\\n\\n\"; if ($ENV{QUERY_STRING}) { print '.' while sleep 1 }\n", 0o755)
	return startGatewayAs(t, dir, identityYAML, how{env: []string{"TMPDIR=" + dir}})
}

// until asks until the script's pool answers in a mode.
func (g *gateway) until(t *testing.T, c *client, mode, path string) answer {
	t.Helper()
	script, _, _ := strings.Cut(path, "?")
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		a := c.get(t, path)
		for _, st := range g.status(t) {
			if st.Script == script && st.Mode == mode {
				return c.get(t, path)
			}
		}
		require.True(t, time.Now().Before(deadline), "%s is not %s: %d %s %+v", path, mode, a.status, a.body, g.status(t))
	}
}

func TestScriptsAreTheirUserInEveryMode(t *testing.T) {
	g := startIdentity(t)
	c := newClient(t, g.url())
	for name := range identityScripts {
		spawned := c.get(t, "/spawn/"+name)
		require.Equal(t, 200, spawned.status, name)
		assert.Regexp(t, `^[(\[]?33,? 33\b`, spawned.body)
		assert.NotContains(t, spawned.body, "root again")
		assert.NotContains(t, spawned.body, "secret")
		assert.Contains(t, spawned.body, "805306368")
		for _, mode := range []string{"warm", "reuse"} {
			a := g.until(t, c, mode, "/"+mode+"/"+name)
			assert.Equal(t, 200, a.status)
			assert.Equal(t, spawned.body, a.body, "%s in mode %s", name, mode)
		}
		assert.Regexp(t, `^[(\[]?65534,? 65534\b`, c.get(t, "/nobody/"+name).body)
		assert.Regexp(t, `^[(\[]?0,? 0\b`, c.get(t, "/gateway/"+name).body, "the gateway itself stays root")

		a := g.until(t, c, "warm", "/private/"+name)
		assert.Equal(t, 200, a.status, "a folder that only the user may enter")
		assert.Regexp(t, `^[(\[]?65534,? 65534\b`, a.body)
		for range 6 { // in auto it would have been tried warm
			a = c.get(t, "/foreign/"+name)
			assert.Equal(t, 502, a.status, "and nobody else")
			assert.NotRegexp(t, `(?m)^[(\[]?33,? 33\b`, a.body)
		}
	}
	for _, script := range g.status(t) {
		if strings.HasPrefix(script.Script, "/foreign/") {
			assert.NotEqual(t, "warm", script.Mode, script.Why)
		}
	}
	assert.Contains(t, g.out.String(), "a folder on the way that may not be entered by user www-data")
}

func TestALimitThatIsHitHasAStatusALogLineAndACounter(t *testing.T) {
	g := startIdentity(t)
	c := newClient(t, g.url())
	for _, mode := range []string{"spawn", "warm", "reuse"} {
		path := "/" + mode + "/who.pl"
		if mode != "spawn" {
			g.until(t, c, mode, path)
		}
		assert.Equal(t, 502, c.get(t, path+"?cpu").status, mode)
		assert.Equal(t, 502, c.get(t, path+"?file").status, mode)
		assert.Equal(t, 502, c.get(t, path+"?memory").status, mode)
		assert.Equal(t, 200, c.get(t, path).status, mode)
		route := fmt.Sprintf("route=%q", "/"+mode+"/")
		require.Eventually(t, func() bool { return g.metric(t, "warmcgi_limit_ends_total", route) == 2 }, patience, 20*time.Millisecond)
		assert.EqualValues(t, 1, g.metric(t, "warmcgi_limit_ends_total", `limit="cpu",`+route))
		assert.EqualValues(t, 1, g.metric(t, "warmcgi_limit_ends_total", `limit="file_size",`+route))
		assert.Regexp(t, `script was ended by a limit".* mode=`+mode+` limits="memory 768MiB, cpu 2s, processes 60, files 200, file_size 4MiB" limit=cpu signal=SIGXCPU`, g.out.String())
		assert.Regexp(t, `script ended with an exit status".* mode=`+mode+` limits="memory 768MiB,.* status=[1-9]`, g.out.String())
	}
	assert.EqualValues(t, 6, g.metric(t, "warmcgi_request_errors_total", `why="limit"`))
	assert.Contains(t, g.out.String(), "no output: over a limit: died of SIGXCPU, as the route has cpu 2s")
	assert.Contains(t, g.out.String(), "Out of memory")
	for _, name := range []string{"who.py", "who.rb"} {
		g.until(t, c, "warm", "/warm/"+name)
		assert.Equal(t, 502, c.get(t, "/warm/"+name+"?cpu").status, name)
		assert.Equal(t, 502, c.get(t, "/warm/"+name+"?memory").status, name)
	}
	for _, st := range g.status(t) {
		assert.NotEqual(t, "spawn", st.Mode, "%s: %s", st.Script, st.Why)
	}
	assert.Zero(t, g.metric(t, "warmcgi_demotions_total", ""))
	assert.Zero(t, g.metric(t, "warmcgi_worker_retries_total", ""))
}

func TestAnotherUsersProcessCannotConnectToAScriptsSocket(t *testing.T) {
	g := startIdentity(t)
	c := newClient(t, g.url())
	g.until(t, c, "warm", "/warm/who.pl")
	sockets, err := filepath.Glob(filepath.Join(g.dir, "warmcgi-*", "s*", "s"))
	require.NoError(t, err)
	var path string
	for _, s := range sockets {
		var st syscall.Stat_t
		if syscall.Stat(s, &st) == nil && st.Uid == 33 {
			path = s
		}
	}
	require.NotEmpty(t, path)
	for uid, says := range map[uint32]string{65534: "Permission denied", 33: "connected"} {
		cmd := exec.Command("/usr/bin/perl", "-MSocket", "-e", `socket S, AF_UNIX, SOCK_STREAM, 0; print connect(S, pack_sockaddr_un(shift)) ? "connected" : $!`, path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: 33}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err)
		assert.Equal(t, says, string(out), "user %d", uid)
	}
	for range 5 {
		assert.Equal(t, 200, c.get(t, "/warm/who.pl").status)
	}
}

func TestSIGKILLOfTheGatewayEndsScriptsOfOtherUsers(t *testing.T) {
	g := startIdentity(t)
	c := newClient(t, g.url())
	g.until(t, c, "warm", "/warm/hang.pl")
	g.until(t, c, "reuse", "/reuse/hang.pl")
	g.owed = true
	for _, path := range []string{"/spawn/hang.pl?1", "/nobody/hang.pl?1", "/warm/hang.pl?1", "/reuse/hang.pl?1"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url(), "http://"))
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	}
	require.Eventually(t, func() bool { return g.metric(t, "warmcgi_processes", "") == 4 }, patience, 10*time.Millisecond)
	below := descendants(g.pid)
	require.GreaterOrEqual(t, len(below), 6, "scripts, warm parents and idle workers")
	syscall.Kill(g.pid, syscall.SIGKILL)
	<-g.gone
	requireNoScripts(t, g.dir, 2*time.Second)
	require.Eventually(t, func() bool {
		for _, pid := range below {
			if alive(pid) {
				return false
			}
		}
		return true
	}, 2*time.Second, 20*time.Millisecond)
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

func TestAGatewayThatIsNotRootSaysSoAndRunsNothing(t *testing.T) {
	needsRoot(t)
	dir := tempDir(t)
	binary, err := plainGateway()
	require.NoError(t, err)
	writeFile(t, filepath.Join(dir, "cgi", "id.sh"), "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; id -u\n", 0o755)
	file := filepath.Join(dir, "gateway.yaml")
	run := func(user string, args ...string) (string, error) {
		writeFile(t, file, "listen: [{http: 127.0.0.1:0}]\nroutes:\n  - path: /\n    cgi: {dir: cgi}\n    user: "+user+"\n", 0o644)
		cmd := exec.Command(binary, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, args := range [][]string{{"check", file}, {"serve", "--config", file}, {"explain", file, "/id.sh"}} {
		out, err := run("www-data", args...)
		assert.Error(t, err, args)
		assert.Contains(t, out, file+":5:11: routes[0].user: the gateway must be root to run scripts as another user (it is user nobody)")
	}
	out, err := run("nobody", "check", file)
	assert.NoError(t, err, out)
	out, err = run("nobody", "run", filepath.Join(dir, "cgi", "id.sh"), "--user", "nobody")
	assert.NoError(t, err, out)
	assert.Contains(t, out, "\n65534\n")
	out, err = run("nobody", "run", filepath.Join(dir, "cgi", "id.sh"), "--user", "root")
	assert.Error(t, err)
	assert.Contains(t, out, "the gateway must be root")
}
