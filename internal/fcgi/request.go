package fcgi

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// newRequest is the HTTP request that the variables describe (RFC 3875 section 4.1).
// It has the form of a request that net/http has read itself: the URL of an origin-form
// target has no host. ContentLength is -1 when CONTENT_LENGTH says nothing. The caller
// adds the body.
func newRequest(ctx context.Context, p Params) (*http.Request, error) {
	r := emptyRequest(ctx)
	r.Proto, r.ProtoMajor, r.ProtoMinor, r.ContentLength = "HTTP/1.1", 1, 1, -1
	t := target{}
	var name, addr, port string
	r.Header = make(http.Header, len(p)/2)
	values := make([]string, 0, len(p)) // of the header, in one piece

	for i := range p {
		v := p[i].Value
		switch p[i].Name {
		case "REQUEST_METHOD":
			r.Method = v
		case "SERVER_PROTOCOL":
			setProto(r, v)
		case "REQUEST_URI":
			t.uri = v
		case "SCRIPT_NAME":
			t.script = v
		case "PATH_INFO":
			t.info = v
		case "QUERY_STRING":
			t.query = v
		case "HTTP_HOST":
			r.Host = v
		case "SERVER_NAME":
			name = v
		case "REMOTE_ADDR":
			addr = v
		case "REMOTE_PORT":
			port = v
		case "HTTPS":
			if v == "1" || strings.EqualFold(v, "on") {
				r.TLS = &tls.ConnectionState{HandshakeComplete: true}
			}
		case "CONTENT_LENGTH":
			if v == "" {
				continue
			}
			n, err := strconv.ParseUint(v, 10, 63)
			if err != nil {
				return nil, fmt.Errorf("%w: CONTENT_LENGTH %.60q", ErrParams, v)
			}
			r.ContentLength = int64(n)
			values = addHeader(r.Header, values, "Content-Length", v)
		case "CONTENT_TYPE":
			if v != "" {
				values = addHeader(r.Header, values, "Content-Type", v)
			}
		case "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING":
			// The first two are there already; the third is between client and front.
		default:
			if key := headerName(p[i].Name); key != "" {
				values = addHeader(r.Header, values, key, v)
			}
		}
	}

	if !isToken(r.Method) {
		return nil, fmt.Errorf("%w: REQUEST_METHOD %.60q", ErrParams, r.Method)
	}
	if err := t.set(r); err != nil {
		return nil, err
	}
	switch {
	case r.URL.Host != "":
		r.Host = r.URL.Host // RFC 9112 section 3.2.2
	case r.Host == "":
		r.Host = name
	}
	if strings.ContainsFunc(r.Host, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '/' }) {
		return nil, fmt.Errorf("%w: HTTP_HOST %.60q", ErrParams, r.Host)
	}
	r.RemoteAddr = addr
	if _, err := netip.ParseAddr(addr); err == nil { // not a front's "unix:"
		if port == "" {
			port = "0"
		}
		r.RemoteAddr = net.JoinHostPort(addr, port)
	}
	return r, nil
}

// emptyRequest has its context from the start: to give it one later is to copy it.
func emptyRequest(ctx context.Context) *http.Request { return (&http.Request{}).WithContext(ctx) }

// setProto leaves HTTP/1.1 where the variable says nothing that is known.
func setProto(r *http.Request, v string) {
	if v == "INCLUDED" { // by server-side includes: RFC 3875 section 4.1.16
		r.Proto, r.ProtoMajor, r.ProtoMinor = v, 1, 0
	} else if major, minor, ok := http.ParseHTTPVersion(v); ok {
		r.Proto, r.ProtoMajor, r.ProtoMinor = v, major, minor
	}
}

// A target is what the URL is made of.
type target struct{ uri, script, info, query string }

