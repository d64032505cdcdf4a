package gateway

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// as asks for a path as somebody.
func (g *testGateway) as(user, password, path string) *answer {
	g.t.Helper()
	r := g.request("GET", path, nil)
	r.SetBasicAuth(user, password)
	return g.do(r)
}

// guarded is a site with testdata/htpasswd in front of its scripts.
func guarded(t testing.TB, more string) *testGateway {
	t.Helper()
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(t, err)
	s := newSite(t)
	s.write("htpasswd", string(b))
	s.script("cgi-bin/p", hello, "env")
	return s.serve(`
routes:
  - path: /open/
    cgi: {dir: cgi-bin}
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
    auth: {basic: {realm: a "place", htpasswd: htpasswd}}
` + more)
}

func TestWhoHasNoPasswordIsAskedForOne(t *testing.T) {
	g := guarded(t, "")
	a := g.get("/cgi-bin/p")
	assert.Equal(t, 401, a.StatusCode)
	assert.Equal(t, `Basic realm="a \"place\"", charset="UTF-8"`, a.Header.Get("WWW-Authenticate"))
	assert.Equal(t, 200, g.get("/open/p").StatusCode)
	assert.Equal(t, 401, g.get("/cgi-bin/none").StatusCode, "whoever is not in does not hear what is there")
	for _, field := range []string{
		"", "Basic", "Basic ", "Basic !!!", "Basic Og==", "Basic YQ==", "Bearer x", "Digest username=\"bcrypt\"", "basic", "Negotiate abc",
	} {
		assert.Equal(t, 401, g.get("/cgi-bin/p", "Authorization", field).StatusCode, field)
	}
}

func TestPasswordsOfEachKindOfHash(t *testing.T) {
	g := guarded(t, "")
	for _, user := range []string{"bcrypt", "sha", "apr1", "openssl", "sha512"} {
		assert.Equal(t, user, g.as(user, "secret of "+user, "/cgi-bin/p").variables(t)["REMOTE_USER"])
		for _, password := range []string{"", "secret", "secret of " + user + "x", "Secret of " + user, "secret of " + user + "\x00"} {
			assert.Equal(t, 401, g.as(user, password, "/cgi-bin/p").StatusCode, "%s %q", user, password)
		}
	}
	assert.Equal(t, "umläut", g.as("umläut", "secret of umläut: yes", "/cgi-bin/p").variables(t)["REMOTE_USER"])
	for _, user := range []string{"", "nobody", "Bcrypt", "bcrypt ", "# Made by htpasswd -B, -s and -m, openssl passwd -apr1 and -6, htpasswd -d and crypt(3). The password of NAME is \"secret of NAME\".", "a line without a colon"} {
		assert.Equal(t, 401, g.as(user, "secret of bcrypt", "/cgi-bin/p").StatusCode, user)
		assert.Equal(t, 401, g.as(user, "", "/cgi-bin/p").StatusCode, user)
	}
}

// Whoever has read the file must not be let in by what stands there.
func TestAHashIsNoPassword(t *testing.T) {
	g := guarded(t, "")
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		user, hash, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok {
			assert.Equal(t, 401, g.as(user, hash, "/cgi-bin/p").StatusCode, line)
		}
	}
}

func TestScriptsHearWhoHasLoggedInButNotThePassword(t *testing.T) {
	g := guarded(t, `
  - path: /pass/
    cgi: {dir: cgi-bin}
    auth: {basic: {htpasswd: htpasswd}}
    authorization: pass
  - path: /own/
    cgi: {dir: cgi-bin}
    authorization: pass
`)
	v := g.as("sha", "secret of sha", "/cgi-bin/p").variables(t)
	assert.Equal(t, "Basic", v["AUTH_TYPE"])
	assert.Equal(t, "sha", v["REMOTE_USER"])
	assert.NotContains(t, v, "HTTP_AUTHORIZATION")

	v = g.as("sha", "secret of sha", "/pass/p").variables(t)
	assert.Equal(t, "sha", v["REMOTE_USER"])
	assert.Regexp(t, "^Basic ", v["HTTP_AUTHORIZATION"])

	v = g.as("anybody", "anything", "/own/p").variables(t)
	assert.Regexp(t, "^Basic ", v["HTTP_AUTHORIZATION"], "a script that checks by itself")
	assert.NotContains(t, v, "REMOTE_USER")
	assert.NotContains(t, v, "AUTH_TYPE")

	v = g.as("anybody", "anything", "/open/p").variables(t)
	assert.NotContains(t, v, "HTTP_AUTHORIZATION")
	assert.NotContains(t, v, "REMOTE_USER")
	v = g.get("/open/p", "Remote-User", "root", "Remote_User", "root", "Auth-Type", "Basic", "Proxy-Authorization", "Basic x").variables(t)
	assert.NotContains(t, v, "REMOTE_USER")
	assert.NotContains(t, v, "AUTH_TYPE")
	assert.NotContains(t, v, "HTTP_PROXY_AUTHORIZATION")

	assert.Equal(t, "sha", g.logged(5)[0].User)
	assert.Equal(t, "", g.logged(5)[2].User)
}

func TestTheFileOfPasswordsIsReadAgainWhenItHasChanged(t *testing.T) {
	g := guarded(t, "")
	assert.Equal(t, 200, g.as("sha", "secret of sha", "/cgi-bin/p").StatusCode)
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(t, err)
	without := strings.ReplaceAll(string(b), "sha:", "newcomer:")
	g.site.write("htpasswd", without)
	eventually(t, func() bool { return g.as("sha", "secret of sha", "/cgi-bin/p").StatusCode == 401 }, "a name that was taken out is refused")
	assert.Equal(t, 200, g.as("newcomer", "secret of sha", "/cgi-bin/p").StatusCode)

	// One that can't be read leaves the last state in force.
	require.NoError(t, os.Rename(g.site.path("htpasswd"), g.site.path("moved")))
	time.Sleep(authRecheck + 100*time.Millisecond)
	assert.Equal(t, 200, g.as("newcomer", "secret of sha", "/cgi-bin/p").StatusCode)
	assert.Equal(t, 401, g.as("sha", "secret of sha", "/cgi-bin/p").StatusCode)
	require.NoError(t, os.Rename(g.site.path("moved"), g.site.path("htpasswd")))
	g.site.write("htpasswd", string(b))
	eventually(t, func() bool { return g.as("sha", "secret of sha", "/cgi-bin/p").StatusCode == 200 }, "it is there again")
}

func TestAFileOfPasswordsThatIsNotThereStopsTheStart(t *testing.T) {
	s := newSite(t)
	_, err := New(s.config(`
routes:
  - path: /
    files: {root: .}
    auth: {basic: {htpasswd: none}}
`), Options{})
	assert.ErrorContains(t, err, "htpasswd")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestFilesAndListingsAreGuardedToo(t *testing.T) {
	s := newSite(t)
	s.write("html/a.txt", "secret file")
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(t, err)
	s.write("htpasswd", string(b))
	g := s.serve(`
routes:
  - path: /
    files: {root: html, listing: true}
    auth: {basic: {htpasswd: htpasswd}}
`)
	for _, path := range []string{"/", "/a.txt", "/none"} {
		a := g.get(path)
		assert.Equal(t, 401, a.StatusCode, path)
		assert.NotContains(t, a.body, "secret")
	}
	r := g.request("HEAD", "/a.txt", nil)
	assert.Equal(t, 401, g.do(r).StatusCode)
	assert.Equal(t, http.StatusOK, g.as("sha", "secret of sha", "/a.txt").StatusCode)
}
