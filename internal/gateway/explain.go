package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
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

// A Routing is that of a configuration, to be asked what would answer requests, one after
// another; nothing is started and nothing is listened at.
type Routing struct {
	s    *Server
	st   *state
	look *explainer
}

// NewRouting makes the routes of a configuration.
func NewRouting(c *config.Config) (*Routing, error) {
	routes, err := newRouteTable(c)
	if err != nil {
		return nil, err
	}
	look := &explainer{}
	st := newState(c)
	st.routes = routes
	s := &Server{watch: newWatch(false), log: slog.New(slog.DiscardHandler), backend: look, metrics: newMetrics(), ids: newIDs()}
	for _, rt := range routes {
		rt.auth = nil // nobody has to log in to be told
		rt.app = &application{served: &served{Backend: look}}
	}
	return &Routing{s, st, look}, nil
}

// Explain asks the routing of a configuration about one request.
func Explain(c *config.Config, r *http.Request) (*Explanation, error) {
	routing, err := NewRouting(c)
	if err != nil {
		return nil, err
	}
	return routing.Explain(r), nil
}

// Explain says what would answer a request.
func (rg *Routing) Explain(r *http.Request) *Explanation {
	look, e := rg.look, &Explanation{}
	look.got = nil
	w := httptest.NewRecorder()
	x := &exchange{ResponseWriter: w, s: rg.s, st: rg.st, rules: &doorRules{}, r: r, first: r, id: "explained", began: time.Now(), client: client{addr: r.RemoteAddr, https: r.URL.Scheme == "https"}}
	err := x.dispatch()
	e.Route, e.Script = x.route.label(), look.got
	e.Access = access(x.route)
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
	return e
}

// access says who may come in, in the order in which it is asked.
func access(rt *route) string {
	var by []string
	if rt != nil && rt.Route.Auth != nil {
		by = append(by, fmt.Sprintf("Basic auth, realm %q", rt.Route.Auth.Basic.Realm))
	}
	if rt != nil && rt.Authorize != nil {
		by = append(by, "the FastCGI authorizer "+whereIs(rt.Authorize.FastCGI))
	}
	return strings.Join(by, ", then ")
}

// whereIs names a FastCGI application.
func whereIs(c *config.FastCGI) string {
	switch {
	case c.Program != "":
		return c.Program
	case c.DNS != "":
		return c.DNS
	}
	names := make([]string, len(c.Servers))
	for i, a := range c.Servers {
		names[i] = a.String()
	}
	return strings.Join(names, " ")
}
