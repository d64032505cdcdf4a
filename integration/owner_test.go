//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Scripts that say who they are, and who and which process has loaded them. (One that asks for its number is not kept warm.)
var ownerScripts = map[string]string{
	"who.pl": `#!/usr/bin/perl
use FindBin; use lib $FindBin::Bin; use Loaded;
print "Content-Type: text/plain\n\n$< $> ", join(' ', sort { $a <=> $b } split ' ', $)), "\nloaded by $Loaded::who ", ($Loaded::pid eq readlink('/proc/self') ? 'itself' : 'its parent'), "\n";
`,
	"Loaded.pm": `package Loaded; our ($who, $pid) = ("$< $> " . join(' ', sort { $a <=> $b } split ' ', $)), readlink '/proc/self'); 1;
`,
	"who.py": `#!/usr/bin/python3
import os
import loaded
print('Content-Type: text/plain\n')
print(loaded.who())
print('loaded by', loaded.at, 'itself' if loaded.pid == os.readlink('/proc/self') else 'its parent')
`,
	"loaded.py": `import os
def who(): return ' '.join(map(str, [os.getuid(), os.geteuid()] + sorted([os.getegid()] + os.getgroups())))
at, pid = who(), os.readlink('/proc/self')
`,
	"who.rb": `#!/usr/bin/ruby
require_relative 'loaded'
print "Content-Type: text/plain\n\n#{WHO.call}\nloaded by #{AT} #{LOADED == File.readlink('/proc/self') ? 'itself' : 'its parent'}\n"
`,
	"loaded.rb": `WHO = -> { [Process.uid, Process.euid, *[Process.egid, *Process.groups].sort].join(' ') }
AT, LOADED = WHO.call, File.readlink('/proc/self')
`,
}

const ownerYAML = `
listen: [{http: 127.0.0.1:0}]
defaults: {timeout: {total: 20s, grace: 500ms}}
routes:
  - {path: /spawn/, cgi: {dir: home}, mode: spawn, user: owner, owner: {min_uid: 1, min_gid: 1}}
  - {path: /limited/, cgi: {dir: home}, mode: spawn, user: owner, owner: {min_uid: 1, min_gid: 1}, limits: {cpu: 5s}}
  - {path: /warm/, cgi: {dir: home}, mode: warm, user: owner, owner: {min_uid: 1, min_gid: 1}}
  - {path: /reuse/, cgi: {dir: home}, mode: reuse, user: owner, owner: {min_uid: 1, min_gid: 1}, limits: {cpu: 5s}}
  - {path: /files/, files: {root: home, scripts: [.pl, .py, .rb]}, mode: spawn, user: owner, owner: {min_uid: 1, min_gid: 1}}
  - {path: /floor/, cgi: {dir: home}, mode: warm, user: owner}
  - {path: /group/, cgi: {dir: home}, mode: warm, user: www-data, group: daemon}
`

// home gives a user of the system the scripts.
func home(t *testing.T, dir, name string) {
	t.Helper()
	for file, text := range ownerScripts {
		path := filepath.Join(dir, file)
		writeFile(t, path, text, 0o755)
		giveTo(t, name, path)
	}
	require.NoError(t, os.Chmod(dir, 0o755))
	giveTo(t, name, dir)
}

func giveTo(t *testing.T, name, path string) {
	t.Helper()
	u, err := user.Lookup(name)
	require.NoError(t, err)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	require.NoError(t, os.Chown(path, uid, gid))
}

func startOwners(t *testing.T) *gateway {
	t.Helper()
	needsRoot(t)
	needs(t, "perl", "python3", "ruby")
	dir := tempDir(t)
	for _, name := range []string{"www-data", "games"} {
		home(t, filepath.Join(dir, "home", name), name)
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "home"), 0o755))
	return startGatewayAs(t, dir, ownerYAML, how{env: []string{"TMPDIR=" + dir}})
}

