package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A fakeApp is a [backend] that answers with what a test tells it to.
type fakeApp struct {
	*backend
	say atomic.Pointer[func(q appRequest) (stdout string, end bool)]

	mu   sync.Mutex
	last appRequest
}

// appRequest is what a request has brought.
type appRequest struct {
	role byte
	vars map[string]string
	body string
}

// app listens at the socket app of the site. Without end, the connection ends instead of the
// request.
func (s *site) app(say func(q appRequest) (stdout string, end bool)) *fakeApp {
	s.t.Helper()
	a := &fakeApp{}
	a.say.Store(&say)
	a.backend = s.backend(func(q *asked) bool {
		r := appRequest{role: q.role, vars: q.vars}
		var whole bool
		if r.body, whole = q.body(); !whole {
			return false
		}
		a.mu.Lock()
		a.last = r
		a.mu.Unlock()
		out, end := (*a.say.Load())(r)
		if q.stdout(out); end {
			q.end(0)
		}
		return end
	})
	return a
}

// asked is the last request.
func (a *fakeApp) asked() appRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

func (a *fakeApp) says(stdout string) {
	say := func(appRequest) (string, bool) { return stdout, true }
	a.say.Store(&say)
}

const authorized = `
routes:
  - {path: /cgi-bin/, cgi: {dir: cgi-bin}, authorize: {fastcgi: {servers: ['unix:app']}, timeout: 10s}, env: {OWN: own}}
  - {path: /login/, files: {root: www}}
`

func authorizedSite(t *testing.T, stdout string) (*testGateway, *fakeApp) {
	s := newSite(t)
	a := s.app(nil)
	a.says(stdout)
	s.script("cgi-bin/p", hello, "env")
	s.script("cgi-bin/cat", "touch ran", "cat")
	return s.serve(authorized), a
}

func TestAnAuthorizerIsAskedAsTheSpecificationHasIt(t *testing.T) {
	g, a := authorizedSite(t, "Content-Type: text/plain\n\nignored")
	got := g.post("/cgi-bin/p/extra?q=1", "the body", "X-One", "1", "Authorization", "Bearer x").variables(t)
	assert.NotContains(t, got, "HTTP_AUTHORIZATION", "that is the authorizer's")
	assert.Equal(t, "/extra", got["PATH_INFO"])
	q := a.asked()
	assert.EqualValues(t, 2, q.role)
	assert.Empty(t, q.body)
	for name, want := range map[string]string{
		"REQUEST_METHOD": "POST", "REQUEST_URI": "/cgi-bin/p/extra?q=1", "QUERY_STRING": "q=1", "HTTP_X_ONE": "1",
		"HTTP_AUTHORIZATION": "Bearer x", "GATEWAY_INTERFACE": "CGI/1.1", "OWN": "own", "REMOTE_ADDR": "127.0.0.1",
	} {
		assert.Equal(t, want, q.vars[name], name)
	}
	for _, name := range []string{"CONTENT_LENGTH", "PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME", "SCRIPT_FILENAME"} {
		assert.NotContains(t, q.vars, name)
	}
}

func TestTheConnectionsOfAnAuthorizerAreKept(t *testing.T) {
	g, a := authorizedSite(t, "Status: 200\nVariable-N: 1\n\nignored")
	for range 20 {
		assert.Equal(t, "1", g.get("/cgi-bin/p").variables(t)["N"])
	}
	assert.EqualValues(t, 1, a.conns.Load())
	a.says("Status: 403\n\nno")
	for range 20 {
		assert.Equal(t, "no", g.get("/cgi-bin/p").body)
	}
	assert.EqualValues(t, 1, a.conns.Load())
	assert.EqualValues(t, 20, g.metric("warmcgi_authorizations_total", "outcome=denied"))
}

