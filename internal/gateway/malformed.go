package gateway

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// malformed is what is wrong with a request that net/http lets pass, or nil. HTTP/2 has
// room for a space in a method and for two hosts; a script, or a server behind one, that
// writes such a request on as text would write another.
func (x *exchange) malformed() error {
	r := x.r
	if !isToken(r.Method) {
		return fmt.Errorf("%w: method %.100q", errMalformed, r.Method)
	}
	if x.params != nil {
		return nil // the rest is between the client and the front server
	}
	if i := strings.IndexFunc(r.RequestURI, notInTarget); i >= 0 {
		return fmt.Errorf("%w: %q in the request's target (RFC 9112 section 3.2)", errMalformed, r.RequestURI[i:i+1])
	}
	if !isHost(r.Host) {
		return fmt.Errorf("%w: %.100q", errHost, r.Host)
	}
	if r.ProtoMajor < 2 {
		return nil
	}
	if hosts := r.Header["Host"]; x.client.host == "" && (len(hosts) > 1 || len(hosts) == 1 && !strings.EqualFold(hosts[0], r.Host)) {
		return fmt.Errorf("%w: the field is %.100q, the authority %.100q (RFC 9113 section 8.3.1)", errHost, hosts, r.Host)
	}
	if l := r.Header["Content-Length"]; len(l) > 1 || len(l) == 1 && l[0] != strconv.FormatInt(r.ContentLength, 10) {
		return fmt.Errorf("%w: it says that its length is %.100q, and is %d octets long", errMalformed, l, r.ContentLength)
	}
	return nil
}

// notInTarget: a fragment is not sent, and what it is to whoever takes REQUEST_URI apart is
// not what it is to us.
func notInTarget(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' }

// isHost reports whether it is one that the field Host may have over HTTP/1.1, as net/http has
// it; "" is that the client names none.
func isHost(s string) bool { return httpguts.ValidHostHeader(s) }

// isToken: RFC 9110 section 5.6.2.
func isToken(s string) bool { return httpguts.ValidHeaderFieldName(s) }
