//go:build linux

package integration

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startHost runs `shim serve` on a script or a folder; what its scripts know of is in dir.
func startHost(t *testing.T, dir, path string, flags ...string) *gateway {
	t.Helper()
	binary, err := raceShim()
	require.NoError(t, err)
	return startServing(t, "script host", dir, append([]string{binary, "serve", path, "--admin", "127.0.0.1:0", "--wait", "10s"}, flags...), nil)
}

// hostSite is a folder of scripts at a script host.
func hostSite(t *testing.T) (dir, bin string) {
	t.Helper()
	dir = tempDir(t)
	return dir, newScripts(t, dir)
}

// gatewayTo runs a gateway whose /cgi-bin is at script hosts.
func gatewayTo(t *testing.T, servers ...string) *gateway {
	t.Helper()
	return startGateway(t, tempDir(t), fmt.Sprintf(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /cgi-bin, fastcgi: {servers: ["%s"]}, authorization: pass}
`, strings.Join(servers, `", "`)))
}

func TestAScriptHostRunsTheScriptsOfAGateway(t *testing.T) {
	for _, mode := range []string{"spawn", "warm", "reuse"} {
		t.Run(mode, func(t *testing.T) {
			needs(t, "CGI.pm", "python3")
			dir, bin := hostSite(t)
			h := startHost(t, dir, bin, "--listen", "tcp:127.0.0.1:0", "--mode", mode)
			c := newClient(t, gatewayTo(t, h.url()).url())
			for _, script := range []string{"/cgi-bin/form.pl", "/cgi-bin/form.py"} {
				require.Eventually(t, func() bool {
					c.get(t, script)
					return mode == "spawn" || h.answersIn(t, strings.TrimPrefix(script, "/cgi-bin"), mode) > 0
				}, patience, 20*time.Millisecond, "%s: %+v", script, h.status(t))
				assertForms(t, c, script)
			}
			vars := varsOf(t, c.do(t, request{path: "/cgi-bin/vars.sh/x%20y//z/?a=b", header: map[string]string{"Host": "www.example.org", "X-Forwarded-For": "192.0.2.1"}, user: "u", password: "p"}))
			for name, want := range map[string]string{
				"SCRIPT_NAME": "/cgi-bin/vars.sh", "PATH_INFO": "/x y//z/", "QUERY_STRING": "a=b", "REQUEST_URI": "/cgi-bin/vars.sh/x%20y//z/?a=b", "SERVER_NAME": "www.example.org",
				"REMOTE_ADDR": "127.0.0.1", "SCRIPT_FILENAME": bin + "/vars.sh", "HTTP_X_FORWARDED_FOR": "192.0.2.1",
			} {
				assert.Equal(t, want, vars[name], name)
			}
			assert.NotContains(t, vars, "HTTP_AUTHORIZATION")
			assert.Zero(t, h.metric(t, "warmcgi_request_errors_total", ""))
			assert.Equal(t, http.StatusNotFound, c.get(t, "/cgi-bin/none.sh").status)
			assert.Equal(t, http.StatusForbidden, c.get(t, "/cgi-bin/form.php").status, "not executable")
			assertStreams(t, &site{dir: dir}, c)
			if mode == "spawn" { // else there are warm parents
				assertEndsWithClient(t, dir, h, c, "trickle.pl")
			}
			assertBreaks(t, h, c)
		})
	}
}

// answersIn is how many answers a script gave in a mode.
func (g *gateway) answersIn(t *testing.T, script, mode string) int {
	t.Helper()
	for _, st := range g.status(t) {
		if st.Script == script {
			return st.Answers[mode]
		}
	}
	return 0
}

func TestAScriptHostIsFoundBehindNginxInAllItsWays(t *testing.T) {
	needs(t, "nginx", "CGI.pm")
	dir, bin := hostSite(t)
	prefix := startHost(t, dir, bin, "--listen", "tcp:127.0.0.1:0", "--prefix", "/cgi-bin/", "--mode", "warm")
	plain := startHost(t, dir, bin, "--listen", "tcp:127.0.0.1:0", "--authorization", "pass")
	startHost(t, dir, bin+"/vars.sh", "--listen", "unix:"+dir+"/one.sock", "--env", "SITE=one")
	url := startNginx(t, dir, func(port string) string {
		return configured(t, "nginx-host.conf.tmpl", "listen 80;", "listen 127.0.0.1:"+port+"; client_max_body_size 10m; fastcgi_buffering off;",
			"/usr/lib/cgi-bin", bin, "10.0.0.5:9000", strings.TrimPrefix(prefix.url(), "tcp:"), "10.0.0.5:9001", strings.TrimPrefix(plain.url(), "tcp:"), "/run/app.sock", dir+"/one.sock")
	})
	c := newClient(t, url)
	for _, path := range []string{"/cgi-bin/", "/scripts/", "/split/"} {
		vars := assertVars(t, path, c.do(t, request{path: varsURL(path), user: "u", password: "p"}))
		assert.Equal(t, filepath.Join(bin, "vars.sh"), vars["SCRIPT_FILENAME"])
		assert.Equal(t, "www.example.org", vars["SERVER_NAME"], "nginx's server_name")
		_, passed := vars["HTTP_AUTHORIZATION"]
		assert.Equal(t, path != "/cgi-bin/", passed, "what the host's --authorization says")
		assert.Equal(t, http.StatusNotFound, c.get(t, path+"none.sh").status)
		assert.NotEqual(t, http.StatusOK, c.get(t, path+"..%2f..%2f/etc/passwd").status)
		assertForms(t, c, path+"form.pl")
	}
	vars := varsOf(t, c.get(t, "/app/x%20y"))
	assert.Equal(t, []string{"/app", "/x y", "one"}, []string{vars["SCRIPT_NAME"], vars["PATH_INFO"], vars["SITE"]})
	assertStreams(t, &site{dir: dir}, c)
	assertEndsWithClient(t, dir, prefix, c, "hang.sh")
	assertBreaks(t, prefix, c)
}

func TestAScriptHostIsFoundBehindApacheInAllItsWays(t *testing.T) {
	needs(t, "apache2", "CGI.pm")
	dir, bin := hostSite(t)
	folder := startHost(t, dir, bin, "--listen", "tcp:127.0.0.1:0", "--listen", "unix:"+dir+"/s.sock", "--socket-mode", "0666") // Apache is www-data
	one := startHost(t, dir, bin+"/vars.sh", "--listen", "tcp:127.0.0.1:0")
	c := newClient(t, startApache(t, dir, configured(t, "apache-host.conf.tmpl",
		"/usr/lib/cgi-bin", bin, "10.0.0.5:9000", strings.TrimPrefix(folder.url(), "tcp:"), "10.0.0.5:9001", strings.TrimPrefix(one.url(), "tcp:"), "/run/warmcgi.sock", dir+"/s.sock")))
	for _, path := range []string{"/cgi-bin/", "/local/"} {
		vars := assertVars(t, path, c.get(t, varsURL(path)))
		assert.Equal(t, filepath.Join(bin, "vars.sh"), vars["SCRIPT_FILENAME"])
		assert.Equal(t, http.StatusNotFound, c.get(t, path+"none.sh").status)
		assertForms(t, c, path+"form.pl")
	}
	vars := varsOf(t, c.get(t, "/app/x%20y"))
	assert.Equal(t, []string{"/app", "/x y"}, []string{vars["SCRIPT_NAME"], vars["PATH_INFO"]})
	assert.Empty(t, varsOf(t, c.get(t, "/app"))["PATH_INFO"])
	assertStreams(t, &site{dir: dir}, c)
	assertEndsWithClient(t, dir, folder, c, "trickle.pl")
	assertBreaks(t, folder, c)
}

func TestAScriptHostOverTLSServesAsOneWithout(t *testing.T) {
	needs(t, "CGI.pm")
	dir, bin := hostSite(t)
	keys := tempDir(t)
	newAuthority(t, keys, "ca")
	newCertificate(t, keys, "ca", "host", "IP:127.0.0.1")
	newCertificate(t, keys, "ca", "gateway", "DNS:gateway.test")
	h := startHost(t, dir, bin, "--listen", "tls:127.0.0.1:0", "--tls-cert", keys+"/host.pem", "--tls-key", keys+"/host.key", "--tls-client-ca", keys+"/ca.pem", "--mode", "warm")
	g := startGateway(t, keys, fmt.Sprintf(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /cgi-bin, fastcgi: {servers: ["%s"], tls: {ca: ca.pem, cert: gateway.pem, key: gateway.key}}}
  - {path: /nobody, fastcgi: {servers: ["%[1]s"], tls: {ca: ca.pem}}}
`, h.url()))
	c := newClient(t, g.url())
	assertForms(t, c, "/cgi-bin/form.pl")
	assertStreams(t, &site{dir: dir}, c)
	assertBreaks(t, h, c)
	assert.Equal(t, http.StatusBadGateway, c.get(t, "/nobody/vars.sh").status)
	assert.NotZero(t, h.metric(t, "warmcgi_fastcgi_door_connections_refused_total", `why="tls"`))
	assert.Contains(t, h.out.String(), "connection refused")
}

