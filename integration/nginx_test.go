//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A site is one with all that nginx-fcgiwrap.conf.tmpl mentions.
type site struct {
	dir, bin string
	museum   *museum
	front    *server // the last one that was started, where a test wants it
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := tempDir(t)
	s := &site{dir: dir, museum: newGitweb(t, dir)}
	s.bin = newScripts(t, dir, "echo.c", "flow.c")
	git(t, dir, "init", "-q", "--bare", "-b", "main", filepath.Join(s.museum.root, "open.git"))
	git(t, filepath.Join(s.museum.root, "open.git"), "config", "http.receivepack", "true")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "htdocs"), 0o755))
	return s
}

// nginx starts nginx before a FastCGI server at socket.
func (s *site) nginx(t *testing.T, socket string, more ...string) (url string) {
	t.Helper()
	return s.nginxFor(t, s.dir, socket, more...)
}

// nginxFor keeps the files of nginx in dir.
func (s *site) nginxFor(t *testing.T, dir, socket string, more ...string) (url string) {
	t.Helper()
	return startNginx(t, dir, func(port string) string {
		return configured(t, "nginx-fcgiwrap.conf.tmpl", append(more,
			"listen 80;", "listen 127.0.0.1:"+port+";",
			"/var/www/html", s.dir+"/htdocs",
			"root /usr/lib;", "root "+s.dir+";",
			"/etc/gitweb.conf", s.dir+"/gitweb.conf",
			"/srv/git", s.museum.root,
			"unix:/run/warmcgi.sock", "unix:"+socket)...)
	})
}

// gateway starts the gateway that takes the place of fcgiwrap.
func (s *site) gateway(t *testing.T) (g *gateway, socket string) {
	t.Helper()
	socket = filepath.Join(s.dir, "warmcgi.sock")
	return startGateway(t, s.dir, configured(t, "nginx-fcgiwrap.yaml.tmpl",
		"/run/warmcgi.sock", socket,
		"/usr/lib/cgi-bin", s.bin)), socket
}

func TestBehindNginxGitwebAnswersAsInPlainCGI(t *testing.T) {
	needs(t, "nginx")
	s := newSite(t)
	_, socket := s.gateway(t)
	url := s.nginx(t, socket)
	assertSomeViews(t, s, url, "HTTP_HOST=127.0.0.1") // Debian's fastcgi_params leave the port out
}

func TestBehindNginxGitClonesAndPushes(t *testing.T) {
	needs(t, "nginx")
	s := newSite(t)
	g, socket := s.gateway(t)
	url := s.nginx(t, socket)
	for _, v := range []string{"0", "2"} {
		assertClones(t, s.dir, url+"/git/museum.git", s.museum.commit["now"], "-c", "protocol.version="+v)
	}
	assertPushes(t, s.dir, s.museum, url+"/git/open.git")
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
}

func TestBehindNginxFormsArriveWhole(t *testing.T) {
	needs(t, "nginx", "CGI.pm")
	s := newSite(t)
	g, socket := s.gateway(t)
	c := newClient(t, s.nginx(t, socket, "gzip off;", "gzip off; client_max_body_size 10m;"))
	assertForms(t, c, "/cgi-bin/form.pl")
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
}

func TestBehindNginxLargeAnswersAndUploadsComeWhole(t *testing.T) {
	needs(t, "nginx", "gcc")
	s := newSite(t)
	g, socket := s.gateway(t)
	assertFlows(t, newClient(t, s.nginx(t, socket, "gzip off;", "gzip off; client_max_body_size 100m;")))
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
}

// assertFlows moves much in each direction.
func assertFlows(t *testing.T, c *client) {
	t.Helper()
	for _, query := range []string{"send=104857600&length", "send=104857600", "send=65536&length", "send=65535"} {
		res := c.open(t, "/cgi-bin/flow.cgi?"+query)
		require.Equal(t, http.StatusOK, res.StatusCode)
		total, err := newFlow(0).check(res.Body)
		assert.NoError(t, err, query)
		assert.Contains(t, query, fmt.Sprint("send=", total))
	}
	for _, chunked := range []bool{false, true} {
		const n = 10 << 20
		r, err := http.NewRequestWithContext(bounded(t), http.MethodPost, c.base+"/cgi-bin/flow.cgi", newFlow(n))
		require.NoError(t, err)
		if r.ContentLength = n; chunked {
			r.ContentLength = -1
		}
		res, err := c.http.Do(r)
		require.NoError(t, err)
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		res.Body.Close()
		assert.Equal(t, fmt.Sprintf("took %d of %d octets, 0 blocks wrong\n", n, n), string(b), "chunked: %v", chunked)
	}
}

func TestBehindNginxAnswersCanStream(t *testing.T) {
	needs(t, "nginx", "perl")
	s := newSite(t)
	_, socket := s.gateway(t)
	url := s.nginx(t, socket, "# fastcgi_buffering off;", "fastcgi_buffering off;")
	assertStreams(t, s, newClient(t, url))
}