// logs waits until the gateway has written something.
func (g *gateway) logs(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(g.out.String(), text) }, patience, 10*time.Millisecond, text)
}

// ownerModes are the routes, and the mode in which a script of each ends up.
var ownerModes = []struct{ route, mode, loadedBy string }{
	{"spawn", "spawn", "itself"}, {"limited", "spawn", "itself"}, {"files", "spawn", "itself"}, {"warm", "warm", "its parent"}, {"reuse", "reuse", "its parent"},
}

func (g *gateway) inMode(t *testing.T, c *client, mode, path string) answer {
	if mode == "spawn" {
		return c.get(t, path)
	}
	return g.until(t, c, mode, path)
}

func TestAScriptIsItsOwnerInEveryModeFromItsFirstLineOn(t *testing.T) {
	g := startOwners(t)
	c := newClient(t, g.url())
	for name, who := range map[string]string{"www-data": "33 33 33 33", "games": "5 5 60 60"} {
		for _, script := range []string{"who.pl", "who.py", "who.rb"} {
			for _, m := range ownerModes {
				a := g.inMode(t, c, m.mode, "/"+m.route+"/"+name+"/"+script)
				assert.Equal(t, 200, a.status)
				loadedBy := m.loadedBy
				if script == "who.rb" && m.mode == "warm" {
					loadedBy = "itself" // Ruby's warm parent loads libraries only
				}
				assert.Equal(t, fmt.Sprintf("%s\nloaded by %s %s\n", who, who, loadedBy), a.body, "%s of %s at /%s/", script, name, m.route)
			}
		}
	}
	assert.Zero(t, g.metric(t, "warmcgi_owner_refusals_total", ""))
	a := g.until(t, c, "warm", "/group/www-data/who.pl")
	assert.Regexp(t, `^33 33 1 33\nloaded by 33 33 1 33 its parent`, a.body, "another primary group")
}

func TestAScriptThatGetsAnotherOwnerGetsAnotherWarmParent(t *testing.T) {
	g := startOwners(t)
	c := newClient(t, g.url())
	for _, script := range []string{"who.pl", "who.py", "who.rb"} {
		for _, m := range ownerModes {
			path, dir := "/"+m.route+"/www-data/"+script, filepath.Join(g.dir, "home", "www-data")
			require.Regexp(t, "^33 33 ", g.inMode(t, c, m.mode, path).body)
			home(t, dir, "games")
			// Never again as the old one, and not as anybody while it is neither's.
			a := c.get(t, path)
			require.Regexp(t, `^5 5 60 60\nloaded by 5 5 60 60 `, a.body, path)
			if m.loadedBy == "its parent" && (script != "who.rb" || m.mode != "warm") {
				require.Eventually(t, func() bool {
					return c.get(t, path).body == "5 5 60 60\nloaded by 5 5 60 60 its parent\n"
				}, patience, 20*time.Millisecond, path)
			}
			giveTo(t, "www-data", dir)
			assert.Equal(t, 500, c.get(t, path).status, path)
			home(t, dir, "www-data")
		}
	}
}