func TestNoRequestFailsWhileScriptHostsAreReplaced(t *testing.T) {
	needs(t, "perl", "nginx")
	t.Run("gateway", func(t *testing.T) {
		assertReplaced(t, func(_ string, sockets []string) string { return gatewayTo(t, sockets...).url() })
	})
	t.Run("nginx", func(t *testing.T) { // that keeps no connection, as is its default
		assertReplaced(t, func(dir string, sockets []string) string {
			return startNginx(t, dir, func(port string) string {
				return "upstream hosts { server " + sockets[0] + " max_fails=0; server " + sockets[1] + " max_fails=0; }\n" +
					"server { listen 127.0.0.1:" + port + "; location / { include fastcgi_params; fastcgi_pass hosts; } }"
			})
		})
	})
}

// assertReplaced ends two script hosts in turn, and starts them again, while what front has
// started asks them.
func assertReplaced(t *testing.T, front func(dir string, sockets []string) (url string)) {
	t.Helper()
	dir := tempDir(t)
	script := writeFile(t, filepath.Join(dir, "echo.pl"), `#!/usr/bin/perl
my $b = do { local $/; <STDIN> };
print "Content-Type: text/plain\n\n$ENV{QUERY_STRING} ", length $b // '';
`, 0o755)
	sockets := []string{"unix:" + dir + "/a.sock", "unix:" + dir + "/b.sock"}
	start := func(i int) *gateway { return startHost(t, dir, script, "--listen", sockets[i], "--mode", "warm") }
	hosts := []*gateway{start(0), start(1)}
	url := front(dir, sockets)

	var asked, failed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for k := range 6 {
		wg.Go(func() { // ends with stop
			c := newClient(t, url)
			defer c.http.CloseIdleConnections()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				q := request{path: fmt.Sprintf("/cgi-bin?%d.%d", k, i)}
				if i%3 == 1 {
					q.method, q.body = http.MethodPost, strings.Repeat("x", 20_000)
				}
				a, err := c.try(q)
				asked.Add(1)
				if want := fmt.Sprintf("%d.%d %d", k, i, len(q.body)); err != nil || a.body != want {
					failed.Add(1)
					t.Log(q.method, q.path, err, a.status, a.body)
				}
			}
		})
	}
	for i := range 6 {
		enough := asked.Load() + 200
		require.Eventually(t, func() bool { return asked.Load() > enough }, patience, 10*time.Millisecond)
		h := hosts[i%2]
		require.NoError(t, syscall.Kill(h.pid, syscall.SIGTERM))
		select {
		case <-h.gone:
			assert.NoError(t, h.err)
		case <-time.After(patience):
			t.Fatal("the script host does not end")
		}
		hosts[i%2] = start(i % 2)
	}
	close(stop)
	wg.Wait()
	t.Log(asked.Load(), "requests")
	assert.Zero(t, failed.Load())
}

