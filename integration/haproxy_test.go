//go:build linux

package integration

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startHAProxy runs haproxy with a configuration, whose port is given as @PORT@.
func startHAProxy(t *testing.T, dir, conf string) (s *server, url string) {
	t.Helper()
	needs(t, "haproxy")
	port := fmt.Sprint(freePort(t))
	file := writeFile(t, filepath.Join(dir, "haproxy.cfg"), "global\n    log stderr local0\ndefaults\n    log global\n    option httplog\n"+
		"    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n\n"+strings.ReplaceAll(conf, "@PORT@", port), 0o644)
	s = startServer(t, "haproxy", exec.Command("/usr/sbin/haproxy", "-db", "-f", file))
	s.hard = true // it would wait for the connections that it keeps
	s.awaitDial(t, "tcp", "127.0.0.1:"+port)
	return s, "http://127.0.0.1:" + port
}

// haproxyBefore starts haproxy before the gateway's FastCGI door. places are further ones of its configuration.
func (s *site) haproxyBefore(t *testing.T, places ...string) (g *gateway, url string) {
	t.Helper()
	socket := filepath.Join(s.dir, "warmcgi.sock")
	g = startGateway(t, s.dir, configured(t, "apache-fcgi.yaml.tmpl",
		"/run/warmcgi.sock", socket,
		"/usr/lib/cgi-bin", s.bin))
	s.front, url = startHAProxy(t, s.dir, configured(t, "haproxy-fcgi.conf.tmpl", append(places,
		"bind :80", "bind 127.0.0.1:@PORT@",
		"/run/warmcgi.sock", socket,
		"docroot /usr/lib", "docroot "+s.dir)...))
	return g, url
}

func TestBehindHAProxyScriptsSeeTheRequest(t *testing.T) {
	needs(t, "haproxy", "CGI.pm")
	s := newSite(t)
	g, url := s.haproxyBefore(t)
	c := newClient(t, url)
	vars := assertVars(t, "/cgi-bin/", c.get(t, varsURL("/cgi-bin/")))
	assert.Equal(t, filepath.Join(s.bin, "vars.sh"), vars["SCRIPT_FILENAME"])

	assertFields(t, c, "/cgi-bin/form.pl")
	assertUpload(t, c, "/cgi-bin/form.pl", false) // a chunked one of that size it refuses itself: it does not spool
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
	assert.Zero(t, g.metric(t, "warmcgi_fastcgi_door_refused_total", ""))
	assert.Less(t, g.metric(t, "warmcgi_fastcgi_door_connections_total", ""), g.metric(t, "warmcgi_fastcgi_door_requests_total", ""), "connections are used again")
	assert.Equal(t, http.StatusForbidden, c.get(t, "/cgi-bin/form.php").status, "not executable")
	assertStreams(t, s, c)
	assertEndsWithClient(t, s.dir, g, c, "trickle.pl") // while nothing comes it does not look
	assert.Equal(t, 3.0, g.metric(t, "warmcgi_fastcgi_door_aborts_total", ""))
	assertBreaks(t, g, c)
}

func TestBehindHAProxyNothingIsLeftWhenItIsKilled(t *testing.T) {
	needs(t, "haproxy")
	s := newSite(t)
	g, url := s.haproxyBefore(t)
	c := newClient(t, url)
	res := c.open(t, "/cgi-bin/hang.sh")
	require.NotEmpty(t, scriptsIn(s.dir))
	s.front.kill()
	<-s.front.gone
	res.Body.Close()
	requireNoScripts(t, s.dir, patience)
	require.Eventually(t, func() bool { return g.metric(t, "warmcgi_fastcgi_door_connections", "") == 0 }, patience, 50*time.Millisecond)
	assert.Equal(t, 1.0, g.metric(t, "warmcgi_fastcgi_door_aborts_total", "gone"))
}

func TestBehindHAProxyParallelRequestsShareKeptConnections(t *testing.T) {
	needs(t, "haproxy", "perl")
	// It may not know better, and is told: the door takes one request at a time.
	for name, option := range map[string]string{"as it is": "", "multiplexing": "\n    option mpxs-conns\n    option max-reqs 16"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g, url := s.haproxyBefore(t, "option get-values", "option get-values"+option, "proto fcgi", "proto fcgi pool-max-conn 100")
			large := s.write(t, "large.pl", "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n\", \"$ENV{QUERY_STRING}\\n\" x 200_000;\n")
			var wg sync.WaitGroup
			for i := range 16 {
				c := newClient(t, url)
				wg.Go(func() {
					for j := range 20 {
						q := fmt.Sprintf("%d-%d", i, j)
						path, want := "/cgi-bin/say.sh?"+q, ""
						if j%5 == 4 {
							path, want = large+"?"+q, strings.Repeat(q+"\n", 200_000)
						}
						got, err := c.try(request{path: path})
						if assert.NoError(t, err) && assert.Equal(t, 200, got.status) && want != "" {
							assert.True(t, got.body == want, "%d octets of %d", len(got.body), len(want))
						}
					}
				})
			}
			wg.Wait()
			assert.Zero(t, g.metric(t, "warmcgi_fastcgi_door_refused_total", ""))
			assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
			assert.Less(t, g.metric(t, "warmcgi_fastcgi_door_connections_total", ""), 320.0)
			require.Eventually(t, func() bool { return g.metric(t, "warmcgi_fastcgi_door_requests_total", "") == 320 }, patience, 50*time.Millisecond)
		})
	}
}

// write puts a script into the site's cgi-bin, and returns its path in URLs.
func (s *site) write(t *testing.T, name, text string) string {
	t.Helper()
	writeFile(t, filepath.Join(s.bin, name), text, 0o755)
	return "/cgi-bin/" + name
}