func TestAnAuthorizersAnswerThatIsNotUsableLetsNobodyIn(t *testing.T) {
	g, a := authorizedSite(t, "")
	for name, c := range map[string]struct {
		say    func(appRequest) (string, bool)
		status int
		why    string
	}{
		"nothing":                   {func(appRequest) (string, bool) { return "", true }, 502, "no_output"},
		"closed":                    {func(appRequest) (string, bool) { return "", false }, 502, "no_output"},
		"closed behind the head":    {func(appRequest) (string, bool) { return "Status: 200\n\nsome", false }, 502, "truncated"},
		"less than announced":       {func(appRequest) (string, bool) { return "Content-Length: 9\n\nsome", true }, 502, "truncated"},
		"no head":                   {func(appRequest) (string, bool) { return "bogus\n\n", true }, 502, "bad_head"},
		"too much":                  {func(appRequest) (string, bool) { return "\n" + strings.Repeat("x", 100_000), true }, 502, "bad_head"},
		"too much behind a head":    {func(appRequest) (string, bool) { return "A: b\n\n" + strings.Repeat("x", 100_000), true }, 502, "authorizer"},
		"a variable without a name": {func(appRequest) (string, bool) { return "Variable-: x\n\n", true }, 502, "authorizer"},
		"a name that is none":       {func(appRequest) (string, bool) { return "Variable-A.B: x\n\n", true }, 502, "authorizer"},
		"a digit first":             {func(appRequest) (string, bool) { return "Variable-1: x\n\n", true }, 502, "authorizer"},
		"= in a name":               {func(appRequest) (string, bool) { return "Variable-A=B: x\n\n", true }, 502, "bad_head"},
		"NUL in a value":            {func(appRequest) (string, bool) { return "Variable-A: x\x00y\n\n", true }, 502, "bad_head"},
		"twice":                     {func(appRequest) (string, bool) { return "Variable-A: x\nVariable-a: x\n\n", true }, 502, "authorizer"},
		"twice, spelled otherwise":  {func(appRequest) (string, bool) { return "Variable-A-B: x\nVariable-A_B: x\n\n", true }, 502, "authorizer"},
		"one of the route's env":    {func(appRequest) (string, bool) { return "Variable-OWN: x\n\n", true }, 502, "authorizer"},
	} {
		t.Run(name, func(t *testing.T) {
			a.say.Store(&c.say)
			failed, why := g.metric("warmcgi_authorizations_total", "outcome=failed"), g.metric("warmcgi_request_errors_total", "why="+c.why)
			got := g.post("/cgi-bin/cat", "body")
			assert.Equal(t, c.status, got.StatusCode)
			assert.NotContains(t, got.body, "body")
			assert.Equal(t, failed+1, g.metric("warmcgi_authorizations_total", "outcome=failed"))
			assert.Equal(t, why+1, g.metric("warmcgi_request_errors_total", "why="+c.why))
		})
	}
	a.says("Status: 503\nRetry-After: 7\nContent-Type: text/plain\n\nlater")
	got := g.get("/cgi-bin/p")
	assert.Equal(t, 503, got.StatusCode)
	assert.Equal(t, "7", got.Header.Get("Retry-After"))
	assert.Equal(t, "later", got.body)
	g.awaitLog("the authorizer has failed", "status=503")
	a.ln.Close()
	a.say.Store(new(func(appRequest) (string, bool) { return "", false }))
	eventually(t, func() bool { return g.get("/cgi-bin/p").StatusCode == 502 }, "nobody listens")
	assert.NoFileExists(t, g.site.path("ran"))
	assert.NoFileExists(t, g.site.path("cgi-bin/ran"))
}

func TestAnAuthorizerThatHangsLetsNobodyIn(t *testing.T) {
	s := newSite(t)
	hung := make(chan struct{})
	s.app(func(appRequest) (string, bool) { <-hung; return "", false })
	t.Cleanup(func() { close(hung) })
	s.script("cgi-bin/p", hello)
	g := s.serve(strings.Replace(authorized, "timeout: 10s", "timeout: 50ms", 1))
	assert.Equal(t, 504, g.get("/cgi-bin/p").StatusCode)
	g.requireFailure("timeout", 504, "authorizer")
	assert.EqualValues(t, 1, g.metric("warmcgi_authorizations_total", "outcome=failed"))
}

func TestAnAuthorizersRedirectIsTheClients(t *testing.T) {
	g, a := authorizedSite(t, "Location: /login/\n\n")
	g.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for said, want := range map[string]string{
		"Location: /login/\n\n":                       "302 /login/",
		"Location: https://sso.example.org/\n\n":      "302 https://sso.example.org/",
		"Location: /login/\nSet-Cookie: a=b\n\n":      "302 /login/",
		"Status: 303\nLocation: /login/\n\n":          "303 /login/",
		"Status: 200\nLocation: /login/\n\n":          "200 ",
		"Status: 200\nX-Sendfile: /etc/passwd\n\nx\n": "200 ",
	} {
		a.says(said)
		got := g.get("/cgi-bin/p")
		assert.Equal(t, want, fmt.Sprint(got.StatusCode, " ", got.Header.Get("Location")), said)
	}
}