func TestAScriptThatItsOwnerIsNotAloneWithIsRefusedInEveryMode(t *testing.T) {
	g := startOwners(t)
	c := newClient(t, g.url())
	dir := filepath.Join(g.dir, "home", "games")
	script := filepath.Join(dir, "who.pl")
	chmod := func(path string, mode os.FileMode) func(*testing.T) {
		return func(t *testing.T) { require.NoError(t, os.Chmod(path, mode)) }
	}
	refusals := 0
	for _, m := range ownerModes {
		path := "/" + m.route + "/games/who.pl"
		require.Equal(t, 200, g.inMode(t, c, m.mode, path).status)
		for _, r := range []struct {
			spoil func(t *testing.T)
			why   string
		}{
			{chmod(script, 0o775), "writable"},
			{chmod(dir, 0o777), "writable"},
			{chmod(filepath.Dir(dir), 0o777), "writable"},
			{chmod(script, 0o755|os.ModeSetuid), "setuid"},
			{func(t *testing.T) { require.NoError(t, os.Chown(script, 0, 0)) }, "user"},
			{func(t *testing.T) { giveTo(t, "www-data", script) }, "folder"},
			{func(t *testing.T) { require.NoError(t, os.Chown(script, 5, 1)) }, "group"},
		} {
			label := fmt.Sprintf("route=%q,why=%q", "/"+m.route+"/", r.why)
			before := g.metric(t, "warmcgi_owner_refusals_total", label)
			r.spoil(t)
			a := c.get(t, path)
			assert.Equal(t, 500, a.status, "%s %s", path, r.why)
			assert.NotContains(t, a.body, g.dir, "the client is told no paths")
			assert.Equal(t, before+1, g.metric(t, "warmcgi_owner_refusals_total", label))
			refusals++
			home(t, dir, "games")
			require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
			require.Equal(t, 200, c.get(t, path).status, "put right")
		}
	}
	assert.EqualValues(t, refusals, g.metric(t, "warmcgi_request_errors_total", `why="owner"`))
	g.logs(t, "script is not run as its owner: "+script+" is setuid or setgid")

	assert.Equal(t, 500, c.get(t, "/floor/games/who.pl").status)
	g.logs(t, "belongs to user 5, the lowest is 1000 (owner.min_uid)")
	require.NoError(t, os.Remove(script))
	require.NoError(t, os.Symlink(filepath.Join(filepath.Dir(dir), "www-data", "who.pl"), script))
	assert.Equal(t, 500, c.get(t, "/spawn/games/who.pl").status, "games could have the link lead to any script of www-data's")
	require.NoError(t, os.Symlink(filepath.Join("www-data", "who.py"), filepath.Join(filepath.Dir(dir), "who.py")))
	assert.Regexp(t, "^33 33 ", c.get(t, "/spawn/who.py").body, "root's link; whose file it is counts")
	require.NoError(t, os.Remove(script))
	assert.Equal(t, 404, c.get(t, "/spawn/games/who.pl").status)
}

func TestAReloadLeavesTheWarmParentsOfOwners(t *testing.T) {
	g := startOwners(t)
	c := newClient(t, g.url())
	pools := func(path string) (parents []int) {
		for _, st := range g.status(t) {
			if st.Script == path {
				parents = append(parents, st.Parent)
			}
		}
		return parents
	}
	reload := func(text string, n int) {
		writeFile(t, filepath.Join(g.dir, "gateway.yaml"), text, 0o644)
		require.NoError(t, syscall.Kill(g.pid, syscall.SIGHUP))
		require.Eventually(t, func() bool {
			return strings.Count(g.out.String(), `msg="the configuration was taken"`) == n
		}, patience, 10*time.Millisecond)
	}
	const path = "/warm/games/who.pl"
	g.until(t, c, "warm", path)
	was := pools(path)
	require.Len(t, was, 1)
	require.NotZero(t, was[0])
	before, err := os.ReadFile(filepath.Join(g.dir, "gateway.yaml"))
	require.NoError(t, err)
	text := string(before)

	reload(strings.Replace(text, "routes:\n", "routes:\n  - {path: /new/, cgi: {dir: home}, mode: spawn, user: games}\n", 1), 1)
	assert.Regexp(t, "^5 5 ", c.get(t, "/new/games/who.pl").body)
	assert.Regexp(t, "^5 5 ", c.get(t, path).body)
	assert.Equal(t, was, pools(path), "the same parent, and no other pool")

	strict := strings.Replace(text, "mode: warm, user: owner, owner: {min_uid: 1,", "mode: warm, user: owner, owner: {min_uid: 30,", 1)
	require.NotEqual(t, text, strict)
	reload(strict, 2)
	assert.Equal(t, 500, c.get(t, path).status, "the new policy holds")
	assert.Regexp(t, "^33 33 ", c.get(t, "/warm/www-data/who.pl").body)
}
