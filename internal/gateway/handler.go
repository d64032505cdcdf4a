package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/fcgi"
	"warmcgi/internal/live"
	"warmcgi/internal/urlpath"
)

// maxRedirects is how many local redirects may follow each other.
const maxRedirects = 10

// ServeHTTP answers one request: of an HTTP door, or of a FastCGI door.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	st := s.hold()
	defer st.release()
	x := &exchange{ResponseWriter: w, s: s, st: st, r: r, first: r, began: time.Now(), conn: connOf(r.Context())}
	d := doorOf(r.Context())
	if d == nil {
		d = &door{} // called without a server, by `gateway run`
	}
	if x.conn != nil {
		x.conn.began.Store(false)
	}
	x.rules = st.rules(d)
	x.params, _ = fcgi.ParamsFromContext(r.Context())
	x.client = clientOf(r, st.config.TrustedProxies, d.listener != nil && x.params == nil && !hasAddr(r))
	x.takeID()
	x.now = live.Request{ID: x.id, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Began: x.began}
	if x.client.host != "" {
		r.Host = x.client.host
	}
	x.startTrace()
	if x.conn != nil && r.ProtoAtLeast(1, 1) && r.ProtoMajor == 1 && r.TLS == nil {
		x.conn.waiting(true)
	}
	if x.conn != nil && r.ProtoMajor == 2 {
		x.conn.multiplexed.Store(true)
	}
	if mayBeSmuggled(r) || d.isDraining() {
		w.Header().Set("Connection", "close")
	}
	s.watch.requests.Enter(&x.now)
	complete := false
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler { // a bug of ours: net/http's own line says too little
				s.log.Error("panic", "id", x.id, "url", r.URL.Path, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
			defer panic(http.ErrAbortHandler)
		}
		x.finish(complete)
	}()
	x.serve()
	complete = true
}

// mayBeSmuggled reports whether what follows a request on its connection is not to
// be believed. A chunked request that also has a Content-Length, or is HTTP/1.0, is
// how requests are smuggled past a front server (RFC 9112 sections 6.1 and 6.3), and
// net/http does not say that it was one.
func mayBeSmuggled(r *http.Request) bool {
	if r.ProtoMajor != 1 {
		return false
	}
	if !r.ProtoAtLeast(1, 1) {
		return r.Method != http.MethodGet && r.Method != http.MethodHead
	}
	return len(r.TransferEncoding) > 0
}

// finish is the end of every exchange, also of one that panics on purpose (see
// exchange.fail).
func (x *exchange) finish(complete bool) {
	if x.conn != nil {
		x.conn.waiting(false)
	}
	x.endCompression(complete)
	if x.body != nil {
		if complete {
			x.drainBody()
		}
		x.body.stop()
		if x.duplex && !x.body.isWhole() {
			x.conn.spoil()
		}
	}
	if w, ok := x.ResponseWriter.(*rawWriter); ok {
		w.finish(complete)
	} else if !complete && x.conn != nil && x.r.ProtoMajor == 1 && !x.r.ProtoAtLeast(1, 1) {
		x.conn.reset() // HTTP/1.0: the end of the connection would be the end of the answer
	}
	if x.bounded && complete && !x.hijacked { // not on FastCGI doors, whose answer ends in one write
		x.flush() // what net/http still holds is to be sent within the limit
		x.writeBy(time.Time{})
	}
	x.s.watch.requests.Leave(&x.now)
	x.endTrace(complete)
	x.s.metrics.observe(x)
	x.st.access.write(x, complete)
}

// serve finds out what answers.
func (x *exchange) serve() {
	if err := x.malformed(); err != nil {
		x.fail(err)
		return
	}
	if x.r.Method == http.MethodConnect || x.r.Method == http.MethodTrace {
		x.fail(fmt.Errorf("%s: %w", x.r.Method, errMethod))
		return
	}
	if x.answerAuthority() {
		return
	}
	var err error
	port := x.st.httpsPort(x.rules)
	switch {
	case port != 0 && !x.client.https:
		err = x.redirectToHTTPS(port)
	case x.params != nil && x.rules.front != nil:
		err = x.serveMounted(x.rules.front)
	case x.params != nil && len(x.rules.scripts) > 0:
		err = x.serveNamed(x.rules)
	default:
		err = x.dispatch()
	}
	if err != nil {
		x.fail(err)
	}
}

// dispatch answers by the routes. It is where a local redirect comes back to.
func (x *exchange) dispatch() error {
	p, err := urlpath.Parse(x.r.URL.EscapedPath())
	if err != nil {
		return err
	}
	host := x.host()
	rt, rest, redirect := x.st.routes.find(host, p)
	if redirect != "" {
		x.redirect(withQuery((&url.URL{Path: redirect}).EscapedPath(), x.r.URL.RawQuery))
		return nil
	}
	if rt == nil && !x.st.routes.knows(host) {
		return fmt.Errorf("no route for host %.100q: %w", x.r.Host, errMisdirected)
	}
	if rt == nil {
		return fmt.Errorf("no route for %s: %w", p.Clean(), errNotFound)
	}
	x.path, x.route, x.user, x.authType, x.vars = p, rt, "", "", nil
	if err := x.limitRate(rt); err != nil {
		return err
	}
	if rt.auth != nil {
		user, ok, err := rt.auth.allow(x.r, x.s.hashers)
		if errors.Is(err, context.Canceled) {
			err = cgi.ErrGone
		}
		if err != nil {
			return x.refuse(rt, func() error { return err })
		}
		if !ok {
			return x.refuse(rt, func() error { x.challenge(rt.auth); return nil })
		}
		x.user, x.authType = user, "Basic"
	}
	if rt.authorizer != nil {
		if answered, err := x.authorize(rt); answered || err != nil {
			return err
		}
	}
	switch {
	case rt.redirection != nil:
		return x.serveRedirect(rt, rest)
	case rt.CGI != nil && rt.CGI.Program != "":
		return x.serveProgram(rt, rest)
	case rt.CGI != nil:
		return x.serveDir(rt, rest)
	case rt.FastCGI != nil:
		return x.serveApplication(rt, rest)
	case rt.PHP != nil:
		return x.servePHP(rt, rest)
	}
	return x.serveFiles(rt, rest)
}

// redirectLocally answers a script's local redirect (RFC 3875 section 6.2.2): as if
// the client had sent a GET for it.
func (x *exchange) redirectLocally(location string) error {
	if x.redirects++; x.redirects > maxRedirects {
		return fmt.Errorf("%w: %d, the last to %s", errLoop, maxRedirects, location)
	}
	u, err := url.ParseRequestURI(location)
	if err != nil {
		return fmt.Errorf("local redirect to %q: %w", location, errNotFound)
	}
	r := x.r.Clone(x.r.Context())
	r.Method, r.URL, r.RequestURI = http.MethodGet, u, location
	if x.r.Method == http.MethodHead {
		r.Method = http.MethodHead
	}
	r.Body, r.ContentLength, r.TransferEncoding = http.NoBody, 0, nil
	r.Header.Del("Content-Type")
	r.Header.Del("Content-Length")
	x.r = r
	return x.dispatch()
}

// requestURI is the path and query of the request as they came.
func (x *exchange) requestURI() string {
	if uri := x.r.RequestURI; strings.HasPrefix(uri, "/") {
		return uri
	}
	return x.r.URL.RequestURI() // absolute form
}

func withQuery(path, query string) string {
	if query != "" {
		return path + "?" + query
	}
	return path
}
