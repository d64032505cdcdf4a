//go:build linux

package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const gitYAML = `
listen:
  - http: 127.0.0.1:0
routes:
  - path: /git
    cgi: {program: /usr/lib/git-core/git-http-backend}
    env: {GIT_PROJECT_ROOT: @DIR@/git, GIT_HTTP_EXPORT_ALL: "1"}
  - path: /private
    cgi: {program: /usr/lib/git-core/git-http-backend}
    env: {GIT_PROJECT_ROOT: @DIR@/git, GIT_HTTP_EXPORT_ALL: "1"}
    auth: {basic: {realm: git, htpasswd: @DIR@/htpasswd}}
`

// newGit serves the museum, and open.git into which everybody may push.
func newGit(t *testing.T, dir string) *museum {
	t.Helper()
	m := newMuseum(t, dir)
	git(t, dir, "init", "-q", "--bare", "-b", "main", filepath.Join(m.root, "open.git"))
	git(t, filepath.Join(m.root, "open.git"), "config", "http.receivepack", "true")
	writeFile(t, filepath.Join(dir, "htpasswd"), apr1(t, "alice", "wonder"), 0o644)
	return m
}

// apr1 is a line for an htpasswd file.
func apr1(t *testing.T, user, password string) string {
	t.Helper()
	needs(t, "openssl")
	out, err := exec.Command("openssl", "passwd", "-apr1", "-salt", "warmcgi0", password).Output()
	require.NoError(t, err, "openssl")
	return user + ":" + string(out)
}

// gitTrace runs git and returns what its HTTP client says, head by head.
func gitTrace(t *testing.T, dir string, args ...string) string {
	t.Helper()
	file := filepath.Join(dir, fmt.Sprintf("trace-%d", time.Now().UnixNano()))
	cmd := gitIn(t, dir, args...)
	cmd.Env = append(cmd.Env, "GIT_TRACE_CURL="+file, "GIT_TRACE_CURL_NO_DATA=1", "GIT_TRACE_PACKET="+file)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %s: %s", strings.Join(args, " "), out)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(b)
}

// bigCommit makes a repository with n octets in it that do not compress.
func bigCommit(t *testing.T, dir string, n int) (work, id string) {
	t.Helper()
	work = filepath.Join(dir, "big-work")
	require.NoError(t, os.MkdirAll(work, 0o755))
	git(t, work, "init", "-q", "-b", "main")
	for i := range 4 {
		writeFile(t, filepath.Join(work, fmt.Sprintf("big%d.bin", i)), randomText(uint64(i)+7, n/4), 0o644)
	}
	git(t, work, "add", ".")
	git(t, work, "commit", "-q", "-m", "Something big")
	return work, git(t, work, "rev-parse", "HEAD")
}

// assertClones clones, and compares what has come with what is there.
func assertClones(t *testing.T, dir, url, want string, flags ...string) string {
	t.Helper()
	clone, err := os.MkdirTemp(dir, "clone-")
	require.NoError(t, err)
	git(t, dir, append(append([]string{"clone", "-q"}, flags...), url, clone)...)
	git(t, clone, "fsck", "--full", "--strict")
	assert.Equal(t, want, git(t, clone, "rev-parse", "HEAD"))
	return clone
}

// treeOf is the hash of all files of a commit.
func treeOf(t *testing.T, dir, rev string) string { return git(t, dir, "rev-parse", rev+"^{tree}") }

