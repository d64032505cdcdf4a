package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"warmcgi/internal/fcgi"
	"warmcgi/internal/urlpath"
)

// maxRedirects is how many local redirects may follow each other.
const maxRedirects = 10

// ServeHTTP answers one request: of an HTTP door, or of a FastCGI door.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, s: s, r: r, first: r, id: s.ids.next(), began: time.Now(), conn: connOf(r.Context())}
	d := doorOf(r.Context())
	if d == nil {
		d = &door{} // called without a server, by `gateway run`
	}
	x.params, _ = fcgi.ParamsFromContext(r.Context())
	x.client = clientOf(r, s.trusted, d.unix && x.params == nil && !hasAddr(r))
	if x.client.host != "" {
		r.Host = x.client.host
	}
	if x.conn != nil && r.ProtoAtLeast(1, 1) && r.ProtoMajor == 1 && r.TLS == nil {
		x.conn.waiting(true)
	}
	if mayBeSmuggled(r) {
		w.Header().Set("Connection", "close")
	}
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
	x.serve(d)
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
	if x.bounded && complete && !x.hijacked {
		x.flush() // what net/http still holds is to be sent within the limit
		x.writeBy(time.Time{})
	}
	x.s.metrics.observe(x)
	x.s.access.write(x, complete)
}

// serve finds out what answers.
func (x *exchange) serve(d *door) {
	if x.r.Method == http.MethodConnect || x.r.Method == http.MethodTrace {
		x.fail(fmt.Errorf("%s: %w", x.r.Method, errMethod))
		return
	}
	if x.params != nil && len(d.scripts) > 0 {
		if err := x.serveNamed(d); err != nil {
			x.fail(err)
		}
		return
	}
	if err := x.dispatch(); err != nil {
		x.fail(err)
	}
}

// dispatch answers by the routes. It is where a local redirect comes back to.
func (x *exchange) dispatch() error {
	p, err := urlpath.Parse(x.r.URL.EscapedPath())
	if err != nil {
		return err
	}
	rt, rest, redirect := x.s.routes.find(p)
	if redirect != "" {
		x.redirect(withQuery((&url.URL{Path: redirect}).EscapedPath(), x.r.URL.RawQuery))
		return nil
	}
	if rt == nil {
		return fmt.Errorf("no route for %s: %w", p.Clean(), errNotFound)
	}
	x.path, x.route, x.user = p, rt, ""
	if rt.auth != nil {
		user, ok := rt.auth.allow(x.r)
		if !ok {
			x.challenge(rt.auth)
			return nil
		}
		x.user = user
	}
	switch {
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
