//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Scripts that try what the query names: read=FILE, write=FILE, tmp, connect=PORT, setuid, list=FOLDER.
var sandboxScripts = map[string]string{
	"try.pl": `#!/usr/bin/perl
# cgi: reuse
use strict; use warnings; use Socket;
my ($verb, $what) = split /=/, $ENV{QUERY_STRING}, 2; my $f;
my $ok = 0;
if ($verb eq 'read') { $ok = open $f, '<', $what }
elsif ($verb eq 'write') { $ok = open $f, '>', $what }
elsif ($verb eq 'cut') { $ok = truncate $what, 0 }
elsif ($verb eq 'list') { $ok = opendir my($d), $what }
elsif ($verb eq 'fill') { $ok = open $f, '>', $what; $ok &&= (syswrite $f, 'x' x 65536) || 0 for 1 .. 32 }
elsif ($verb eq 'connect') { socket my($s), PF_INET, SOCK_STREAM, 0; $ok = connect $s, sockaddr_in($what, INADDR_LOOPBACK) }
elsif ($verb eq 'setuid') { $ok = (qx($what) // '') =~ /^0$/m }
print "Content-Type: text/plain\n\n", $ok ? 'yes' : 'no';
`,
	"try.py": `#!/usr/bin/python3
# cgi: reuse
import os, socket, subprocess
verb, _, what = os.environ['QUERY_STRING'].partition('=')
ok = True
try:
    if verb == 'read': open(what).close()
    elif verb == 'write': open(what, 'w').close()
    elif verb == 'cut': os.truncate(what, 0)
    elif verb == 'list': os.listdir(what)
    elif verb == 'fill':
        with open(what, 'w') as f: f.write('x' * 65536 * 32)
    elif verb == 'connect': socket.create_connection(('127.0.0.1', int(what))).close()
    elif verb == 'setuid': ok = subprocess.run([what], capture_output=True, text=True).stdout == '0\n'
except OSError:
    ok = False
print('Content-Type: text/plain\n')
print('yes' if ok else 'no', end='')
`,
	"try.rb": `#!/usr/bin/ruby
# cgi: reuse
require 'socket'
verb, what = ENV['QUERY_STRING'].split('=', 2)
ok = begin
  case verb
  when 'read' then File.open(what).close
  when 'write' then File.open(what, 'w').close
  when 'cut' then File.truncate(what, 0)
  when 'list' then Dir.children(what)
  when 'fill' then File.write(what, 'x' * 65536 * 32)
  when 'connect' then TCPSocket.new('127.0.0.1', what.to_i).close
  when 'setuid' then raise Errno::EPERM unless IO.popen([what], &:read) == "0\n"
  end
  true
rescue SystemCallError
  false
end
print "Content-Type: text/plain\n\n#{ok ? 'yes' : 'no'}"
`,
}

const sandboxYAML = `
listen: [{http: 127.0.0.1:0}]
defaults: {timeout: {total: 20s, grace: 500ms}}
routes:
  - {path: /open/, cgi: {dir: cgi}, mode: spawn, user: www-data}
  - {path: /spawn/, cgi: {dir: cgi}, mode: spawn, user: www-data, sandbox: &s {read: [readable], write: [data], private_tmp: 1MiB, private_network: true}}
  - {path: /limited/, cgi: {dir: cgi}, mode: spawn, user: www-data, limits: {cpu: 10s}, sandbox: *s}
  - {path: /warm/, cgi: {dir: cgi}, mode: warm, user: www-data, sandbox: *s}
  - {path: /warmlimited/, cgi: {dir: cgi}, mode: warm, user: www-data, limits: {cpu: 10s}, sandbox: *s}
  - {path: /reuse/, cgi: {dir: cgi}, mode: reuse, user: www-data, sandbox: *s}
  - {path: /root/, cgi: {dir: cgi}, mode: warm, sandbox: *s}
  - {path: /bare/, cgi: {dir: cgi}, mode: spawn, user: www-data, sandbox: {}}
  - {path: /setuid/, cgi: {dir: cgi}, mode: spawn, user: www-data, sandbox: {no_new_privs: false, private_tmp: 1MiB}}
`

