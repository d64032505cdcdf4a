package load

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// http2Conn is a connection that several clients share.
type http2Conn struct {
	t         *Target
	transport *http.Transport
	counts    *connCounts

	mu sync.Mutex // held while it connects: the others want the same connection
	cc *http.ClientConn
}

func newHTTP2Conn(t *Target, counts *connCounts) *http2Conn {
	var p http.Protocols
	p.SetHTTP2(t.URL.Scheme == "https")
	p.SetUnencryptedHTTP2(t.URL.Scheme == "http")
	return &http2Conn{t: t, counts: counts, transport: &http.Transport{
		Protocols: &p, DisableCompression: true, TLSClientConfig: t.tlsConfig("h2"), TLSHandshakeTimeout: dialTime,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) },
	}}
}

// get is the connection, made anew if it takes no more requests.
func (c *http2Conn) get(ctx context.Context) (*http.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cc != nil && c.cc.Err() == nil {
		return c.cc, nil
	}
	cc, err := c.transport.NewClientConn(ctx, c.t.URL.Scheme, c.t.Addr)
	if err != nil {
		return nil, failed(dialing, err)
	}
	c.counts.opened.Add(1)
	c.cc = cc
	return cc, nil
}

func (c *http2Conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cc != nil {
		c.cc.Close()
		c.cc = nil
	}
}

// drop closes a connection behind its one request.
func (c *http2Conn) drop() {
	if c.t.Close {
		c.close()
	}
}

// http2 is one stream after another.
type http2 struct {
	conn    *http2Conn
	request *http.Request
	buf     []byte
}

func (c *http2) close() { c.conn.close() }

func (c *http2) ask(ctx context.Context, deadline time.Time, s sink) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	cc, err := c.conn.get(ctx)
	if err != nil {
		return err
	}
	defer c.conn.drop()
	r := c.request.Clone(ctx)
	r.Close = false
	c.conn.t.setBody(r)
	res, err := cc.RoundTrip(r)
	if err != nil {
		return failedStream(asking, err)
	}
	defer res.Body.Close()
	if err := s.begin(res.StatusCode, res.Header); err != nil {
		return err
	}
	for {
		n, rerr := res.Body.Read(c.buf)
		if n > 0 {
			if err := s.body(c.buf[:n]); err != nil {
				return err
			}
		}
		if rerr == io.EOF {
			return s.end()
		}
		if rerr != nil {
			return failedStream(reading, rerr)
		}
	}
}

// failedStream: errors of HTTP/2 itself have no types that are exported.
func failedStream(in phase, err error) *failure {
	f := failed(in, err)
	if f.kind == Malformed {
		f.kind = Stream
		if in == reading && !errors.Is(err, context.Canceled) {
			f.kind = Cut
		}
	}
	return f
}