func TestARefusedUploadGetsItsAnswer(t *testing.T) {
	g, _ := authorizedSite(t, "Status: 403 Never\nContent-Type: text/plain\n\nno")
	for _, size := range []int{1, 100_000, 8 << 20} {
		for _, chunked := range []bool{false, true} {
			r := g.request("POST", "/cgi-bin/cat", strings.NewReader(strings.Repeat("b", size)))
			if chunked {
				r.ContentLength = -1
			}
			a := g.do(r)
			assert.Equal(t, 403, a.StatusCode)
			assert.Equal(t, "no", a.body)
		}
	}
	c := g.dial() // a client that sends all first
	got := c.send("POST /cgi-bin/cat HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\nConnection: close\r\n\r\n" + strings.Repeat("b", 3_000_000)).rest()
	assert.True(t, strings.HasPrefix(got, "HTTP/1.1 403"), "%.100q", got)
	c = g.dial() // the connection goes on behind a body that has come
	c.send("POST /cgi-bin/cat HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
	assert.Equal(t, 403, c.answer("POST").StatusCode)
	c.send("GET /login/none HTTP/1.1\r\nHost: x\r\n\r\n")
	assert.Equal(t, 404, c.answer("GET").StatusCode)
	c = g.dial() // whoever waits for our word is not asked for the body
	c.send("POST /cgi-bin/cat HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	assert.Equal(t, 403, c.answer("POST").StatusCode)
}

func TestALogInThatIsMissingIsAskedForBehindALargeBodyToo(t *testing.T) {
	g := guarded(t, "")
	for range 5 {
		r := g.request("POST", "/cgi-bin/p", strings.NewReader(strings.Repeat("b", 8<<20)))
		assert.Equal(t, 401, g.do(r).StatusCode)
	}
}

func TestAnAuthorizerIsAskedOnAFastCGIDoorToo(t *testing.T) {
	s := newSite(t)
	a := s.app(nil)
	a.says("Variable-REMOTE_USER: ada\n\n")
	s.script("cgi-bin/p", hello, "env")
	g := s.serve("listen: [{fastcgi: 'unix:fcgi.sock'}]\n" + authorized)
	vars := g.ask([]byte("body"), "REQUEST_URI=/cgi-bin/p/x", "SCRIPT_NAME=/cgi-bin/p", "PATH_INFO=/x", "REMOTE_USER=front", "AUTH_TYPE=Front", "SITE=one").variables(t)
	assert.Equal(t, "ada", vars["REMOTE_USER"])
	assert.Equal(t, "Front", vars["AUTH_TYPE"])
	assert.Equal(t, "4", vars["CONTENT_LENGTH"])
	q := a.asked()
	assert.Equal(t, "front", q.vars["REMOTE_USER"])
	assert.Equal(t, "one", q.vars["SITE"])
	for _, name := range []string{"CONTENT_LENGTH", "PATH_INFO", "SCRIPT_NAME"} {
		assert.NotContains(t, q.vars, name)
	}
	a.says("Status: 403\n\nno")
	assert.Equal(t, 403, g.ask([]byte(strings.Repeat("b", 1<<20)), "REQUEST_URI=/cgi-bin/p").StatusCode)
}

func TestExplainNamesTheAuthorizer(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello)
	s.write("htpasswd", "")
	c := s.config(strings.Replace(authorized, "env:", "auth: {basic: {htpasswd: htpasswd}}, env:", 1))
	r, err := http.NewRequest("GET", "/cgi-bin/p", nil)
	require.NoError(t, err)
	e, err := Explain(c, r)
	require.NoError(t, err)
	assert.Equal(t, `Basic auth, realm "restricted", then the FastCGI authorizer unix:`+s.path("app"), e.Access)
	require.NotNil(t, e.Script)
}

func TestAClientThatLeavesWhileItIsDecidedAboutIsNoFailure(t *testing.T) {
	s := newSite(t)
	asked, hung := make(chan struct{}), make(chan struct{})
	s.app(func(appRequest) (string, bool) { close(asked); <-hung; return "", false })
	t.Cleanup(func() { close(hung) })
	s.script("cgi-bin/p", hello)
	g := s.serve(authorized)
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-asked; leave() }() // ends with the request
	_, err := g.http.Do(g.request("GET", "/cgi-bin/p", nil).WithContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
	g.awaitMetric(1, "warmcgi_authorizations_total", "outcome=gone")
	assert.Zero(t, g.metric("warmcgi_authorizations_total", "outcome=failed"))
}
