package gateway

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/mapping"
)

// authorizer is the FastCGI application that decides about a route's requests (FastCGI
// specification, section 6.3). When it fails, nobody comes in.
type authorizer struct {
	*application
	timeouts cgi.Timeouts
	params   *mapping.Params // nil: as they are
	taken    map[string]bool // variables of the route's own
}

// What the log and the metrics call it.
const authorizerName = "authorizer"

// maxVerdict is the most that is read of an answer that lets the request through. It has
// nothing to say.
const maxVerdict = 64 << 10

func newAuthorizer(rt *route, a *application) *authorizer {
	d := time.Duration(rt.Authorize.Timeout)
	z := &authorizer{application: a, timeouts: cgi.Timeouts{FirstByte: d, Idle: d, Total: d}, taken: map[string]bool{}}
	for _, v := range rt.env {
		name, _, _ := strings.Cut(v, "=")
		z.taken[name] = true
	}
	return z
}

// authorize asks the route's authorizer about the request. The request goes on if neither
// answered nor an error is returned.
func (x *exchange) authorize(rt *route) (answered bool, err error) {
	count := func(outcome string) { x.s.metrics.authorizations.WithLabelValues(rt.label(), outcome).Inc() }
	x.script, x.mode = authorizerName, string(cgi.ModeFastCGI) // whose answer it is, unless it lets the request through
	res, err := x.askAuthorizer(rt)
	allowed := err == nil && res.Status == http.StatusOK && res.LocalRedirect() == ""
	if allowed {
		x.vars, err = rt.authorizer.variables(res)
	}
	switch {
	case errors.Is(err, cgi.ErrGone):
		count("gone")
		return false, err
	case err != nil:
		count("failed")
		return false, err
	case allowed:
		count("allowed")
		x.script, x.mode = "", ""
		for _, v := range x.vars {
			if user, ok := strings.CutPrefix(v, "REMOTE_USER="); ok {
				x.user = user
			}
		}
		return false, nil
	case res.Status >= 500:
		count("failed")
		x.s.log.Warn("the authorizer has failed", "id", x.id, "route", rt.label(), "status", res.Status, "url", x.r.URL.RequestURI())
	default:
		count("denied")
		x.s.log.Info("the authorizer has refused the request", "id", x.id, "route", rt.label(), "status", res.Status, "url", x.r.URL.RequestURI())
	}
	if res.LocalRedirect() != "" {
		res.Status = http.StatusFound // to a login page, as a rule: the browser has to go there
	}
	maps.DeleteFunc(res.Header, func(name string, _ []string) bool { return strings.HasPrefix(name, variablePrefix) })
	return true, x.refuse(rt, func() error {
		if x.r.ContentLength != 0 {
			res.Reason = "" // for its sake the connection would be taken from net/http, with the body still on it
		}
		return x.send(res)
	})
}

// askAuthorizer sends what the request is, without its body.
func (x *exchange) askAuthorizer(rt *route) (*cgi.Response, error) {
	z := rt.authorizer
	req := &cgi.Request{
		ID: x.id, Route: rt.label(), Script: cgi.Script{Name: authorizerName},
		Env: rt.ownEnv, Timeout: z.timeouts, Queue: z.queue,
	}
	m := x.meta(rt, scriptCall{}, req)
	m.Length = -1
	m.PassAuthorization = rt.auth == nil || rt.Authorization == config.AuthorizationPass
	req.Vars = slices.DeleteFunc(override(cgi.Vars(x.r, m), x.frontVars(rt)), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "SCRIPT_NAME" || name == "SCRIPT_FILENAME" // section 6.3; the others are not there
	})
	if err := x.mapParams(z.params, req); err != nil {
		return nil, err
	}
	x.st.holdFor(req)
	req.AtEnd(func(e cgi.Exit) {
		x.s.metrics.ended(req, e)
		x.s.logEnd(req, e)
	})
	return z.RoundTrip(x.context(), req)
}

// variablePrefix is that of the fields by which an authorizer sets variables, as
// [cgi.ParseHead] spells it.
const variablePrefix = "Variable-"

// variables are what an answer sets, each NAME=value. It is read to its end: only then it
// is known to be whole, and its connection is of use again.
func (z *authorizer) variables(res *cgi.Response) ([]string, error) {
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxVerdict+1))
	if err != nil {
		return nil, err
	}
	if n > maxVerdict {
		return nil, fmt.Errorf("%w: more than %d octets", errAuthorizer, maxVerdict)
	}
	var vars []string
	seen := map[string]bool{}
	for _, field := range slices.Sorted(maps.Keys(res.Header)) {
		suffix, ok := strings.CutPrefix(field, variablePrefix)
		if !ok {
			continue // section 6.3: it is ignored
		}
		// Names of variables know no case (RFC 3875 section 4.1).
		name := strings.ReplaceAll(strings.ToUpper(suffix), "-", "_")
		switch values := res.Header[field]; {
		case !isVariable(name) || isProtected(name) || z.taken[name]:
			return nil, fmt.Errorf("%w: it must not set the variable %.60q", errAuthorizer, name)
		case seen[name] || len(values) > 1:
			return nil, fmt.Errorf("%w: it sets the variable %s twice", errAuthorizer, name)
		default:
			seen[name] = true
			vars = append(vars, name+"="+values[0])
		}
	}
	return vars, nil
}

// isVariable reports whether it is a name that every program can ask for.
func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('A' <= c && c <= 'Z' || c == '_' || '0' <= c && c <= '9' && i > 0) {
			return false
		}
	}
	return name != ""
}

// protectedPrefixes and protectedNames are variables that an authorizer must not set: those
// of the request itself and of the connection, and those that make an interpreter, a shell,
// the loader or php run something else than the script.
var (
	protectedPrefixes = []string{
		"CONTENT_", "DOCUMENT_", "FCGI_", "GATEWAY_", "HTTP_", "PATH_", "REDIRECT_", "REQUEST_", "SCRIPT_", "SERVER_", "SSL_", "WARMCGI_",
		"BASH_", "DYLD_", "GEM_", "LD_", "LUA_", "NODE_", "PERL", "PYTHON", "RUBY",
	}
	protectedNames = map[string]bool{
		"HTTPS": true, "QUERY_STRING": true, "REMOTE_ADDR": true, "REMOTE_HOST": true, "REMOTE_PORT": true, "TRACEPARENT": true, "TRACESTATE": true, "UNIQUE_ID": true,
		"BASHOPTS": true, "CDPATH": true, "ENV": true, "GCONV_PATH": true, "HOME": true, "IFS": true, "LOCPATH": true, "NLSPATH": true,
		"PATH": true, "PS4": true, "SHELLOPTS": true, "TMPDIR": true,
		"PHP_ADMIN_VALUE": true, "PHP_INI_SCAN_DIR": true, "PHP_VALUE": true, "PHPRC": true,
	}
)

func isProtected(name string) bool {
	return protectedNames[name] || slices.ContainsFunc(protectedPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}
