package cgi

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// Software is the value of SERVER_SOFTWARE.
const Software = "warmcgi/0.1"

// Meta is what the meta-variables are made of beside the request itself.
type Meta struct {
	// ID is the request's, for REQUEST_ID and, as Apache calls it, UNIQUE_ID.
	ID string
	// ScriptName and PathInfo are the two parts of the path, decoded.
	ScriptName, PathInfo string
	// ScriptFilename is the script's file; DocumentRoot is what PATH_TRANSLATED
	// counts from.
	ScriptFilename, DocumentRoot string
	// Untranslated leaves PATH_TRANSLATED out.
	Untranslated bool
	// ServerAdmin is an e-mail address, or "".
	ServerAdmin string
	// LocalAddr is where the request came in, host:port; "" on a Unix socket.
	LocalAddr string
	// ServerPort, when not "", stands in for LocalAddr's: a trusted proxy's word.
	ServerPort string
	// RemoteAddr is the client's address, host:port.
	RemoteAddr string
	// HTTPS: the client's connection is encrypted.
	HTTPS bool
	// RequestURI is the request target, path and query, as it came.
	RequestURI string
	// User is who has logged in at the gateway; AuthType how.
	User, AuthType string
	// PassAuthorization lets the script see the Authorization field.
	PassAuthorization bool
	// Length is the length of the body, or -1 for no body.
	Length int64
}

// Vars are the meta-variables of a request (RFC 3875 section 4.1), each NAME=value,
// none twice. A variable that the RFC calls NULL is left out.
func Vars(r *http.Request, m *Meta) []string {
	host, port := splitHostPort(m.LocalAddr)
	if m.ServerPort != "" {
		port = m.ServerPort
	}
	if port == "" {
		port = "80"
		if m.HTTPS {
			port = "443"
		}
	}
	v := newVarList(r, m)
	set := v.add
	opt := func(name, value string) {
		if value != "" {
			v.add(name, value)
		}
	}
	set("GATEWAY_INTERFACE", "CGI/1.1")
	set("SERVER_SOFTWARE", Software)
	set("SERVER_PROTOCOL", r.Proto)
	set("SERVER_NAME", ServerName(r.Host, host))
	set("SERVER_PORT", port)
	opt("SERVER_ADDR", host)
	opt("SERVER_ADMIN", m.ServerAdmin)
	set("REQUEST_METHOD", r.Method)
	set("REQUEST_URI", m.RequestURI)
	set("SCRIPT_NAME", m.ScriptName)
	set("SCRIPT_FILENAME", m.ScriptFilename)
	set("DOCUMENT_ROOT", m.DocumentRoot)
	set("QUERY_STRING", r.URL.RawQuery)
	if m.PathInfo != "" {
		set("PATH_INFO", m.PathInfo)
		if !m.Untranslated {
			set("PATH_TRANSLATED", strings.TrimSuffix(m.DocumentRoot, "/")+m.PathInfo)
		}
	}
	scheme := "http"
	if m.HTTPS {
		scheme = "https"
		set("HTTPS", "on")
	}
	set("REQUEST_SCHEME", scheme)
	addr, rport := splitHostPort(m.RemoteAddr)
	set("REMOTE_ADDR", addr)
	opt("REMOTE_PORT", rport)
	opt("AUTH_TYPE", m.AuthType)
	opt("REMOTE_USER", m.User)
	opt("UNIQUE_ID", m.ID)
	opt("REQUEST_ID", m.ID)
	if m.Length >= 0 {
		set("CONTENT_LENGTH", strconv.FormatInt(m.Length, 10))
	}
	opt("CONTENT_TYPE", r.Header.Get("Content-Type"))
	opt("HTTP_HOST", r.Host)
	v.addFields(r.Header, m.PassAuthorization)
	return v.list
}

// addFields adds the protocol-specific variables (RFC 3875 section 4.1.18).
// Fields of the connection stay behind, and so do those that could pose as
// something they are not: see hiddenField.
func (v *varList) addFields(h http.Header, passAuthorization bool) {
	var named []string // hop-by-hop by the client's own word, RFC 9110 section 7.6.1
	for _, c := range h["Connection"] {
		for f := range strings.SplitSeq(c, ",") {
			named = append(named, http.CanonicalHeaderKey(strings.TrimSpace(f)))
		}
	}
fields:
	for name, values := range h {
		if hiddenField(name) || (name == "Authorization" && !passAuthorization) {
			continue
		}
		for _, n := range named {
			if n == name {
				continue fields
			}
		}
		sep := ", "
		if name == "Cookie" {
			sep = "; " // RFC 6265 section 5.4; HTTP/2 sends cookies apart (RFC 9113 section 8.2.3)
		}
		v.addField(name, values, sep)
	}
}

// hiddenField says which request fields never reach a script: those with a
// variable of their own, those of the connection, `Proxy` (httpoxy,
// CVE-2016-5385), and every name with a character that the mapping to a variable
// would blur: X_Real_IP must not pose as X-Real-IP.
func hiddenField(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Host", "Proxy",
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Expect":
		return true
	}
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return true
		}
	}
	return false
}

// ServerName is the host of the request without its port, where it is a host name
// or an address (RFC 3875 section 4.1.14); otherwise fallback, and "localhost" if
// there is none. What a client calls us is never passed on with markup in it.
func ServerName(host, fallback string) string {
	if h, _ := splitHostPort(host); validHost(h) {
		return bracket(h)
	}
	if fallback != "" {
		return bracket(fallback)
	}
	return "localhost"
}

func validHost(h string) bool {
	if h == "" {
		return false
	}
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Zone() == ""
	}
	for i := range len(h) {
		c := h[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// bracket writes an IPv6 address as a URL does, which is how section 4.1.14 has it.
func bracket(h string) string {
	if strings.IndexByte(h, ':') >= 0 {
		return "[" + h + "]"
	}
	return h
}

// splitHostPort is forgiving: without a port, all of it is the host.
func splitHostPort(s string) (host, port string) {
	if h, p, err := net.SplitHostPort(s); err == nil {
		return h, p
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), ""
}
