package gateway

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/config"
)

// host serves one of the site's scripts or folders at a FastCGI door of its own.
func (s *site) host(program, prefix string, change ...func(*config.Config, *config.Route)) *testGateway {
	s.t.Helper()
	c, r, err := config.ForHost(s.path(program))
	require.NoError(s.t, err)
	door, err := config.ParseAddress("unix:" + s.path("fcgi.sock"))
	require.NoError(s.t, err)
	for _, f := range change {
		f(c, r)
	}
	c.Log.Access.Format = config.AccessJSON
	require.NoError(s.t, c.Host(r, prefix, config.Listener{FastCGI: door}))
	return s.serveConfig(c)
}

// Each front server has its own way to say which part of the URL is whose.
func TestAHostedFolderIsWhereTheFrontServerHasIt(t *testing.T) {
	s := newSite(t)
	for _, p := range []string{"bin/p.cgi", "bin/sub/q.cgi", "bin/with space"} {
		s.script(p, hello, "env")
	}
	g := s.host("bin", "")
	for _, c := range []struct{ front, uri, name, info, file, program, wantName, wantInfo string }{
		{"our gateway", "/cgi-bin/p.cgi/x%20y", "/cgi-bin", "/p.cgi/x y", "", "bin/p.cgi", "/cgi-bin/p.cgi", "/x y"},
		{"our gateway, with a document_root", "/cgi-bin/p.cgi", "/cgi-bin", "/p.cgi", "/var/www/cgi-bin", "bin/p.cgi", "/cgi-bin/p.cgi", ""},
		{"our gateway, with a document_root in which the folder is", "/bin/p.cgi/x", "/bin", "/p.cgi/x", "@/bin", "bin/p.cgi", "/bin/p.cgi", "/x"},
		{"our gateway, with a route into the folder", "/bin/sub/q.cgi/x", "/bin/sub", "/q.cgi/x", "@/bin/sub", "bin/sub/q.cgi", "/bin/sub/q.cgi", "/x"},
		{"our gateway, at /", "/p.cgi//x/", "", "/p.cgi//x/", "", "bin/p.cgi", "/p.cgi", "//x/"},
		{"nginx, at /", "/p.cgi/x", "/p.cgi/x", "", "/var/www/p.cgi/x", "bin/p.cgi", "/p.cgi", "/x"},
		{"nginx, with the folder's path", "/cgi/p.cgi/x", "/cgi/p.cgi/x", "", "@/bin/p.cgi/x", "bin/p.cgi", "/cgi/p.cgi", "/x"},
		{"nginx, which splits behind .cgi", "/cgi/p.cgi/x/p.cgi", "/cgi/p.cgi", "/x/p.cgi", "@/bin/p.cgi", "bin/p.cgi", "/cgi/p.cgi", "/x/p.cgi"},
		{"nginx, which splits before", "/cgi/sub/q.cgi/x", "/cgi", "/sub/q.cgi/x", "", "bin/sub/q.cgi", "/cgi/sub/q.cgi", "/x"},
		{"Apache's ProxyPass", "/cgi-bin/p.cgi/x%20y", "/cgi-bin/p.cgi/x y", "", "proxy:fcgi://host:9000/p.cgi/x%20y", "bin/p.cgi", "/cgi-bin/p.cgi", "/x y"},
		{"Apache's ProxyPass", "/cgi-bin/with%20space", "/cgi-bin/with space", "", "proxy:fcgi://host:9000/with%20space", "bin/with space", "/cgi-bin/with space", ""},
		{"Apache's ProxyPass to one program", "/one/x", "/one/x", "", "proxy:fcgi://host:9000/sub/q.cgi/x", "bin/sub/q.cgi", "/one", "/x"},
		{"Apache's ProxyPass to the folder's path", "/cgi/p.cgi/x", "/cgi/p.cgi/x", "", "proxy:fcgi://host:9000@/bin/p.cgi/x", "bin/p.cgi", "/cgi/p.cgi", "/x"},
		{"Apache's SetHandler", "/d/with%20space/x%20y", "/d/with space", "/x y", "proxy:fcgi://host:9000@/bin/with space", "bin/with space", "/d/with space", "/x y"},
		{"Apache's Unix socket", "/cgi-bin/p.cgi", "/cgi-bin/p.cgi", "", "proxy:fcgi://localhost/p.cgi", "bin/p.cgi", "/cgi-bin/p.cgi", ""},
	} {
		v := g.ask(nil, "REQUEST_URI="+c.uri, "SCRIPT_NAME="+c.name, "PATH_INFO="+c.info, "SCRIPT_FILENAME="+strings.Replace(c.file, "@", s.dir, 1), "DOCUMENT_ROOT=/var/www").variables(t)
		assert.Equal(t, s.path(c.program), v["SCRIPT_FILENAME"], c.front)
		assert.Equal(t, c.wantName, v["SCRIPT_NAME"], c.front)
		assert.Equal(t, c.wantInfo, v["PATH_INFO"], c.front)
		assert.Equal(t, "/var/www", v["DOCUMENT_ROOT"], c.front)
	}
	assert.Equal(t, s.path("bin"), g.ask(nil, "REQUEST_URI=/p.cgi", "SCRIPT_NAME=/p.cgi").variables(t)["DOCUMENT_ROOT"], "the front server has none")
}

