//go:build linux

package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// apacheBefore starts Apache before the gateway's FastCGI door.
func (s *site) apacheBefore(t *testing.T) (g *gateway, url string) {
	t.Helper()
	socket := filepath.Join(s.dir, "warmcgi.sock")
	g = startGateway(t, s.dir, configured(t, "apache-fcgi.yaml.tmpl",
		"/run/warmcgi.sock", socket,
		"/usr/lib/cgi-bin", s.bin))
	require.NoError(t, os.Chmod(socket, 0o666)) // Apache is www-data, the test is root
	return g, startApache(t, s.dir, configured(t, "apache-fcgi.conf.tmpl",
		"/run/warmcgi.sock", socket,
		"/usr/lib/cgi-bin", s.bin,
		"/etc/gitweb.conf", s.dir+"/gitweb.conf"))
}

func TestBehindApacheGitwebAnswersAsInPlainCGI(t *testing.T) {
	needs(t, "apache2")
	s := newSite(t)
	_, url := s.apacheBefore(t)
	assertSomeViews(t, s, url)
}

// assertSomeViews asks for a part of what TestGitwebAnswersAllItsViewsAsInPlainCGI
// does in full.
func assertSomeViews(t *testing.T, s *site, url string, env ...string) {
	t.Helper()
	c := newClient(t, url)
	for i, v := range s.museum.views() {
		if i%3 != 0 || strings.HasPrefix(v.query, "/") {
			continue
		}
		got := c.get(t, v.path())
		v.assert(t, got)
		env = append(env, "GITWEB_CONFIG="+s.dir+"/gitweb.conf")
		assertAlike(t, v.path(), plainCGI(t, url, v.path(), "/gitweb", gitwebCGI, env...), got)
	}
}

func TestBehindApacheScriptsSeeTheRequest(t *testing.T) {
	needs(t, "apache2", "CGI.pm")
	s := newSite(t)
	g, url := s.apacheBefore(t)
	c := newClient(t, url)
	vars := assertVars(t, "/cgi-bin/", c.get(t, varsURL("/cgi-bin/")))
	assert.Equal(t, filepath.Join(s.bin, "vars.sh"), vars["SCRIPT_FILENAME"])

	vars = varsOf(t, c.get(t, "/vars/p%C3%A4th?x=1")) // by ProxyPass
	assert.Equal(t, "/vars", vars["SCRIPT_NAME"])
	assert.Equal(t, "/päth", vars["PATH_INFO"])
	assert.Equal(t, filepath.Join(s.bin, "vars.sh"), vars["SCRIPT_FILENAME"])

	assertForms(t, c, "/cgi-bin/form.pl")
	assertFlows(t, c)
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
	assert.Equal(t, http.StatusNotFound, c.get(t, "/cgi-bin/missing.sh").status)
	assert.Equal(t, http.StatusForbidden, c.get(t, "/cgi-bin/form.php").status, "not executable")
	assertStreams(t, s, c)
	assertEndsWithClient(t, s.dir, g, c, "trickle.pl")
	assertBreaks(t, g, c)
}

func TestBehindApacheAsAnHTTPProxy(t *testing.T) {
	needs(t, "apache2", "CGI.pm")
	s := newSite(t)
	g := startGateway(t, s.dir, strings.ReplaceAll(scriptsYAML, "@DIR@", s.dir)+`
  - path: /gitweb
    cgi: {program: /usr/share/gitweb/gitweb.cgi}
    env: {GITWEB_CONFIG: `+s.dir+`/gitweb.conf}
trusted_proxies: [127.0.0.1]
`)
	url := startApache(t, s.dir, configured(t, "apache-proxy.conf.tmpl", "http://127.0.0.1:8080", g.url()))
	assertSomeViews(t, s, url)
	c := newClient(t, url)
	vars := varsOf(t, c.do(t, request{path: "/cgi-bin/vars.sh/x%20y?a", header: map[string]string{"X-Forwarded-For": "198.51.100.7"}}))
	assert.Equal(t, "198.51.100.7", vars["REMOTE_ADDR"])
	assert.Equal(t, "/x y", vars["PATH_INFO"])
	assertForms(t, c, "/cgi-bin/form.pl")
	assertEndsWithClient(t, s.dir, g, c, "trickle.pl")
	assertBreaks(t, g, c)
}
