package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/config"
)

// control asks the admin door to do something; fields are names and values.
func (g *testGateway) control(method, path, body string, fields ...string) *answer {
	g.t.Helper()
	r, err := http.NewRequest(method, "http://"+g.AdminAddr().String()+path, strings.NewReader(body))
	require.NoError(g.t, err)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		} else {
			r.Header.Set(fields[i], fields[i+1])
		}
	}
	return doWith(g.t, g.http, r)
}

const drainBody = `{"draining": true}`

func TestWithoutATokenControlIsForNoWebPage(t *testing.T) {
	g := newSite(t).serve(scripts + "admin: {listen: 127.0.0.1:0, allow_hosts: [gw.example.org]}\n")
	for _, c := range []struct {
		name   string
		fields []string
		status int
		says   string
	}{
		{"a simple request", nil, 403, "X-Warmcgi-Control"},
		{"a rebound name", []string{"X-Warmcgi-Control", "1", "Host", "evil.example:80"}, 421, `not called \"evil.example:80\"`},
		{"no name", []string{"X-Warmcgi-Control", "1", "Host", "localhost.evil.example"}, 421, "not called"},
		{"another origin", []string{"X-Warmcgi-Control", "1", "Origin", "http://evil.example"}, 403, "another origin"},
		{"a browser's own word", []string{"X-Warmcgi-Control", "1", "Sec-Fetch-Site", "cross-site"}, 403, "another origin"},
		{"an allowed name", []string{"X-Warmcgi-Control", "1", "Host", "GW.example.org:443"}, 200, "serves on"},
		{"localhost", []string{"X-Warmcgi-Control", "1", "Host", "localhost:9180"}, 200, "serves on"},
		{"IPv6", []string{"X-Warmcgi-Control", "1", "Host", "[::1]:9180"}, 200, "serves on"},
	} {
		a := g.control("PUT", "/api/v1/drain", drainBody, c.fields...)
		assert.Equal(t, c.status, a.StatusCode, c.name)
		assert.Contains(t, a.body, c.says, c.name)
	}
	assert.Equal(t, 421, g.control("GET", "/status", "", "Host", "evil.example").StatusCode, "nor is anything to be read")
	assert.Equal(t, 421, g.control("GET", "/", "", "Host", "evil.example").StatusCode)
	assert.Equal(t, 200, g.control("GET", "/healthz", "", "Host", "evil.example").StatusCode)
	assert.InDelta(t, 4, g.metric("warmcgi_admin_refused_total", "why=host"), 0)
	assert.InDelta(t, 2, g.metric("warmcgi_admin_refused_total", "why=origin"), 0)
	g.awaitLog("control: done", "action=drain", "by=127.0.0.1")
}

func TestATokenOpensTheAdminDoorAndNothingElseDoes(t *testing.T) {
	const token = "0123456789abcdef-token"
	s := newSite(t)
	s.write("token", token+"\n")
	g := s.serve(scripts + "admin: {listen: 127.0.0.1:0, token_file: token, pprof: true}\n")
	for _, path := range []string{"/status", "/metrics", "/api/v1/live", "/api/v1/events", "/debug/pprof/"} {
		a := g.control("GET", path, "")
		assert.Equal(t, 401, a.StatusCode, path)
		assert.Equal(t, `Bearer realm="warmcgi"`, a.Header.Get("WWW-Authenticate"))
		assert.Contains(t, g.control("GET", path, "", "Authorization", "Bearer "+token[1:]).body, "the token is wrong")
		assert.Equal(t, 401, g.control("GET", path, "", "Authorization", "Basic "+token).StatusCode)
	}
	for _, path := range []string{"/", "/dashboard.js", "/healthz", "/readyz"} {
		assert.Equal(t, 200, g.control("GET", path, "").StatusCode, path)
	}
	assert.Equal(t, 401, g.control("PUT", "/api/v1/drain", drainBody, "X-Warmcgi-Control", "1").StatusCode, "also on loopback")
	assert.Equal(t, 200, g.control("PUT", "/api/v1/drain", drainBody, "Authorization", "bearer "+token).StatusCode)
	assert.Equal(t, 200, g.control("GET", "/debug/pprof/", "", "Authorization", "Bearer "+token).StatusCode)
	assert.Equal(t, 200, g.control("GET", "/status", "", "Authorization", "Bearer "+token, "Host", "whatever.example").StatusCode)
	assert.NotContains(t, g.log.String(), token)
}

