package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"warmcgi/internal/config"
	"warmcgi/internal/urlpath"
)

// redirection is where a route sends its clients.
type redirection struct {
	to     url.URL
	status int
	keep   config.RedirectKeep
}

func newRedirection(c *config.Redirect) (*redirection, error) {
	if c == nil {
		return nil, nil
	}
	u, err := url.Parse(c.To)
	if err != nil {
		return nil, fmt.Errorf("redirect to %q: %w", c.To, err)
	}
	return &redirection{*u, c.Status, c.Keep}, nil
}

// location is the URL for a request with a path behind the route's, and a query.
func (r *redirection) location(rest urlpath.Path, query string) string {
	u := r.to
	if r.keep == config.KeepAll && len(rest) > 0 {
		u.RawPath = strings.TrimSuffix(u.EscapedPath(), "/") + escapedBelow(rest)
		u.Path, _ = url.PathUnescape(u.RawPath)
	}
	if r.keep != config.KeepNothing && query != "" {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += query
	}
	return u.String()
}

// escapedBelow is what is left of a path, as a URL has it. It has no slash more than one
// at its beginning: //evil.example would be another host's name.
func escapedBelow(rest urlpath.Path) string {
	for len(rest) > 1 && rest[0] == "" {
		rest = rest[1:]
	}
	var b strings.Builder
	for _, segment := range rest {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(segment))
	}
	return b.String()
}

// serveRedirect sends the client to where the route says.
func (x *exchange) serveRedirect(rt *route, rest urlpath.Path) error {
	return x.refuse(rt, func() error {
		x.redirectTo(rt.redirection.location(rest, x.r.URL.RawQuery), rt.redirection.status)
		return nil
	})
}

// redirect sends the client to another path of this site.
func (x *exchange) redirect(path string) { x.redirectTo(path, http.StatusMovedPermanently) }

func (x *exchange) redirectTo(location string, status int) {
	x.Header().Set("Location", location)
	x.errorPage(status)
}

// redirectToHTTPS sends a client of plain HTTP to the same URL with TLS. The method stays:
// 301 lets browsers make a GET of everything.
func (x *exchange) redirectToHTTPS(port int) error {
	host := config.HostName(x.r.Host)
	if host == "" {
		return fmt.Errorf("%w: %.100q, where https was to be gone to", errHost, x.r.Host)
	}
	uri := x.requestURI()
	if port == 443 {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
	} else {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	status := http.StatusPermanentRedirect
	if x.r.Method == http.MethodGet || x.r.Method == http.MethodHead {
		status = http.StatusMovedPermanently
	}
	x.redirectTo("https://"+host+uri, status)
	return nil
}

// httpsPort is where a door sends its clients; 0: it answers them itself.
func (st *state) httpsPort(d *doorRules) int {
	if d.redirect == "" || d.redirectPort != 0 {
		return d.redirectPort
	}
	for _, o := range st.order {
		if a, ok := o.listener.Addr().(*net.TCPAddr); ok && o.kind == "https" {
			return a.Port
		}
	}
	return 443
}
