package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"time"
)

// client is one connection's worth of requests, or one stream's.
type client interface {
	// ask sends the request and gives the answer to s. An error is a [failure], or what s has said.
	ask(ctx context.Context, deadline time.Time, s sink) error
	close()
}

// http1 writes the request as it was rendered once, and has net/http read the answer: a
// [http.Transport] with its two goroutines per connection would take several times the
// processor time, of which what is measured needs each bit.
type http1 struct {
	t       *Target
	request *http.Request
	text    []byte
	conn    *headLimit
	r       *bufio.Reader
	buf     []byte
	stop    func() bool // of the context that can end the connection
	// idle: the connection has been used before.
	idle   bool
	counts *connCounts
}

const (
	// inline is how much is written without reading beside it: what fits a socket's buffer.
	inline   = 64 << 10
	readSize = 64 << 10
	// maxAnswerHead is how long status line and fields of an answer may be.
	maxAnswerHead = 1 << 20
)

// rendering makes clients of a target.
func rendering(t *Target) (*http.Request, []byte, error) {
	r, err := t.request()
	if err != nil {
		return nil, nil, err
	}
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		return nil, nil, err
	}
	return r, text.Bytes(), nil
}

func (c *http1) close() {
	if c.conn != nil {
		c.stop()
		c.conn.Close()
		c.conn = nil
	}
}

func (c *http1) connect(ctx context.Context, deadline time.Time) error {
	conn, err := c.t.dial(ctx)
	if err != nil {
		return failed(dialing, err)
	}
	if c.t.URL.Scheme == "https" {
		secure := tls.Client(conn, c.t.tlsConfig("http/1.1"))
		conn.SetDeadline(deadline)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return failed(dialing, err)
		}
		conn = secure
	}
	c.counts.opened.Add(1)
	c.conn, c.idle = &headLimit{Conn: conn}, false
	c.r.Reset(c.conn)
	c.stop = context.AfterFunc(ctx, func() { conn.Close() })
	return nil
}

func (c *http1) ask(ctx context.Context, deadline time.Time, s sink) error {
	if c.conn == nil {
		if err := c.connect(ctx, deadline); err != nil {
			return err
		}
	}
	again := c.idle && c.mayRepeat()
	err := c.exchange(deadline, s)
	var f *failure
	if again && errors.As(err, &f) && (f.kind == Closed || f.kind == Reset) && c.conn == nil && !f.dialing {
		// The server has closed a connection that it had kept, while the request was on its way: every client asks again then.
		c.counts.again.Add(1)
		if err := c.connect(ctx, deadline); err != nil {
			return err
		}
		return c.exchange(deadline, s)
	}
	return err
}

// mayRepeat: RFC 9110 section 9.2.2, idempotent methods.
func (c *http1) mayRepeat() bool {
	switch c.t.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, http.MethodTrace:
		return true
	}
	return false
}

// exchange is one request on the connection, which is closed if it can't have another.
func (c *http1) exchange(deadline time.Time, s sink) error {
	c.conn.SetDeadline(deadline)
	c.conn.got = false
	wrote := make(chan error, 1)
	if len(c.text) <= inline {
		_, err := c.conn.Write(c.text)
		wrote <- err
	} else {
		conn := c.conn
		go func() { // ends when the answer has come
			_, err := conn.Write(c.text)
			wrote <- err
		}()
	}
	keep, err := c.read(s)
	c.conn.SetWriteDeadline(aLongTimeAgo) // a server that has answered early may never read the rest of the body
	werr := <-wrote
	if f := (*failure)(nil); werr != nil && errors.As(err, &f) && f.kind == Closed {
		err = failed(asking, werr)
	}
	keep = keep && werr == nil
	if c.idle = keep; !keep {
		c.close()
	}
	return err
}

var aLongTimeAgo = time.Unix(1, 0)

func (c *http1) read(s sink) (keep bool, err error) {
	var res *http.Response
	c.conn.left = maxAnswerHead
	for res == nil || res.StatusCode < 200 { // interim ones first
		if res, err = http.ReadResponse(c.r, c.request); err != nil {
			if c.conn.got && c.conn.ended { // in the middle of a line, it may also look like no HTTP
				return false, failed(reading, io.ErrUnexpectedEOF)
			}
			return false, failed(asking, err)
		}
		if res.StatusCode == http.StatusSwitchingProtocols {
			return false, failed(asking, errors.New("it has switched protocols"))
		}
	}
	c.conn.left = math.MaxInt64
	if err := s.begin(res.StatusCode, res.Header); err != nil {
		return false, err
	}
	for {
		n, rerr := res.Body.Read(c.buf)
		if n > 0 {
			if err := s.body(c.buf[:n]); err != nil {
				return false, err
			}
		}
		if rerr == io.EOF {
			return !res.Close && !c.t.Close, s.end()
		}
		if rerr != nil {
			return false, failed(reading, rerr)
		}
	}
}

// headLimit is a connection that gives an answer's head so many octets.
type headLimit struct {
	net.Conn
	left  int64
	got   bool // anything of this answer
	ended bool // there will be nothing more
}

var errLongHead = errors.New("the head is longer than a megabyte")

func (c *headLimit) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errLongHead
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.got = c.got || n > 0
	c.ended = err == io.EOF
	return n, err
}
