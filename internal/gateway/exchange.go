package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/fcgi"
	"warmcgi/internal/live"
	"warmcgi/internal/urlpath"
)

// An exchange is one request on its way through the gateway, and the
// [http.ResponseWriter] of its answer: what was sent is counted here, for the access
// log and the metrics.
type exchange struct {
	http.ResponseWriter
	s     *Server
	st    *state        // what the exchange began with
	r     *http.Request // the one that is being answered: a local redirect replaces it
	first *http.Request // the client's

	now     live.Request // what the admin door shows of it
	id      string
	idField [1]string // the same as a field's values
	began   time.Time
	client  client
	conn    *conn       // nil on FastCGI doors
	params  fcgi.Params // of a FastCGI door, or nil
	rules   *doorRules

	trace       *exchangeTrace // nil: none
	path        urlpath.Path
	route       *route
	user        string        // who has logged in
	authType    string        // how, at the gateway itself
	vars        []string      // what an authorizer has set
	body        *clientBody   // nil before it is wanted
	scriptEnded chan struct{} // closed when the last script started has ended; nil before
	duplex      bool          // the body streams, and net/http leaves the rest of it to us
	redirects   int           // local ones so far

	script   string // SCRIPT_NAME
	mode     string // metric label: spawn, files, or "" for answers of the gateway's own
	status   int
	bytes    int64
	err      error       // what went wrong, if anything did
	why      string      // the word for that in the metrics
	broken   bool        // the answer had begun when it went wrong, by no fault of the client's
	comp     *compressor // nil: the answer is not compressed
	bounded  bool        // a write deadline is set
	hijacked bool
}

// WriteHeader notes the status; informational ones pass.
func (x *exchange) WriteHeader(code int) {
	if x.status == 0 && code >= 200 {
		x.status = code
		x.beforeHead(code)
	}
	x.ResponseWriter.WriteHeader(code)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	if x.comp != nil {
		return x.comp.Write(b)
	}
	n, err := x.ResponseWriter.Write(b)
	x.bytes += int64(n)
	return n, err
}

// ReadFrom keeps sendfile within reach.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	if !x.boundByConn() {
		r = stallGuard{x, r}
	}
	if x.comp != nil {
		return x.compressFrom(r)
	}
	n, err := io.Copy(x.ResponseWriter, r)
	x.bytes += n
	return n, err
}

// Unwrap is for [http.ResponseController].
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// fail answers with the status of an error, or, when the answer has begun, breaks
// the connection: a client must never take a part for the whole.
func (x *exchange) fail(err error) {
	if x.body != nil && errors.Is(err, cgi.ErrGone) {
		err = cmp.Or(x.body.timedOut(), err)
	}
	x.err = err
	code, why := statusOf(err)
	x.why = why
	x.s.metrics.errors.WithLabelValues(why).Inc()
	begun := x.status != 0 || x.hijacked
	if begun && code != statusClientGone {
		x.broken = true
		x.s.metrics.truncated.Inc()
	}
	x.logFailure(begun, code, why, err)
	if begun || code == statusClientGone {
		if x.status == 0 {
			x.status = code
		}
		panic(http.ErrAbortHandler)
	}
	h := x.Header()
	closing := h["Connection"]
	clear(h)
	if closing != nil {
		h["Connection"] = closing
	}
	var limited *rateError
	switch code {
	case http.StatusTooManyRequests:
		if errors.As(err, &limited) {
			h.Set("Retry-After", strconv.Itoa(limited.seconds()))
		}
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusMethodNotAllowed:
		h.Set("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH")
	}
	x.errorPage(code)
}

// logFailure says why, at the level of whose fault it is.
func (x *exchange) logFailure(begun bool, code int, why string, err error) {
	msg := "request failed"
	if begun {
		msg, code = "answer broken off", x.status
	}
	level := slog.LevelError
	var limited *rateError
	switch {
	case errors.As(err, &limited):
		level = slog.LevelDebug
		if limited.tell {
			level = slog.LevelWarn
		}
	case begun && why != "client_gone":
	case errors.Is(err, errFront): // whatever the status: the whole site is down
	case why == "client_gone" || code == http.StatusNotFound:
		level = slog.LevelDebug
	case code < 500:
		level = slog.LevelInfo
	case code == http.StatusServiceUnavailable || code == http.StatusNotImplemented:
		level = slog.LevelWarn
	}
	x.s.log.Log(context.Background(), level, msg, "id", x.id, "status", code, "why", why,
		"method", x.r.Method, "url", x.r.URL.RequestURI(), "err", err)
}

// errorPage says no more than the status and the id under which the log says why.
func (x *exchange) errorPage(code int) {
	text := http.StatusText(code)
	page := fmt.Sprintf("<!doctype html>\n<title>%d %s</title>\n<h1>%d %s</h1>\n<p>Request %s\n", code, text, code, text, html.EscapeString(x.id))
	h := x.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	h.Set("X-Content-Type-Options", "nosniff")
	x.WriteHeader(code)
	if x.r.Method != http.MethodHead {
		io.WriteString(x, page)
	}
}

// asked is the request as the client made it.
func (x *exchange) asked() *http.Request { return x.first }

var _ io.ReaderFrom = (*exchange)(nil)