// assertStreams reads events as they come: the script waits for the reader.
func assertStreams(t *testing.T, s *site, c *client) {
	t.Helper()
	file := filepath.Join(s.dir, "events")
	writeFile(t, file, "", 0o644)
	res := c.open(t, "/cgi-bin/events.pl?"+file)
	assert.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	r := bufio.NewReader(res.Body)
	lines := make(chan string)
	go func() { // ends with the answer
		defer close(lines)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line != "\n" {
				lines <- line
			}
		}
	}()
	for i, want := range []string{"data: 0\n", "data: 1\n", "data: 2\n"} {
		writeFile(t, file, strings.Repeat("x", i)+"x"[:min(i, 1)], 0o644)
		select {
		case got := <-lines:
			assert.Equal(t, want, got)
		case <-time.After(patience):
			t.Fatalf("%q was held back", want)
		}
	}
	_, more := <-lines
	assert.False(t, more)
}

func TestBehindNginxAScriptEndsWithItsClient(t *testing.T) {
	needs(t, "nginx")
	s := newSite(t)
	g, socket := s.gateway(t)
	c := newClient(t, s.nginx(t, socket, "# fastcgi_buffering off;", "fastcgi_buffering off;"))
	assertEndsWithClient(t, s.dir, g, c, "hang.sh")
}

// assertEndsWithClient leaves in the middle of a script's answer.
func assertEndsWithClient(t *testing.T, dir string, g *gateway, c *client, script string) {
	t.Helper()
	for range 3 {
		res := c.open(t, "/cgi-bin/"+script)
		_, err := bufio.NewReader(res.Body).ReadString('\n')
		require.NoError(t, err)
		require.NotEmpty(t, scriptsIn(dir))
		res.Body.Close()
		c.http.CloseIdleConnections()
		requireNoScripts(t, dir, patience)
	}
	require.Eventually(t, func() bool { return g.metric(t, "warmcgi_kills_total", `reason="disconnect"`) == 3 }, patience, 50*time.Millisecond)
}

func TestBehindNginxACrashIsNeverAWholeAnswer(t *testing.T) {
	needs(t, "nginx")
	s := newSite(t)
	g, socket := s.gateway(t)
	c := newClient(t, s.nginx(t, socket, "# fastcgi_buffering off;", "fastcgi_buffering off;"))
	assertBreaks(t, g, c)
}

// assertBreaks has scripts die in the middle of their answers.
func assertBreaks(t *testing.T, g *gateway, c *client) {
	t.Helper()
	for _, q := range []string{"", "length"} {
		got, err := c.try(request{path: "/cgi-bin/crash.sh?" + q})
		assert.Error(t, err, "%q: a whole answer of status %d: %q", q, got.status, got.body)
	}
	early := c.get(t, "/cgi-bin/crash.sh?early")
	assert.Equal(t, http.StatusBadGateway, early.status)
	assert.Equal(t, 2.0, g.metric(t, "warmcgi_truncated_total", ""))
	assert.Equal(t, 1.0, g.metric(t, "warmcgi_request_errors_total", `"no_output"`))
}

func TestBehindNginxOnlyTheDoorsFoldersAreServed(t *testing.T) {
	needs(t, "nginx")
	s := newSite(t)
	_, socket := s.gateway(t)
	elsewhere := copyFiles(t, "cgi-bin", filepath.Join(s.dir, "elsewhere"))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(s.bin, "linked")))
	require.NoError(t, os.Symlink(gitwebCGI, filepath.Join(s.bin, "gitweb.cgi")))
	c := newClient(t, s.nginx(t, socket))
	front := newClient(t, s.nginxAt(t, socket, "/elsewhere/"))

	assert.Equal(t, http.StatusOK, c.get(t, "/cgi-bin/vars.sh").status)
	assert.Equal(t, http.StatusNotFound, c.get(t, "/cgi-bin/missing.sh").status)
	assert.Equal(t, http.StatusNotFound, c.get(t, "/cgi-bin/missing/deeper").status)
	assert.Equal(t, http.StatusForbidden, c.get(t, "/cgi-bin/").status, "a folder")
	assert.Equal(t, http.StatusForbidden, c.get(t, "/cgi-bin/form.php").status, "not executable")
	assert.Equal(t, http.StatusForbidden, c.get(t, "/cgi-bin/linked/vars.sh").status, "a link out of the folder")
	assert.Equal(t, http.StatusForbidden, front.get(t, "/elsewhere/vars.sh").status, "SCRIPT_FILENAME outside")
	// Debian puts such links into its cgi-bin.
	assert.Contains(t, c.get(t, "/cgi-bin/gitweb.cgi").body, "git web interface", "a link into another folder of the door")
}