func TestNothingOutsideAHostedFolderIsRun(t *testing.T) {
	s := newSite(t)
	s.script("bin/p.cgi", hello, "env")
	s.script("bin/sub/q.cgi", hello, "env")
	s.script("outside.cgi", hello, "out OUTSIDE")
	s.script("bin-more/x.cgi", hello, "out OUTSIDE")
	s.script("bin/.hidden.cgi", hello, "out OUTSIDE")
	s.write("bin/source", source)
	s.link("../outside.cgi", "bin/link.cgi")
	for _, prefix := range []string{"", "/", "/c/"} {
		g := s.host("bin", prefix)
		below := strings.TrimSuffix(prefix, "/")
		for path, status := range map[string]int{
			"/../outside.cgi": 400, "/sub/../../outside.cgi": 400, "/p.cgi\x01": 404, "/none": 404, "/": 403, "/sub": 403, "/.hidden.cgi": 404,
			"/link.cgi": 403, "/source": 403, "/outside.cgi": 404, s.path("outside.cgi"): 404, "/etc/passwd": 404, "/bin-more/x.cgi": 404,
		} {
			uri := strings.ReplaceAll(below+path, "\x01", "%01")
			for _, vars := range [][]string{
				{"SCRIPT_NAME=" + below + path}, {"SCRIPT_NAME=" + below, "PATH_INFO=" + path}, {"SCRIPT_FILENAME=proxy:fcgi://h" + path},
				{"SCRIPT_FILENAME=" + s.path("bin") + path},
			} {
				a := g.ask(nil, append(vars, "REQUEST_URI="+uri)...)
				if prefix == "" {
					assert.Equal(t, status, a.StatusCode, vars)
				}
				assert.Greater(t, a.StatusCode, 300, vars)
				assert.NotContains(t, a.body, "OUTSIDE")
				assert.NotContains(t, a.body, source)
			}
		}
		for _, file := range []string{s.path("outside.cgi"), s.path("bin-more/x.cgi"), s.path("bin")} {
			assert.NotEqual(t, 200, g.ask(nil, "REQUEST_URI=/x", "SCRIPT_NAME=/x", "SCRIPT_FILENAME="+file).StatusCode, file)
		}
		g.shutdown()
	}
}

func TestAHostedScriptAnswersEverything(t *testing.T) {
	s := newSite(t)
	s.script("app.cgi", hello, "env")
	g := s.host("app.cgi", "")
	for _, c := range []struct{ front, name, info, file, wantName, wantInfo string }{
		{"our gateway", "/app", "/x//y", "", "/app", "/x//y"},
		{"our gateway", "/app", "", "", "/app", ""},
		{"our gateway, at /", "", "/x", "", "", "/x"},
		{"nginx", "/a/app.cgi/x/app.cgi", "", "", "/a/app.cgi", "/x/app.cgi"},
		{"nginx, which does not say", "/app/x", "", "", "/app/x", ""},
		{"Apache's ProxyPass", "/app/x y", "", "proxy:fcgi://host:9000/x%20y", "/app", "/x y"},
		{"Apache's ProxyPass", "/app", "", "proxy:fcgi://host:9000/", "/app", ""},
		{"Apache's SetHandler", "/d/app.cgi", "/x", "proxy:fcgi://host:9000/srv/d/app.cgi", "/d/app.cgi", "/x"},
	} {
		v := g.ask(nil, "REQUEST_URI=/any", "SCRIPT_NAME="+c.name, "PATH_INFO="+c.info, "SCRIPT_FILENAME="+c.file).variables(t)
		assert.Equal(t, c.wantName, v["SCRIPT_NAME"], c)
		assert.Equal(t, c.wantInfo, v["PATH_INFO"], c)
		assert.Equal(t, s.path("app.cgi"), v["SCRIPT_FILENAME"], c)
	}
	g.awaitMetric(8, "warmcgi_requests_total", "script=/app.cgi") // clients make no metrics
}

