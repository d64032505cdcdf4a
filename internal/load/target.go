// Package load asks a web server for the same thing over and over, looks at every answer, and
// tells how long they took: as fast as they come over so many connections (closed loop), or
// at a constant rate (open loop, in which the time of an answer counts from when its request
// was due).
package load

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Target is what is asked.
type Target struct {
	URL    *url.URL
	Method string
	Header http.Header
	Body   []byte
	// Addr is where the connections go, see [Resolve].
	Addr string
	// HTTP2 is HTTP/2, over cleartext with prior knowledge; else it is HTTP/1.1.
	HTTP2 bool
	// Close makes a connection for each request.
	Close bool
	// TLS is for https; nil is its defaults.
	TLS *tls.Config
	// Timeout is how long one answer may take from when it was asked for.
	Timeout time.Duration
}

// ErrElsewhere is a host that is not this machine.
var ErrElsewhere = errors.New("is not this machine")

// ParseURL takes an address without a scheme for http.
func ParseURL(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%s: there is only http and https", s)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%s: there is no host in it", s)
	}
	u.Path = cmp.Or(u.Path, "/")
	u.Fragment = ""
	return u, nil
}

// Resolve finds the address of a URL's host, once, so that all requests go to the one that was looked at. One that is
// not on loopback is refused unless anywhere is set.
func Resolve(ctx context.Context, u *url.URL, anywhere bool) (string, error) {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return "", err
	}
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	for _, ip := range ips {
		if !anywhere && !ip.IsLoopback() {
			return "", fmt.Errorf("%s (%s) %w", u.Hostname(), ip, ErrElsewhere)
		}
	}
	// A name such as localhost has two; the server may listen at one of them.
	var first error
	for _, ip := range ips {
		addr := net.JoinHostPort(ip.String(), port)
		conn, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "tcp", addr)
		if err == nil {
			conn.Close()
			return addr, nil
		}
		first = cmp.Or(first, err)
	}
	return "", first
}

// dialTime is how long a connection may take.
const dialTime = 5 * time.Second

// dial makes a connection, without TLS.
func (t *Target) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{Timeout: min(dialTime, t.Timeout)}).DialContext(ctx, "tcp", t.Addr)
}

// tlsConfig is for connections that speak one protocol.
func (t *Target) tlsConfig(proto string) *tls.Config {
	c := &tls.Config{}
	if t.TLS != nil {
		c = t.TLS.Clone()
	}
	c.ServerName = cmp.Or(c.ServerName, t.URL.Hostname())
	c.NextProtos = []string{proto}
	return c
}

// request is one for net/http.
func (t *Target) request() (*http.Request, error) {
	r, err := http.NewRequest(t.Method, t.URL.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header = t.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if h := r.Header.Get("Host"); h != "" {
		r.Host = h
		r.Header.Del("Host")
	}
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header.Set("User-Agent", "warmcgi-bench")
	}
	if r.Header.Get("Content-Type") == "" && t.Body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Close = t.Close
	t.setBody(r)
	return r, nil
}

// setBody gives a request a body of its own.
func (t *Target) setBody(r *http.Request) {
	if t.Body == nil {
		return
	}
	r.ContentLength = int64(len(t.Body))
	r.Body = noClose{bytes.NewReader(t.Body)}
	if len(t.Body) == 0 {
		r.Body = http.NoBody
	}
}

type noClose struct{ *bytes.Reader }

func (noClose) Close() error { return nil }