func TestAnAdminDoorThatCanNotBeGuardedDoesNotOpen(t *testing.T) {
	s := newSite(t)
	s.write("short", "abc\n")
	s.write("words", "one two three four five\n")
	for admin, says := range map[string]string{
		"{listen: 127.0.0.1:0, token_file: none}":      "admin token: open ",
		"{listen: 127.0.0.1:0, token_file: short}":     "it has 3 characters, at least 16 are needed",
		"{listen: 127.0.0.1:0, token_file: words}":     "without blanks",
		"{listen: 127.0.0.1:0, token_env: WCGI_UNSET}": "the environment variable WCGI_UNSET is not set",
	} {
		_, err := New(s.config(scripts+"admin: "+admin+"\n"), Options{})
		assert.ErrorContains(t, err, says)
	}
	// What no file has said: as shim serve does.
	c := s.config(scripts)
	var err error
	c.Admin.Listen, err = config.ParseAddress("0.0.0.0:0")
	require.NoError(t, err)
	_, err = New(c, Options{})
	assert.ErrorContains(t, err, "can be reached by other machines")
}

func TestDrainingIsNotReadyAndServesOn(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts)
	assert.Equal(t, 200, g.control("PUT", "/api/v1/drain", drainBody, "X-Warmcgi-Control", "1").StatusCode)
	a := g.admin("/readyz")
	assert.Equal(t, 503, a.StatusCode)
	assert.Equal(t, "draining\n", a.body)
	assert.Equal(t, 200, g.admin("/healthz").StatusCode)
	assert.Equal(t, 200, g.get("/cgi-bin/p").StatusCode)
	assert.Contains(t, g.admin("/api/v1/live").body, `"draining":{"by":"127.0.0.1"`)
	assert.Equal(t, 200, g.control("PUT", "/api/v1/drain", `{"draining": false}`, "X-Warmcgi-Control", "1").StatusCode)
	assert.Equal(t, 200, g.admin("/readyz").StatusCode)
}

// process is a program around the server that fails, or does nothing.
type process struct{ err error }

func (p process) Reload(context.Context) (*Reloaded, error) { return &Reloaded{}, p.err }
func (p process) Upgrade(context.Context) (int, error)      { return 1, p.err }

func TestReloadIsHonestAboutWhatThereIs(t *testing.T) {
	g := newSite(t).serve(scripts)
	a := g.control("POST", "/api/v1/reload", "", "X-Warmcgi-Control", "1")
	assert.Equal(t, 501, a.StatusCode)
	assert.Contains(t, a.body, "not supported")
	assert.NotContains(t, g.admin("/api/v1/about").body, `"reload"`)
	g.SetProcess(process{errors.New("line 3: unknown key")})
	a = g.control("POST", "/api/v1/reload", "", "X-Warmcgi-Control", "1")
	assert.Equal(t, 409, a.StatusCode)
	assert.Contains(t, a.body, "line 3: unknown key")
	g.SetProcess(process{})
	assert.Equal(t, 200, g.control("POST", "/api/v1/reload", "", "X-Warmcgi-Control", "1").StatusCode)
	assert.Contains(t, g.admin("/api/v1/about").body, `"reload"`)
	assert.InDelta(t, 2, g.metric("warmcgi_admin_actions_total", "action=reload", "result=failed"), 0)
}

func TestWhatMakesNoSenseIsSaid(t *testing.T) {
	g := newSite(t).serve(scripts)
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "/api/v1/drain", `{}`, 400, "draining"},
		{"PUT", "/api/v1/drain", `{"drain": true}`, 400, "unknown field"},
		{"PUT", "/api/v1/drain", `{"draining": true} x`, 400, "one JSON object"},
		{"PUT", "/api/v1/log-level", `{"level": "loud"}`, 400, "debug, info, warn, error"},
		{"PUT", "/api/v1/log-level", `{"level": "debug"}`, 501, "for good"},
		{"POST", "/api/v1/scripts/restart", `{}`, 400, "which script?"},
		{"POST", "/api/v1/scripts/restart", `{"script": "/x"}`, 501, "is spawned"},
		{"PUT", "/api/v1/scripts/mode", `{"script": "/x", "mode": "worm"}`, 400, "spawn, warm, reuse, configured"},
		{"PUT", "/api/v1/scripts/workers", `{"script": "/x", "max": 0, "spare": 0}`, 400, "max is from 1"},
		{"PUT", "/api/v1/scripts/workers", `{"script": "/x", "max": 2, "spare": 3}`, 400, "spare from 0 to max"},
		{"GET", "/api/v1/failures?most=x", "", 400, "is not a number"},
	} {
		a := g.control(c.method, c.path, c.body, "X-Warmcgi-Control", "1")
		assert.Equal(t, c.status, a.StatusCode, c.path+c.body)
		assert.Contains(t, a.body, c.says)
	}
	assert.Equal(t, 400, g.control("PUT", "/api/v1/drain", drainBody, "X-Warmcgi-Control", "1", "Content-Type", "text/plain").StatusCode)
}

