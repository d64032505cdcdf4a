package gateway

import (
	"errors"
	"io/fs"
	"net/http"
	"syscall"

	"warmcgi/internal/cgi"
	"warmcgi/internal/confine"
	"warmcgi/internal/mapping"
	"warmcgi/internal/urlpath"
)

// Kinds of failure that are the gateway's own.
var (
	// errNotFound: no route, or no file, answers the URL.
	errNotFound = errors.New("not found")
	// errMisdirected: the host that the client asks for is none of ours.
	errMisdirected = errors.New("misdirected")
	// errRateLimit: the client asks more often than its route allows.
	errRateLimit = errors.New("too many requests")
	// errHost: the host that the client asks for is not one that a URL can have.
	errHost = errors.New("bad host")
	// errMalformed: the request is none that could be written on as HTTP/1.1.
	errMalformed = errors.New("malformed request")
	// errForbidden: there is something, but it is not for the client.
	errForbidden = errors.New("forbidden")
	// errMethod: a method that no script may be asked with.
	errMethod = errors.New("method not allowed")
	// errAuthorizer: what the authorizer says can't be made use of.
	errAuthorizer = errors.New("authorizer's answer is not usable")
	// errFront: the script for all URLs that name no file can't be run itself. It goes with the reason.
	errFront = errors.New("front script")
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
	{errLogins, http.StatusServiceUnavailable, "logins"},
	{cgi.ErrBodyTooLarge, http.StatusRequestEntityTooLarge, "body_too_large"},
	{cgi.ErrBodyTimeout, http.StatusRequestTimeout, "body_timeout"},
	{cgi.ErrBody, http.StatusBadRequest, "body"},
	{syscall.EMFILE, http.StatusServiceUnavailable, "exhausted"}, // whatever was to be opened
	{syscall.ENFILE, http.StatusServiceUnavailable, "exhausted"},
	{cgi.ErrSpool, http.StatusInsufficientStorage, "spool"},
	{cgi.ErrTimeout, http.StatusGatewayTimeout, "timeout"},
	{cgi.ErrLimit, http.StatusBadGateway, "limit"},
	{cgi.ErrNoOutput, http.StatusBadGateway, "no_output"},
	{cgi.ErrBadHead, http.StatusBadGateway, "bad_head"},
	{cgi.ErrTruncated, http.StatusBadGateway, "truncated"},
	{cgi.ErrVarsTooLarge, http.StatusRequestHeaderFieldsTooLarge, "variables_too_large"},
	{confine.ErrOwner, http.StatusInternalServerError, "owner"}, // as with Apache's suexec
	{cgi.ErrExhausted, http.StatusServiceUnavailable, "exhausted"},
	{cgi.ErrStart, http.StatusBadGateway, "start"},
	{cgi.ErrUnreachable, http.StatusBadGateway, "unreachable"},
	{mapping.ErrParams, http.StatusInternalServerError, "params"},
	{errAuthorizer, http.StatusBadGateway, "authorizer"},
	{errLoop, http.StatusBadGateway, "redirect_loop"},
	{errMethod, http.StatusMethodNotAllowed, "method"},
	{urlpath.ErrBadPath, http.StatusBadRequest, "bad_path"},
	{urlpath.ErrHidden, http.StatusNotFound, "hidden"},
	{urlpath.ErrOutside, http.StatusForbidden, "outside"},
	{errForbidden, http.StatusForbidden, "forbidden"},
	{fs.ErrPermission, http.StatusForbidden, "forbidden"},
	{errRateLimit, http.StatusTooManyRequests, "rate_limit"},
	{errHost, http.StatusBadRequest, "bad_host"},
	{errMalformed, http.StatusBadRequest, "malformed"},
	{errMisdirected, http.StatusMisdirectedRequest, "misdirected"},
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
