package gateway

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/yookoala/gofast"

	"warmcgi/internal/mapping"
)

func TestTheParametersOfAnApplicationAreChanged(t *testing.T) {
	s := newSite(t)
	a := s.app(func(appRequest) (string, bool) { return "Content-Type: text/plain\n\nhello", true })
	yaml := `
routes:
  - path: /app
    env: {STAGE: test, OLD: old}
    fastcgi:
      servers: ['unix:app']
      params:
        - set: {SCRIPT_FILENAME: "/app%{SCRIPT_NAME}", STAGE: "%{STAGE}-%{REQUEST_METHOD}"}
        - rename: {OLD: NEW}
        - unset: [HTTP_X_SECRET]
        - use: nginx
  - path: /plain
    env: {STAGE: test}
    fastcgi: {servers: ['unix:app']}
  - path: /asked/
    files: {root: www}
    authorize: {fastcgi: {servers: ['unix:app'], params: [{set: {SCRIPT_FILENAME: /auth.php}}]}}
`
	g := s.serve(yaml)
	assert.Equal(t, "hello", g.post("/app/x", "body", "X-Secret", "s", "X-One", "1").body)
	q := a.asked()
	for name, want := range map[string]string{
		"SCRIPT_FILENAME": "/app/app", "STAGE": "test-POST", "NEW": "old", "HTTP_X_ONE": "1", "CONTENT_LENGTH": "4",
		"DOCUMENT_URI": "/app/x", "REDIRECT_STATUS": "200", "REMOTE_USER": "", "REQUEST_URI": "/app/x",
	} {
		assert.Equal(t, want, q.vars[name], name)
	}
	assert.NotContains(t, q.vars, "OLD")
	assert.NotContains(t, q.vars, "HTTP_X_SECRET")
	assert.Equal(t, "body", q.body)
	g.get("/plain")
	assert.Equal(t, "test", a.asked().vars["STAGE"])
	assert.NotContains(t, a.asked().vars, "DOCUMENT_URI")
	g.get("/asked/x")
	assert.Equal(t, "/auth.php", a.asked().vars["SCRIPT_FILENAME"])

	r, err := http.NewRequest("GET", "/app/x", nil)
	require.NoError(t, err)
	e, err := Explain(s.config(yaml), r)
	require.NoError(t, err)
	assert.Contains(t, e.Script.Vars, "STAGE=test-GET")
	assert.Empty(t, e.Script.Env)
}

func TestAMappingThatRefusesARequestIsCountedAndLogged(t *testing.T) {
	s := newSite(t)
	s.app(func(appRequest) (string, bool) { return "Content-Type: text/plain\n\nhello", true })
	g := s.serve("routes: [{path: /app, fastcgi: {servers: ['unix:app'], params: [{use: nginx}]}}]\n", func(s *Server) {
		s.state.Load().routes[0].params = mapping.New([]gofast.Middleware{func(gofast.SessionHandler) gofast.SessionHandler {
			return func(gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) {
				return nil, errors.New("not today")
			}
		}})
	})
	assert.Equal(t, 500, g.post("/app", "body").StatusCode)
	g.requireFailure("params", 500, "not today")
}