func TestGitClonesWithEveryProtocol(t *testing.T) {
	dir := tempDir(t)
	m := newGit(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(gitYAML, "@DIR@", dir))
	url, now := g.url()+"/git/museum.git", m.commit["now"]

	for _, v := range []string{"0", "1", "2"} {
		clone := assertClones(t, dir, url, now, "-c", "protocol.version="+v)
		assert.Equal(t, treeOf(t, filepath.Join(m.root, "museum.git"), "HEAD"), treeOf(t, clone, "HEAD"), "protocol %s", v)
		assert.Equal(t, m.commit["side"], git(t, clone, "rev-parse", "origin/side/wing"))
		assert.Equal(t, "Grüße aus dem Museum ☃\n<b>&amp;</b>", git(t, clone, "show", "HEAD:"+museumPage))
	}
	trace := gitTrace(t, dir, "-c", "protocol.version=2", "ls-remote", url)
	assert.Contains(t, trace, "packet:          git< version 2", "GIT_PROTOCOL has to reach git http-backend")
	assert.NotContains(t, gitTrace(t, dir, "-c", "protocol.version=0", "ls-remote", url), "version 2")

	// The protocol of a plain web server: files, one by one.
	git(t, filepath.Join(m.root, "museum.git"), "update-server-info")
	dumb := filepath.Join(dir, "dumb")
	cmd := gitIn(t, dir, "clone", "-q", url, dumb)
	cmd.Env = append(cmd.Env, "GIT_SMART_HTTP=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	git(t, dumb, "fsck", "--full")
	assert.Equal(t, now, git(t, dumb, "rev-parse", "HEAD"))
}

func TestGitFetchesMoreIntoAShallowClone(t *testing.T) {
	dir := tempDir(t)
	m := newGit(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(gitYAML, "@DIR@", dir))
	url := g.url() + "/git/museum.git"

	clone := assertClones(t, dir, url, m.commit["now"], "--depth", "1")
	assert.Equal(t, "1", git(t, clone, "rev-list", "--count", "HEAD"))
	git(t, clone, "fetch", "-q", "--deepen", "3")
	assert.Equal(t, "4", git(t, clone, "rev-list", "--count", "HEAD"))
	git(t, clone, "fetch", "-q", "--unshallow")
	assert.Equal(t, git(t, filepath.Join(m.root, "museum.git"), "rev-list", "--count", "HEAD"), git(t, clone, "rev-list", "--count", "HEAD"))
	git(t, clone, "fsck", "--full")
}

func TestGitPushesMuchInChunks(t *testing.T) {
	dir := tempDir(t)
	m := newGit(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(gitYAML, "@DIR@", dir))
	assertPushes(t, dir, m, g.url()+"/git/open.git")
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
}

// assertPushes pushes 20 MB in chunks to url, which is open.git, and clones it again.
func assertPushes(t *testing.T, dir string, m *museum, url string) {
	t.Helper()
	work, id := bigCommit(t, dir, 20<<20)
	trace := gitTrace(t, work, "-c", "http.postBuffer=65536", "push", "-q", url, "main")
	assert.Contains(t, strings.ToLower(trace), "transfer-encoding: chunked")

	bare := filepath.Join(m.root, "open.git")
	git(t, bare, "fsck", "--full", "--strict")
	assert.Equal(t, id, git(t, bare, "rev-parse", "main"))
	clone := assertClones(t, dir, url, id)
	assert.Equal(t, treeOf(t, work, "HEAD"), treeOf(t, clone, "HEAD"))
}

func TestGitSendsCompressedRequests(t *testing.T) {
	dir := tempDir(t)
	m := newGit(t, dir)
	bare := filepath.Join(m.root, "museum.git")
	for i := range 60 { // as many wants make a request of more than 1 KiB, which git compresses
		id := git(t, bare, "commit-tree", "-p", m.commit["now"], "-m", fmt.Sprintf("branch %d", i), treeOf(t, bare, "main"))
		git(t, bare, "update-ref", fmt.Sprintf("refs/heads/many/%d", i), id)
	}
	g := startGateway(t, dir, strings.ReplaceAll(gitYAML, "@DIR@", dir))
	for _, v := range []string{"0", "2"} {
		clone := filepath.Join(dir, "clone"+v)
		trace := gitTrace(t, dir, "-c", "protocol.version="+v, "clone", "-q", g.url()+"/git/museum.git", clone)
		assert.Contains(t, strings.ToLower(trace), "content-encoding: gzip", "protocol %s", v)
		git(t, clone, "fsck", "--full")
		assert.Equal(t, "62", git(t, clone, "rev-list", "--count", "--no-walk", "--remotes"), "branches")
	}
}

func TestGitIsRefusedAPushThatIsNotAllowed(t *testing.T) {
	dir := tempDir(t)
	m := newGit(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(gitYAML, "@DIR@", dir))
	clone := assertClones(t, dir, g.url()+"/git/museum.git", m.commit["now"])
	git(t, clone, "commit", "-q", "--allow-empty", "-m", "mine")

	out, err := gitIn(t, clone, "push", "origin", "main").CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "403")
	assert.Equal(t, m.commit["now"], git(t, filepath.Join(m.root, "museum.git"), "rev-parse", "main"))
}

