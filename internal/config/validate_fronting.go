package config

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"warmcgi/internal/mapping"
)

func (d *decoder) checkRedirect(key string, r *Route) {
	to := key + ".redirect.to"
	u, err := url.Parse(r.Redirect.To)
	switch {
	case !d.src.has(to):
	case err != nil, u.Opaque != "", strings.ContainsFunc(r.Redirect.To, func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f }):
		d.refuse(d.src.value(to, "%q is neither a URL nor a path", r.Redirect.To))
	case u.Host == "" && !strings.HasPrefix(u.Path, "/"):
		d.refuse(d.src.value(to, "%q must begin with / or https://", r.Redirect.To))
	case u.Host != "" && u.Scheme != "http" && u.Scheme != "https":
		d.refuse(d.src.value(to, "%q must begin with / or https://", r.Redirect.To))
	case u.Host == "" && isBelow(u.Path, r.Path) && !slices.ContainsFunc(d.root.Routes, func(o Route) bool {
		return len(o.Path) > len(r.Path) && isBelow(u.Path, o.Path) // which answers there
	}):
		d.refuse(d.src.value(to, "%q is below the route itself, so that it would go round and round", r.Redirect.To))
	}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, r.Redirect.Status) {
		d.refuse(d.src.value(key+".redirect.status", "%d is not one of 301, 302, 303, 307, 308", r.Redirect.Status))
	}
}

// isBelow tells whether a route's path takes another path.
func isBelow(p, route string) bool {
	return p == route || strings.HasPrefix(p, strings.TrimSuffix(route, "/")+"/")
}

// framing are the fields that say how an answer is to be read: what is true of them only the gateway knows.
var framing = []string{
	"connection", "content-encoding", "content-length", "content-range", "keep-alive", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade",
}

func (d *decoder) checkHeaders(key string, h *Headers) {
	if h == nil {
		return
	}
	d.checkNotEmpty(key+".remove", len(h.Remove))
	for i, name := range h.Remove {
		d.checkAnswerField(fmt.Sprintf("%s.remove[%d]", key, i), name, d.src.value)
	}
	for _, set := range []struct {
		key    string
		values map[string]string
	}{{key + ".set", h.Set}, {key + ".add", h.Add}} {
		for name, value := range set.values {
			at := childKey(set.key, name)
			d.checkAnswerField(at, name, d.src.key)
			if !httpguts.ValidHeaderFieldValue(value) {
				d.refuse(d.src.value(at, "is no value of a field: it must be one line without control characters"))
			}
		}
	}
}

func (d *decoder) checkAnswerField(key, name string, p func(key, format string, args ...any) *Error) {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		d.refuse(p(key, "%q is no name of a field", name))
	case slices.Contains(framing, strings.ToLower(name)):
		d.refuse(p(key, "%s says how the answer is to be read, and is not to be changed", name))
	}
}

func (d *decoder) checkRequestHeaders(key string, h *RequestHeaders) {
	if h == nil {
		return
	}
	d.checkNotEmpty(key+".remove", len(h.Remove))
	for i, name := range h.Remove {
		d.checkRequestField(fmt.Sprintf("%s.remove[%d]", key, i), name, d.src.value)
	}
	for name, value := range h.Set {
		at := childKey(key+".set", name)
		d.checkRequestField(at, name, d.src.key)
		err := mapping.CheckText(value)
		switch {
		case err != nil:
			d.refuse(d.src.value(at, "%v", err))
		case !httpguts.ValidHeaderFieldValue(value):
			d.refuse(d.src.value(at, "is no value of a field: it must be one line without control characters"))
		}
	}
}

// checkRequestField: a script must be able to rely on those that are refused.
func (d *decoder) checkRequestField(key, name string, p func(key, format string, args ...any) *Error) {
	lower := strings.ToLower(name)
	switch {
	case lower == "", strings.Trim(lower, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		d.refuse(p(key, "%q is no name of a field that a script could see", name))
	case lower == "proxy":
		d.refuse(p(key, "%s is what programs take for their own proxy (CVE-2016-5385), and never sent", name))
	case lower == "host", lower == "expect", strings.HasPrefix(lower, "content-"), slices.Contains(framing, lower):
		d.refuse(p(key, "%s belongs to the request itself, and is not to be changed", name))
	}
}

// checkDoorRedirect finds out that there is a door to go to.
func (d *decoder) checkDoorRedirect(key, kind string, l *Listener, doors []Listener) {
	if d.src.has(key+".redirect") && kind != "http" {
		d.refuse(d.src.key(key+".redirect", "goes with http only, not with %s", kind))
	}
	d.onlyWith(key, "redirect", "redirect_port")
	if d.src.has(key + ".redirect_port") {
		if l.RedirectPort < 1 || l.RedirectPort > 65535 {
			d.refuse(d.src.value(key+".redirect_port", "%d is no port", l.RedirectPort))
		}
		return
	}
	if l.Redirect != "" && !slices.ContainsFunc(doors, func(o Listener) bool { return o.HTTPS.Network() == "tcp" }) {
		d.refuse(d.src.key(key+".redirect", "leads nowhere: there is no https door at HOST:PORT, and no redirect_port"))
	}
}

// onlyAnswers refuses what a route that runs nothing can't make use of.
func (d *decoder) onlyAnswers(key string) {
	for _, k := range []string{"env", "request_headers", "user", "limits", "sandbox", "x_sendfile", "document_root", "authorization", "symlinks"} {
		if d.src.has(key + "." + k) {
			d.refuse(d.src.key(key+"."+k, "says nothing of a route that only redirects"))
		}
	}
}

func (d *decoder) checkCompress(key string, c *Compress) {
	for i, coding := range c.With {
		if d.src.has(key+".with") && !d.bad[key+".with"] && slices.Contains(c.With[:i], coding) {
			d.refuse(d.src.value(fmt.Sprintf("%s.with[%d]", key, i), "%s stands there twice", coding))
		}
	}
	d.checkNotEmpty(key+".types", len(c.Types))
	for i, t := range c.Types {
		if !d.src.has(key + ".types") {
			break // those of defaults
		}
		if _, err := path.Match(t, ""); err != nil || strings.Count(t, "/") != 1 || strings.ContainsAny(t, "; ") || t != strings.ToLower(t) {
			d.refuse(d.src.value(fmt.Sprintf("%s.types[%d]", key, i), "%q is no media type (write it like text/html or text/*)", t))
		}
	}
}

func (d *decoder) checkRateLimit(key string, l *RateLimit) {
	if d.src.has(key+".clients") && l.Clients == 0 {
		d.refuse(d.src.value(key+".clients", "must be more than 0"))
	}
	if l.Except.ContainsUnix() {
		d.refuse(d.src.value(key+".except", "unix is no network here: write addresses like 10.0.0.0/8"))
	}
	for _, k := range []string{"burst", "except", "clients"} {
		if d.src.has(key+"."+k) && l.Rate == 0 && !d.bad[key+".rate"] {
			d.refuse(d.src.key(key+"."+k, "means nothing without a rate"))
		}
	}
}