// nginxAt is an nginx that names programs of the site's folder at a path.
func (s *site) nginxAt(t *testing.T, socket, path string) (url string) {
	t.Helper()
	dir := filepath.Join(s.dir, "at")
	return startNginx(t, dir, func(port string) string {
		return "server { listen 127.0.0.1:" + port + "; location " + path + " { include fastcgi_params; fastcgi_param SCRIPT_FILENAME " +
			s.dir + "$fastcgi_script_name; fastcgi_pass unix:" + socket + "; } }"
	})
}

func TestBehindNginxAnAnswerMayBeginBeforeTheRequestIsRead(t *testing.T) {
	needs(t, "nginx", "perl")
	s := newSite(t)
	_, socket := s.gateway(t)
	g := startGateway(t, filepath.Join(s.dir, "htdocs"), strings.ReplaceAll(scriptsYAML, "@DIR@", s.dir))
	fastcgi := s.nginx(t, socket, "gzip off;", "gzip off; client_max_body_size 0;")
	proxy := startNginx(t, filepath.Join(s.dir, "proxy"), func(port string) string {
		return configured(t, "nginx-proxy.conf.tmpl", "listen 80;", "listen 127.0.0.1:"+port+";", "http://127.0.0.1:8080", g.url())
	})
	body := randomText(5, 20<<20)
	for _, base := range []string{fastcgi, proxy, g.url()} {
		got := newClient(t, base).do(t, request{method: http.MethodPost, path: "/cgi-bin/early.pl", body: body})
		assert.Equal(t, http.StatusOK, got.status)
		assert.Equal(t, "begun\n"+sha1Of(body)+"\n", got.body)
	}
}

func TestBehindNginxAsAnHTTPProxy(t *testing.T) {
	needs(t, "nginx", "CGI.pm")
	s := newSite(t)
	g := startGateway(t, s.dir, strings.ReplaceAll(scriptsYAML, "@DIR@", s.dir)+`
  - path: /git
    cgi: {program: /usr/lib/git-core/git-http-backend}
    env: {GIT_PROJECT_ROOT: `+s.museum.root+`, GIT_HTTP_EXPORT_ALL: "1"}
trusted_proxies: [127.0.0.0/8]
`)
	url := startNginx(t, s.dir, func(port string) string {
		return configured(t, "nginx-proxy.conf.tmpl", "listen 80;", "listen 127.0.0.1:"+port+"; proxy_buffering off;", "http://127.0.0.1:8080", g.url())
	})
	c := newClient(t, url)

	vars := varsOf(t, c.do(t, request{path: "/cgi-bin/vars.sh", header: map[string]string{"X-Forwarded-For": "192.0.2.9, 198.51.100.7"}}))
	assert.Equal(t, "198.51.100.7", vars["REMOTE_ADDR"], "the nearest that is no proxy")
	vars = varsOf(t, c.do(t, request{path: "/cgi-bin/vars.sh", header: map[string]string{"X-Forwarded-Proto": "https", "Host": "www.example.org"}}))
	assert.Equal(t, "127.0.0.1", vars["REMOTE_ADDR"])
	assert.NotContains(t, vars, "HTTPS", "nginx has the last word")
	assert.Equal(t, "www.example.org", vars["SERVER_NAME"])

	direct := newClient(t, g.url())
	vars = varsOf(t, direct.do(t, request{path: "/cgi-bin/vars.sh", header: map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-For": "2001:db8::1"}}))
	assert.Equal(t, "on", vars["HTTPS"])
	assert.Equal(t, "2001:db8::1", vars["REMOTE_ADDR"])

	assertForms(t, c, "/cgi-bin/form.pl")
	assertPushes(t, s.dir, s.museum, url+"/git/open.git")
	assertStreams(t, s, c)
	assertEndsWithClient(t, s.dir, g, c, "trickle.pl")
	assertBreaks(t, g, c)
}

// varsOf are the variables that vars.sh shows.
func varsOf(t *testing.T, a answer) map[string]string {
	t.Helper()
	require.Equal(t, http.StatusOK, a.status)
	vars := map[string]string{}
	for line := range strings.Lines(a.body) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if ok {
			vars[name] = value
		}
	}
	return vars
}

// varsURL asks for vars.sh, in the folder of scripts at a path, with all that a front server
// can get wrong.
func varsURL(folder string) string { return folder + "vars.sh/extra/p%C3%A4th?x=1&y" }

// assertVars looks at what vars.sh has seen of a request for varsURL.
func assertVars(t *testing.T, folder string, a answer) map[string]string {
	t.Helper()
	vars := varsOf(t, a)
	assert.Equal(t, folder+"vars.sh", vars["SCRIPT_NAME"])
	assert.Equal(t, "/extra/päth", vars["PATH_INFO"])
	assert.Equal(t, "x=1&y", vars["QUERY_STRING"])
	assert.Equal(t, "127.0.0.1", vars["REMOTE_ADDR"])
	return vars
}