func TestGitPushesUnderTheNameOfWhoLoggedIn(t *testing.T) {
	dir := tempDir(t)
	m := newGit(t, dir)
	note := filepath.Join(dir, "pushed-by")
	writeFile(t, filepath.Join(m.root, "museum.git", "hooks", "post-receive"),
		"#!/bin/sh\necho \"$REMOTE_USER $AUTH_TYPE $(cat)\" >"+note+"\necho \"thank you, $REMOTE_USER\"\n", 0o755)
	g := startGateway(t, dir, strings.ReplaceAll(gitYAML, "@DIR@", dir))

	_, err := gitIn(t, dir, "clone", "-q", g.url()+"/private/museum.git", filepath.Join(dir, "nobody")).CombinedOutput()
	assert.Error(t, err, "a clone without a password")
	withPassword := strings.Replace(g.url(), "http://", "http://alice:wonder@", 1) + "/private/museum.git"
	clone := assertClones(t, dir, withPassword, m.commit["now"])
	git(t, clone, "commit", "-q", "--allow-empty", "-m", "alice's")
	out := git(t, clone, "push", "origin", "main")
	assert.Contains(t, out, "remote: thank you, alice")
	b, err := os.ReadFile(note)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("alice Basic %s %s refs/heads/main\n", m.commit["now"], git(t, clone, "rev-parse", "HEAD")), string(b))
}

// throttle passes connections on to addr, and holds back what comes from there behind
// the first n octets.
func throttle(t *testing.T, addr string, n int64) (at string, held *atomic.Bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	held = &atomic.Bool{}
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			go func() { // ends with the client
				io.Copy(out, in)
				out.Close()
				in.Close()
			}()
			go func() { // ends with the answer, or stops reading
				if m, _ := io.CopyN(in, out, n); m == n {
					held.Store(true)
				} else {
					in.Close()
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), held
}

func TestGitLeavesNoProcessBehindAnAbortedClone(t *testing.T) {
	dir := tempDir(t)
	m := newGit(t, dir)
	work, _ := bigCommit(t, dir, 30<<20)
	git(t, work, "push", "-q", filepath.Join(m.root, "open.git"), "main")
	g := startGateway(t, dir, strings.ReplaceAll(gitYAML, "@DIR@", dir))
	fds := descriptors(t, g.pid)

	at, held := throttle(t, strings.TrimPrefix(g.url(), "http://"), 1<<20)
	cmd := gitIn(t, dir, "clone", "-q", "http://"+at+"/git/open.git", filepath.Join(dir, "never"))
	client := startServer(t, "git clone", cmd)
	require.Eventually(t, held.Load, patience, 10*time.Millisecond, "the clone has not begun")
	require.NotEmpty(t, scriptsIn(dir), "git runs while the client is slow")
	client.kill()

	requireNoScripts(t, dir, 6*time.Second) // a write, and the grace of 2 s
	require.Eventually(t, func() bool { return len(children(g.pid)) == 0 && descriptors(t, g.pid) <= fds }, patience, 20*time.Millisecond,
		"children: %v, descriptors: %d of %d", children(g.pid), descriptors(t, g.pid), fds)
	assert.Equal(t, 1.0, g.metric(t, "warmcgi_kills_total", `reason="disconnect"`))
	assert.Equal(t, http.StatusOK, newClient(t, g.url()).get(t, "/git/open.git/HEAD").status)
}