func TestAHostWithAPrefixTakesTheURLAsTheClientSentIt(t *testing.T) {
	s := newSite(t)
	s.script("bin/p.cgi", hello, "env")
	for _, prefix := range []string{"/cgi-bin/", "/cgi-bin"} {
		g := s.host("bin", prefix)
		v := g.ask(nil, "REQUEST_URI=/cgi-bin/p.cgi/x%2Fy?q", "SCRIPT_NAME=/cgi-bin/p.cgi/x/y", "PATH_INFO=", "SCRIPT_FILENAME="+s.path("bin/none")).variables(t)
		assert.Equal(t, "/cgi-bin/p.cgi", v["SCRIPT_NAME"])
		assert.Equal(t, "/x/y", v["PATH_INFO"])
		assert.Equal(t, 404, g.ask(nil, "REQUEST_URI=/elsewhere/p.cgi", "SCRIPT_NAME=/elsewhere", "PATH_INFO=/p.cgi").StatusCode)
		g.requireFailure("not_found", 404, "/elsewhere/p.cgi is not below the prefix /cgi-bin/")
		g.shutdown()
	}
	g := s.host("bin/p.cgi", "/app/")
	v := g.ask(nil, "REQUEST_URI=/app/x", "SCRIPT_NAME=/app/x").variables(t)
	assert.Equal(t, "/app", v["SCRIPT_NAME"])
	assert.Equal(t, "/x", v["PATH_INFO"])
	assert.Equal(t, 200, g.ask(nil, "REQUEST_URI=/app", "SCRIPT_NAME=/app").StatusCode)
}

func TestWhatTheFrontServerSaysOfTheClientReachesAHostedScript(t *testing.T) {
	s := newSite(t)
	s.script("app.cgi", hello, "env")
	s.script("local.cgi", "out Location: /elsewhere\n\n")
	g := s.host("app.cgi", "")
	v := g.ask(nil, "REQUEST_URI=/a", "SCRIPT_NAME=/a", "REMOTE_USER=anna", "AUTH_TYPE=Basic", "REQUEST_SCHEME=https", "SERVER_ADDR=192.0.2.1",
		"HTTP_X_FORWARDED_FOR=198.51.100.1", "UNIQUE_ID=front-1", "SITE=x", "HTTP_AUTHORIZATION=Basic eDp5").variables(t)
	for name, want := range map[string]string{
		"REMOTE_ADDR": "203.0.113.7", "REMOTE_PORT": "4711", "SERVER_NAME": "www.example.org", "SERVER_PORT": "443", "HTTPS": "on", "REMOTE_USER": "anna", "AUTH_TYPE": "Basic",
		"REQUEST_SCHEME": "https", "SERVER_ADDR": "192.0.2.1", "UNIQUE_ID": "front-1", "SITE": "x",
	} {
		assert.Equal(t, want, v[name], name)
	}
	assert.NotContains(t, v, "HTTP_AUTHORIZATION")
	assert.Equal(t, "front-1", g.logged(1)[0].ID, "both logs have the same id")
	g.ask(nil, "REQUEST_URI=/a", "SCRIPT_NAME=/a", "UNIQUE_ID=line\nbreak")
	assert.NotContains(t, g.logged(2)[1].ID, "line")
	g.shutdown()

	g = s.host("app.cgi", "", func(_ *config.Config, r *config.Route) { r.Authorization = config.AuthorizationPass })
	assert.Equal(t, "Basic eDp5", g.ask(nil, "REQUEST_URI=/a", "SCRIPT_NAME=/a", "HTTP_AUTHORIZATION=Basic eDp5").variables(t)["HTTP_AUTHORIZATION"])
	g.shutdown()

	// Only the front server knows what is at another path.
	for _, prefix := range []string{"", "/"} {
		g = s.host("local.cgi", prefix)
		a := g.ask(nil, "REQUEST_URI=/a", "SCRIPT_NAME=/a")
		assert.Equal(t, 302, a.StatusCode)
		assert.Equal(t, "/elsewhere", a.Header.Get("Location"))
		g.shutdown()
	}
}
