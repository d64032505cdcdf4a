package fcgi

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"time"
)

// A link is one connection to an application. At most one request is on it: few
// applications take more (spec 3.5, FCGI_MPXS_CONNS), and php-fpm is not among them.
type link struct {
	c net.Conn
	*linkMemory
	quiet func() bool // nothing can be read, not even the end; nil: that is not known
	taken func() bool // all that was sent has been read by the application; nil: that is not known
	used  int         // requests that it has carried
	since time.Time   // when it became idle
}

// linkMemory outlives a connection: where an application has few processes, there may be
// one for each request.
type linkMemory struct {
	r   *bufio.Reader
	out []byte // what is sent in one piece
}

var linkMemories = sync.Pool{New: func() any { return &linkMemory{r: bufio.NewReaderSize(nil, 16<<10)} }}

// close closes a link that nobody uses any more.
func (l *link) close() {
	l.c.Close()
	l.r.Reset(nil)
	linkMemories.Put(l.linkMemory)
}

// requestID is that of the one request (spec 3.3: 0 is the connection itself).
const requestID = 1

// role is what the application is asked to be.
func (c *TransportConfig) role() role {
	if c.Authorizer {
		return roleAuthorizer
	}
	return roleResponder
}

// dial connects to an application. The network is unix, tcp or tls.
func dial(ctx context.Context, network, address string, c *tls.Config) (*link, error) {
	var d net.Dialer
	var conn net.Conn
	var err error
	if network == "tls" {
		conn, err = (&tls.Dialer{NetDialer: &d, Config: c}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = d.DialContext(ctx, network, address)
	}
	if err != nil {
		return nil, err
	}
	w := newWire(conn, 0)
	m := linkMemories.Get().(*linkMemory)
	m.r.Reset(w)
	return &link{c: w, linkMemory: m, quiet: quiet(conn), taken: taken(conn)}, nil
}

// stale reports whether an idle link can't be used any more: the application has closed
// it, or has sent what nobody asked for.
func (l *link) stale() bool {
	l.c.SetReadDeadline(time.Time{})
	return l.r.Buffered() > 0 || l.quiet != nil && !l.quiet()
}

// appendStream appends content as records of a stream, without the empty one at its end.
func appendStream(b []byte, typ recType, content []byte) []byte {
	for len(content) > 0 {
		n := min(len(content), maxContent-7) // a multiple of eight needs no padding
		b = appendRecord(b, typ, requestID, content[:n])
		content = content[n:]
	}
	return b
}

// appendVars appends NAME=value strings as PARAMS, with the empty record at the end.
func appendVars(b []byte, lists ...[]string) []byte {
	at := len(b)
	b = append(b, zeros[:]...) // the header comes when the length is known
	for _, list := range lists {
		for _, v := range list {
			name, value, _ := strings.Cut(v, "=")
			b = appendParam(b, name, value)
		}
	}
	if n := len(b) - at - headerLen; n <= maxContent {
		h := newHeader(typeParams, requestID, n)
		h.put(b[at:])
		b = append(b, zeros[:h.padding]...)
	} else {
		content := append([]byte(nil), b[at+headerLen:]...)
		b = appendStream(b[:at], typeParams, content)
	}
	return appendRecord(b, typeParams, requestID, nil)
}
