package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/pool"
)

// An Explanation says what would answer a request.
type Explanation struct {
	// Route is the path of the route, or "".
	Route string
	// Access says who may come in, where not everybody may.
	Access string
	// Mode is how the script would run; Script is the request that it would get, or
	// nil where no script answers.
	Mode   string
	Script *cgi.Request
	// Answer says what happens where no script answers.
	Answer string
}

// errExplained ends a request before anything is started.
var errExplained = errors.New("explained")

// explainer is a backend that only looks.
type explainer struct{ got *cgi.Request }

func (e *explainer) RoundTrip(_ context.Context, req *cgi.Request) (*cgi.Response, error) {
	e.got = req
	req.End(cgi.Exit{})
	return nil, errExplained
}

// Explain asks the routing of a configuration about a request; nothing is started
// and nothing is listened at.
func Explain(c *config.Config, r *http.Request) (*Explanation, error) {
	routes, err := newRouteTable(c)
	if err != nil {
		return nil, err
	}
	look := &explainer{}
	s := &Server{config: c, log: slog.New(slog.DiscardHandler), routes: routes, backend: look, metrics: newMetrics(), ids: newIDs()}
	e := &Explanation{}
	for _, rt := range routes {
		rt.auth = nil // nobody has to log in to be told
		rt.app = &application{Backend: look}
	}
	w := httptest.NewRecorder()
	x := &exchange{ResponseWriter: w, s: s, r: r, first: r, id: "explained", began: time.Now(), client: client{addr: r.RemoteAddr, https: r.URL.Scheme == "https"}}
	err = x.dispatch()
	e.Route, e.Script = x.route.label(), look.got
	if x.route != nil && x.route.Route.Auth != nil {
		e.Access = fmt.Sprintf("Basic auth, realm %q", x.route.Route.Auth.Basic.Realm)
	}
	switch {
	case e.Script != nil:
		if e.Mode = x.mode; x.mode != string(cgi.ModeFastCGI) {
			e.Mode = pool.Explain(&e.Script.Script, e.Script.Workers)
		}
	case err != nil:
		code, _ := statusOf(err)
		e.Answer = fmt.Sprintf("%d %s: %v", code, http.StatusText(code), err)
	case w.Code >= 300 && w.Code < 400 && w.Header().Get("Location") != "":
		e.Answer = fmt.Sprintf("%d to %s", w.Code, w.Header().Get("Location"))
	default:
		e.Answer = fmt.Sprintf("%d, a file of type %s", w.Code, w.Header().Get("Content-Type"))
	}
	return e, nil
}