func TestAScriptHostThatEndsIsNotReadyAndLetsRequestsEnd(t *testing.T) {
	dir, bin := hostSite(t)
	h := startHost(t, dir, bin, "--listen", "unix:"+dir+"/s.sock")
	c := newClient(t, gatewayTo(t, "unix:"+dir+"/s.sock").url())
	assert.Equal(t, http.StatusOK, newClient(t, h.admin).get(t, "/readyz").status)
	res := c.open(t, "/cgi-bin/slow.sh")
	require.NoError(t, syscall.Kill(h.pid, syscall.SIGTERM))
	require.Eventually(t, func() bool { return newClient(t, h.admin).get(t, "/readyz").status == http.StatusServiceUnavailable }, patience, 10*time.Millisecond)
	assert.Equal(t, http.StatusOK, newClient(t, h.admin).get(t, "/healthz").status)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "first\nlast\n", string(b))
	select {
	case <-h.gone:
		assert.NoError(t, h.err)
	case <-time.After(patience):
		t.Error("the script host goes on without requests")
	}
	assert.NoFileExists(t, dir+"/s.sock")
}

func TestAScriptHostRunsScriptsAsAnotherUserAndUnderLimits(t *testing.T) {
	needsRoot(t)
	dir := tempDir(t)
	script := writeFile(t, filepath.Join(dir, "who.sh"), "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s %s' \"$(id -un)\" \"$(ulimit -n)\"\n", 0o755)
	startHost(t, dir, script, "--listen", "unix:"+dir+"/s.sock", "--user", "www-data", "--limit", "files=100")
	assert.Equal(t, "www-data 100", newClient(t, gatewayTo(t, "unix:"+dir+"/s.sock").url()).get(t, "/cgi-bin").body)
}
