package mapping

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/yookoala/gofast"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// apply makes a chain of what a step has returned, and applies it.
func apply(t *testing.T, chain []gofast.Middleware, vars ...string) ([]string, error) {
	t.Helper()
	r, err := http.NewRequest("GET", "/x", nil)
	require.NoError(t, err)
	return New(chain).Apply(t.Context(), r, vars)
}

func step(t *testing.T) func(gofast.Middleware, error) gofast.Middleware {
	return func(m gofast.Middleware, err error) gofast.Middleware {
		t.Helper()
		require.NoError(t, err)
		return m
	}
}

func TestParametersAreSetFromOthers(t *testing.T) {
	must := step(t)
	got, err := apply(t, []gofast.Middleware{
		must(Set(map[string]string{"FILE": "/app%{NAME}", "NAME": "%{FILE}", "PLAIN": "100%% of %{NONE}it", "EMPTY": ""})),
		must(Set(map[string]string{"NEXT": "%{FILE}%{FILE}"})),
	}, "NAME=/x=y", "FILE=old", "KEPT=a=b")
	require.NoError(t, err)
	assert.Equal(t, []string{"EMPTY=", "FILE=/app/x=y", "KEPT=a=b", "NAME=old", "NEXT=/app/x=y/app/x=y", "PLAIN=100% of it"}, got)
}

func TestParametersAreLeftOutAndRenamed(t *testing.T) {
	must := step(t)
	got, err := apply(t, []gofast.Middleware{
		must(Unset([]string{"A", "NONE"})),
		must(Rename(map[string]string{"B": "C", "C": "B", "NONE": "D", "E": "F"})),
	}, "A=1", "B=2", "C=3", "D=4", "E=5", "F=6")
	require.NoError(t, err)
	assert.Equal(t, []string{"B=3", "C=2", "D=4", "F=5"}, got)
}

func TestTheLastOfTwoParametersCounts(t *testing.T) {
	r, err := http.NewRequest("GET", "/x", nil)
	require.NoError(t, err)
	got, err := New([]gofast.Middleware{step(t)(Unset([]string{"X"}))}).Apply(t.Context(), r, []string{"A=1", "B=2"}, []string{"A=3"})
	require.NoError(t, err)
	assert.Equal(t, []string{"A=3", "B=2"}, got)
}

func TestNginxsParametersAreAdded(t *testing.T) {
	nginx, ok := Named("nginx")
	require.True(t, ok)
	got, err := apply(t, []gofast.Middleware{nginx}, "SCRIPT_NAME=/a.php", "PATH_INFO=/b", "REMOTE_USER=ada")
	require.NoError(t, err)
	assert.Equal(t, []string{"CONTENT_TYPE=", "DOCUMENT_URI=/a.php/b", "PATH_INFO=/b", "REDIRECT_STATUS=200", "REMOTE_USER=ada", "SCRIPT_NAME=/a.php"}, got)
	_, ok = Named("none")
	assert.False(t, ok)
}

// aMiddleware is one that does f and goes on.
func aMiddleware(f func(req *gofast.Request)) gofast.Middleware {
	return func(next gofast.SessionHandler) gofast.SessionHandler {
		return func(client gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
			f(req)
			return next(client, req)
		}
	}
}

func TestGofastsOwnMiddlewaresWork(t *testing.T) {
	got, err := apply(t, []gofast.Middleware{gofast.FilterAuthReqParams, gofast.MapEndpoint("/srv/app.fcgi")}, "PATH_INFO=/x", "REQUEST_METHOD=GET")
	require.NoError(t, err)
	assert.Contains(t, got, "REQUEST_METHOD=GET")
	assert.Contains(t, got, "SCRIPT_FILENAME=/srv/app.fcgi")
}

func TestAMappingSeesTheRequest(t *testing.T) {
	type key struct{}
	r, err := http.NewRequest("POST", "/x?y", http.NoBody)
	require.NoError(t, err)
	ctx := context.WithValue(t.Context(), key{}, "v")
	_, err = New([]gofast.Middleware{aMiddleware(func(req *gofast.Request) {
		assert.Equal(t, "/x", req.Raw.URL.Path)
		assert.Equal(t, "v", req.Raw.Context().Value(key{}))
		n, _ := req.Raw.Body.Read(make([]byte, 1))
		assert.Zero(t, n)
	})}).Apply(ctx, r, nil)
	require.NoError(t, err)
}