// sandboxSite is a folder with the scripts, and with one that they may read, one that they may write to, and others.
func sandboxSite(t *testing.T) (dir string) {
	t.Helper()
	dir = tempDir(t)
	require.NoError(t, os.Chmod(dir, 0o755))
	for name, text := range sandboxScripts {
		writeFile(t, filepath.Join(dir, "cgi", name), text, 0o755)
	}
	for _, folder := range []string{"readable", "data", "other"} {
		writeFile(t, filepath.Join(dir, folder, "file"), "text", 0o666)
		require.NoError(t, os.Chmod(filepath.Join(dir, folder), 0o777))
		require.NoError(t, os.Chmod(filepath.Join(dir, folder, "file"), 0o666))
	}
	return dir
}

func TestAScriptInASandboxHasOnlyWhatItIsGiven(t *testing.T) {
	needsRoot(t)
	needs(t, "perl", "python3", "ruby", "gcc")
	dir := sandboxSite(t)
	setuid := filepath.Join(dir, "readable", "whoami")
	writeFile(t, setuid+".c", "#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf(\"%d\\n\", geteuid()); return 0; }\n", 0o644)
	out, err := exec.Command("gcc", "-o", setuid, setuid+".c").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Chmod(setuid, 0o755|os.ModeSetuid))
	outside := filepath.Join("/var/tmp", filepath.Base(dir))
	require.NoError(t, os.WriteFile(outside, nil, 0o644))
	t.Cleanup(func() { os.Remove(outside) })

	g := startGatewayAs(t, dir, sandboxYAML, how{})
	c := newClient(t, g.url())
	port := g.url()[strings.LastIndex(g.url(), ":")+1:]
	in, mark := func(name string) string { return filepath.Join(dir, name) }, "mark-"+filepath.Base(dir)
	for query, want := range map[string]struct{ open, sandboxed, root string }{
		"read=" + in("cgi/try.pl"):        {"yes", "yes", "yes"}, // its own folder
		"write=" + in("cgi/new"):          {"no", "no", "no"},    // by Landlock for root, too
		"read=" + in("readable/file"):     {"yes", "yes", "yes"},
		"write=" + in("readable/file"):    {"yes", "no", "no"},
		"cut=" + in("readable/file"):      {"yes", "no", "no"},
		"read=" + in("other/file"):        {"yes", "no", "no"}, // it is not even there, in the new /tmp
		"write=" + in("data/new"):         {"yes", "yes", "yes"},
		"read=/etc/passwd":                {"yes", "yes", "yes"},
		"read=/var/lib/dpkg/status":       {"yes", "no", "no"},
		"read=/etc/shadow":                {"no", "no", "yes"},
		"list=/":                          {"yes", "no", "no"},
		"read=" + outside:                 {"yes", "no", "no"},
		"write=/dev/shm/" + mark:          {"yes", "no", "no"},
		"write=/tmp/" + mark:              {"yes", "yes", "yes"},
		"fill=/tmp/" + mark:               {"yes", "no", "no"}, // 2 MiB into 1
		"connect=" + port:                 {"yes", "no", "no"},
		"setuid=" + in("readable/whoami"): {"yes", "no", "yes"},
	} {
		for script := range sandboxScripts {
			ask := func(route string) string {
				a := c.get(t, "/"+route+"/"+script+"?"+query)
				return fmt.Sprint(a.status, " ", a.body)
			}
			assert.Equal(t, "200 "+want.open, ask("open"), "%s %s", script, query)
			for _, route := range []string{"spawn", "limited"} {
				assert.Equal(t, "200 "+want.sandboxed, ask(route), "%s %s %s", route, script, query)
			}
			for route, mode := range map[string]string{"warm": "warm", "warmlimited": "warm", "reuse": "reuse"} {
				assert.Equal(t, want.sandboxed, g.until(t, c, mode, "/"+route+"/"+script+"?"+query).body, "%s %s %s", route, script, query)
			}
			assert.Equal(t, want.root, g.until(t, c, "warm", "/root/"+script+"?"+query).body, "root %s %s", script, query)
		}
	}
	for _, name := range []string{"/dev/shm/" + mark, "/tmp/" + mark} {
		assert.NoError(t, os.Remove(name), "the route without a sandbox made it")
	}
	assert.Equal(t, "no", c.get(t, "/bare/try.pl?setuid="+setuid).body, "no_new_privs is what a sandbox has at least")
	assert.Equal(t, "yes", c.get(t, "/bare/try.pl?read="+in("other/file")).body)
	assert.Equal(t, "yes", c.get(t, "/setuid/try.pl?write=/tmp/"+mark).body)
	assert.NoFileExists(t, "/tmp/"+mark)
}