// The OpenAPI file is what is answered: each answer fits its schema, which knows no other keys.
func TestTheAnswersAreAsTheOpenAPIFileSays(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.script("cgi-bin/fails", "exit 1")
	s.script("cgi-bin/hangs", hello, "touch up", "await go")
	g := s.serve(scripts + "  - {path: /app, fastcgi: {servers: [\"127.0.0.1:1\"]}}\nadmin: {listen: 127.0.0.1:0, show_queries: true}\n")
	g.get("/cgi-bin/p")
	g.get("/cgi-bin/fails?q=1")
	g.get("/app")
	hanging := g.dial().send("GET /cgi-bin/hangs?q=2 HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(g.admin("/api/v1/openapi.json").body))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	require.NoError(t, c.AddResource("openapi.json", doc))
	fits := func(name, body string) {
		t.Helper()
		schema, err := c.Compile("openapi.json#/components/schemas/" + name)
		require.NoError(t, err)
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		require.NoError(t, err, body)
		assert.NoError(t, schema.Validate(v), body)
	}
	for path, name := range map[string]string{
		"/status": "Status", "/api/v1/status": "Status", "/api/v1/about": "About", "/api/v1/live": "Live",
		"/api/v1/history": "History", "/api/v1/failures": "Failures", "/api/v1/none": "Error",
	} {
		fits(name, g.admin(path).body)
	}
	assert.Contains(t, g.admin("/api/v1/live").body, `"query":"q=2"`)
	assert.Contains(t, g.admin("/api/v1/failures?script=/cgi-bin/fails").body, `"query":"q=1"`)
	fits("Done", g.control("PUT", "/api/v1/drain", drainBody, "X-Warmcgi-Control", "1").body)
	fits("Live", g.admin("/api/v1/live").body)

	// The stream has the same objects, and ends with the gateway.
	res, err := http.Get("http://" + g.AdminAddr().String() + "/api/v1/events")
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	var names []string
	for len(names) < 6 && lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			names = append(names, name)
			require.True(t, lines.Scan())
			fits(strings.ToUpper(name[:1])+name[1:], strings.TrimPrefix(lines.Text(), "data: "))
		}
	}
	assert.Equal(t, []string{"about", "history", "live", "failures", "live", "live"}, names)
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	s.touch("cgi-bin/go")
	hanging.answer("GET")
}

func TestListenersAreBoundedAndASlowOneHoldsNothingUp(t *testing.T) {
	g := newSite(t).serve(scripts)
	var all []*rawClient
	for range 32 { // which read nothing
		all = append(all, g.dialAddr(g.AdminAddr()).send("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	}
	g.awaitMetric(32, "warmcgi_admin_listeners")
	a := g.admin("/api/v1/events")
	assert.Equal(t, 503, a.StatusCode)
	assert.Contains(t, a.body, "32 listen already")
	assert.InDelta(t, 1, g.metric("warmcgi_admin_refused_total", "why=listeners"), 0)
	assert.Equal(t, 200, g.admin("/api/v1/live").StatusCode)
	for _, c := range all {
		c.Close()
	}
	g.awaitMetric(0, "warmcgi_admin_listeners")
}

func TestTheOpenAPIFileHasEveryPath(t *testing.T) {
	b, err := os.ReadFile("../admin/page/openapi.json")
	require.NoError(t, err)
	var doc struct{ Paths map[string]map[string]any }
	require.NoError(t, json.Unmarshal(b, &doc))
	manual, err := os.ReadFile("../../docs/admin-api.md")
	require.NoError(t, err)
	for path := range doc.Paths {
		assert.Contains(t, string(manual), path, "in docs/admin-api.md")
	}
}