func TestTheLengthOfTheBodyStaysWhatItIs(t *testing.T) {
	forge := []gofast.Middleware{aMiddleware(func(req *gofast.Request) { req.Params["CONTENT_LENGTH"] = "99" })}
	got, err := apply(t, forge, "CONTENT_LENGTH=5")
	require.NoError(t, err)
	assert.Equal(t, []string{"CONTENT_LENGTH=5"}, got)
	got, err = apply(t, forge, "A=1")
	require.NoError(t, err)
	assert.Equal(t, []string{"A=1"}, got)
	got, err = apply(t, []gofast.Middleware{aMiddleware(func(req *gofast.Request) { req.Params = map[string]string{} })}, "CONTENT_LENGTH=5")
	require.NoError(t, err)
	assert.Equal(t, []string{"CONTENT_LENGTH=5"}, got)
}

func TestAMappingThatMakesNoRequestIsAnError(t *testing.T) {
	refused := errors.New("refused")
	for name, m := range map[string]gofast.Middleware{
		"refuses": func(gofast.SessionHandler) gofast.SessionHandler {
			return func(gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) { return nil, refused }
		},
		"does not go on": func(gofast.SessionHandler) gofast.SessionHandler {
			return func(gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) { return nil, nil }
		},
		"goes on twice": func(next gofast.SessionHandler) gofast.SessionHandler {
			return func(c gofast.Client, r *gofast.Request) (*gofast.ResponsePipe, error) { next(c, r); return next(c, r) }
		},
		"no parameters": aMiddleware(func(req *gofast.Request) { req.Params = nil }),
		"no name":       aMiddleware(func(req *gofast.Request) { req.Params[""] = "x" }),
		"= in a name":   aMiddleware(func(req *gofast.Request) { req.Params["A=B"] = "x" }),
		"NUL":           aMiddleware(func(req *gofast.Request) { req.Params["A"] = "x\x00B=y" }),
	} {
		_, err := apply(t, []gofast.Middleware{m}, "A=1")
		assert.ErrorIs(t, err, ErrParams, name)
		if name == "refuses" {
			assert.ErrorIs(t, err, refused)
		}
	}
}

func TestNamesAndValuesThatCannotBeMeantAreRefused(t *testing.T) {
	for _, name := range []string{"", "A B", "A=B", "1A", "A-B", "Ä", "A\x00", "CONTENT_LENGTH", "HTTP_PROXY"} {
		assert.Error(t, CheckName(name), name)
		_, err := Set(map[string]string{name: "x"})
		assert.Error(t, err, name)
		_, err = Unset([]string{name})
		assert.Error(t, err, name)
		_, err = Rename(map[string]string{name: "X"})
		assert.Error(t, err, name)
		_, err = Rename(map[string]string{"X": name})
		assert.Error(t, err, name)
	}
	for _, name := range []string{"A", "_a1", "HTTP_X_Y", "SCRIPT_FILENAME"} {
		assert.NoError(t, CheckName(name), name)
	}
	for _, value := range []string{"%", "a%", "%x", "%{", "%{}", "%{A B}", "%{A", "a\x00b", "%%\x00"} {
		assert.Error(t, CheckText(value), value)
		_, err := Set(map[string]string{"A": value})
		assert.Error(t, err, value)
	}
	_, err := Rename(map[string]string{"A": "A"})
	assert.Error(t, err)
	_, err = Rename(map[string]string{"A": "X", "B": "X"})
	assert.Error(t, err)
	assert.Nil(t, New(nil), "no cost where nothing is to be done")
}

func BenchmarkApply(b *testing.B) {
	set, err := Set(map[string]string{"SCRIPT_FILENAME": "/app%{SCRIPT_NAME}"})
	require.NoError(b, err)
	p := New([]gofast.Middleware{set, nginx})
	r, err := http.NewRequest("GET", "/x", nil)
	require.NoError(b, err)
	vars := []string{"SCRIPT_NAME=/x"}
	for _, name := range []string{"A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T"} {
		vars = append(vars, "HTTP_"+name+"=value")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Apply(b.Context(), r, vars); err != nil {
			b.Fatal(err)
		}
	}
}