func (t *target) set(r *http.Request) error {
	if t.uri != "" {
		if u, err := url.ParseRequestURI(t.uri); err == nil && u.Opaque == "" {
			if u.Path == "" { // http://host
				u.Path = "/"
			}
			r.URL, r.RequestURI = u, t.uri
			return nil
		}
		// The front understood it, so its own split must do.
	}
	path := t.script + t.info
	if !strings.HasPrefix(path, "/") {
		if t.uri != "" {
			return fmt.Errorf("%w: REQUEST_URI %.200q", ErrParams, t.uri)
		}
		path = "/" + path
	}
	for i := 0; i < len(t.query); i++ {
		if c := t.query[i]; c <= ' ' || c == 0x7f {
			return fmt.Errorf("%w: QUERY_STRING %.200q", ErrParams, t.query)
		}
	}
	r.URL = &url.URL{Path: path, RawQuery: t.query}
	r.RequestURI = r.URL.EscapedPath()
	if t.query != "" {
		r.RequestURI += "?" + t.query
	}
	return nil
}

// addHeader adds a field whose value is kept in values.
func addHeader(h http.Header, values []string, key, v string) []string {
	if have, ok := h[key]; ok {
		h[key] = append(have, v)
		return values
	}
	values = append(values, v)
	n := len(values)
	h[key] = values[n-1 : n : n]
	return values
}

// commonHeaders saves the making of the names that most requests have.
var commonHeaders = map[string]string{
	"HTTP_ACCEPT":                    "Accept",
	"HTTP_ACCEPT_CHARSET":            "Accept-Charset",
	"HTTP_ACCEPT_ENCODING":           "Accept-Encoding",
	"HTTP_ACCEPT_LANGUAGE":           "Accept-Language",
	"HTTP_AUTHORIZATION":             "Authorization",
	"HTTP_CACHE_CONTROL":             "Cache-Control",
	"HTTP_CONNECTION":                "Connection",
	"HTTP_COOKIE":                    "Cookie",
	"HTTP_DNT":                       "Dnt",
	"HTTP_EXPECT":                    "Expect",
	"HTTP_FORWARDED":                 "Forwarded",
	"HTTP_IF_MODIFIED_SINCE":         "If-Modified-Since",
	"HTTP_IF_NONE_MATCH":             "If-None-Match",
	"HTTP_ORIGIN":                    "Origin",
	"HTTP_PRAGMA":                    "Pragma",
	"HTTP_PRIORITY":                  "Priority",
	"HTTP_RANGE":                     "Range",
	"HTTP_REFERER":                   "Referer",
	"HTTP_SEC_FETCH_DEST":            "Sec-Fetch-Dest",
	"HTTP_SEC_FETCH_MODE":            "Sec-Fetch-Mode",
	"HTTP_SEC_FETCH_SITE":            "Sec-Fetch-Site",
	"HTTP_SEC_FETCH_USER":            "Sec-Fetch-User",
	"HTTP_UPGRADE_INSECURE_REQUESTS": "Upgrade-Insecure-Requests",
	"HTTP_USER_AGENT":                "User-Agent",
	"HTTP_X_FORWARDED_FOR":           "X-Forwarded-For",
	"HTTP_X_FORWARDED_HOST":          "X-Forwarded-Host",
	"HTTP_X_FORWARDED_PROTO":         "X-Forwarded-Proto",
	"HTTP_X_REAL_IP":                 "X-Real-Ip",
	"HTTP_X_REQUESTED_WITH":          "X-Requested-With",
}

// headerName is the canonical field name of an HTTP_ variable, or "" when the variable
// is none.
func headerName(param string) string {
	if key, ok := commonHeaders[param]; ok {
		return key
	}
	name, ok := strings.CutPrefix(param, "HTTP_")
	if !ok {
		return ""
	}
	b := make([]byte, len(name))
	upper := true
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '_':
			c = '-'
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case !upper && 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		upper = c == '-'
		b[i] = c
	}
	if key := string(b); isToken(key) {
		return key
	}
	return ""
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2: a method or a field
// name.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
