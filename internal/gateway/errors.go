package gateway

import (
	"errors"
	"io/fs"
	"net/http"

	"warmcgi/internal/cgi"
	"warmcgi/internal/urlpath"
)

// Kinds of failure that are the gateway's own.
var (
	// errNotFound: no route, or no file, answers the URL.
	errNotFound = errors.New("not found")
	// errForbidden: there is something, but it is not for the client.
	errForbidden = errors.New("forbidden")
	// errMethod: a method that no script may be asked with.
	errMethod = errors.New("method not allowed")
	// errLoop: local redirects that lead to each other.
	errLoop = errors.New("too many local redirects")
)

// statusClientGone is what the log says of a request whose client did not wait; it
// is never sent. nginx made the number known.
const statusClientGone = 499

// statuses maps the kinds of failure to HTTP: this is the one place. The first
// kind that an error is wins.
var statuses = []struct {
	kind error
	code int
	why  string // metric label
}{
	{cgi.ErrGone, statusClientGone, "client_gone"},
	{cgi.ErrQueueFull, http.StatusServiceUnavailable, "queue_full"},
	{cgi.ErrQueueWait, http.StatusServiceUnavailable, "queue_wait"},
	{cgi.ErrOverloaded, http.StatusServiceUnavailable, "overloaded"},
	{cgi.ErrBodyTooLarge, http.StatusRequestEntityTooLarge, "body_too_large"},
	{cgi.ErrBodyTimeout, http.StatusRequestTimeout, "body_timeout"},
	{cgi.ErrBody, http.StatusBadRequest, "body"},
	{cgi.ErrSpool, http.StatusInsufficientStorage, "spool"},
	{cgi.ErrTimeout, http.StatusGatewayTimeout, "timeout"},
	{cgi.ErrLimit, http.StatusBadGateway, "limit"},
	{cgi.ErrNoOutput, http.StatusBadGateway, "no_output"},
	{cgi.ErrBadHead, http.StatusBadGateway, "bad_head"},
	{cgi.ErrTruncated, http.StatusBadGateway, "truncated"},
	{cgi.ErrStart, http.StatusBadGateway, "start"},
	{cgi.ErrUnreachable, http.StatusBadGateway, "unreachable"},
	{errLoop, http.StatusBadGateway, "redirect_loop"},
	{errMethod, http.StatusMethodNotAllowed, "method"},
	{urlpath.ErrBadPath, http.StatusBadRequest, "bad_path"},
	{urlpath.ErrHidden, http.StatusNotFound, "hidden"},
	{urlpath.ErrOutside, http.StatusForbidden, "outside"},
	{errForbidden, http.StatusForbidden, "forbidden"},
	{fs.ErrPermission, http.StatusForbidden, "forbidden"},
	{errNotFound, http.StatusNotFound, "not_found"},
	{fs.ErrNotExist, http.StatusNotFound, "not_found"},
}

// statusOf is the HTTP status of an error, and the word for it in the metrics.
func statusOf(err error) (code int, why string) {
	for _, s := range statuses {
		if errors.Is(err, s.kind) {
			return s.code, s.why
		}
	}
	return http.StatusInternalServerError, "internal"
}