func TestEachSpawnedProcessHasATmpOfItsOwnAndWorkersThatOfTheirParent(t *testing.T) {
	needsRoot(t)
	g := startGatewayAs(t, sandboxSite(t), sandboxYAML, how{})
	c := newClient(t, g.url())
	mark := "/tmp/mark-" + filepath.Base(g.dir)
	t.Cleanup(func() { os.Remove(mark) })
	require.Equal(t, "yes", c.get(t, "/spawn/try.pl?write="+mark).body)
	assert.Equal(t, "no", c.get(t, "/spawn/try.pl?read="+mark).body)
	require.Equal(t, "yes", g.until(t, c, "warm", "/warm/try.pl?write="+mark).body)
	assert.Equal(t, "yes", c.get(t, "/warm/try.pl?read="+mark).body)
	assert.Equal(t, "no", g.until(t, c, "warm", "/warm/try.py?read="+mark).body, "another script's")
	assert.NoFileExists(t, mark)
}

func TestAGatewayThatIsNotRootHasTheSandboxThatNeedsNoRoot(t *testing.T) {
	needsRoot(t) // to be another user
	dir := sandboxSite(t)
	binary, err := raceGateway()
	require.NoError(t, err)
	conf := func(sandbox string) string {
		file := filepath.Join(dir, "gateway.yaml")
		writeFile(t, file, "listen: [{http: 127.0.0.1:0}]\nroutes: [{path: /cgi/, cgi: {dir: cgi}, mode: auto, sandbox: "+sandbox+"}]\n", 0o644)
		return file
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command(binary, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "HOME=/")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for sandbox, says := range map[string]string{
		"{private_tmp: 1MiB}":     "private_tmp and private_network need a gateway that is root",
		"{private_network: true}": "private_tmp and private_network need a gateway that is root",
	} {
		out, err := run("check", conf(sandbox))
		assert.Error(t, err)
		assert.Contains(t, out, "routes[0].sandbox: no sandbox: "+says)
	}
	out, err := run("check", conf("{read: [], write: [data]}"))
	require.NoError(t, err, out)

	setpriv, err := exec.LookPath("setpriv")
	require.NoError(t, err)
	g := startGatewayAs(t, dir, `
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /spawn/, cgi: {dir: cgi}, mode: spawn, sandbox: {read: [], write: [data]}}
  - {path: /warm/, cgi: {dir: cgi}, mode: warm, sandbox: {read: [], write: [data]}}
`, how{via: []string{setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"}})
	c := newClient(t, g.url())
	for _, m := range []string{"spawn", "warm"} {
		for script := range sandboxScripts {
			for query, want := range map[string]string{
				"read=" + dir + "/other/file": "no", "write=" + dir + "/data/file": "yes", "write=/tmp/warmcgi-none": "no", "read=/etc/passwd": "yes",
			} {
				assert.Equal(t, want, g.inMode(t, c, m, "/"+m+"/"+script+"?"+query).body, "%s %s %s", m, script, query)
			}
		}
	}
}

func TestASandboxThatCanNotBeIsSaidBeforeItIsServed(t *testing.T) {
	dir := sandboxSite(t)
	binary, err := raceGateway()
	require.NoError(t, err)
	file := filepath.Join(dir, "gateway.yaml")
	for sandbox, says := range map[string]string{
		"{no_new_privs: false, read: []}": "routes[0].sandbox.no_new_privs: must be true where there is read or write",
		"{read: [none]}":                  "routes[0].sandbox.read[0]: " + dir + "/none: no such file or directory",
		"{private_tmp: some}":             "routes[0].sandbox.private_tmp",
		"{reed: []}":                      "routes[0].sandbox.reed",
	} {
		writeFile(t, file, "listen: [{http: 127.0.0.1:0}]\nroutes: [{path: /cgi/, cgi: {dir: cgi}, sandbox: "+sandbox+"}]\n", 0o644)
		out, err := exec.Command(binary, "check", file).CombinedOutput()
		assert.Error(t, err, sandbox)
		assert.Contains(t, string(out), says)
	}
	writeFile(t, file, "listen: [{http: 127.0.0.1:0}]\nroutes: [{path: /files/, files: {root: data}, sandbox: {}}]\n", 0o644)
	out, err := exec.Command(binary, "check", file).CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "the route starts no script")
}
