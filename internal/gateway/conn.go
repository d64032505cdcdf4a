package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"

	"warmcgi/internal/rawio"
)

// probeAfter is how long after a client has shut its sending side it is asked
// whether it is still there.
const probeAfter = 500 * time.Millisecond

// lingerTime and lingerMax bound what is taken of a client whose connection ends.
const (
	lingerTime = 500 * time.Millisecond
	lingerMax  = 256 << 10
)

// conn is a client's connection under [http.Server]. It tells a client that has
// gone from one that has only shut its sending side (`printf … | nc`, and many
// small programs): net/http takes either for gone.
//
// While a request is answered, net/http reads one octet ahead to see the client
// leave. The end of file that it would see is held back here until the connection
// is dead in both directions. On a Unix socket the kernel says so; TCP tells the two
// apart only when something is sent, so a client that waits for the head of an
// answer is sent an interim response (102, RFC 9110 section 15.2): one that has gone
// answers with a reset. Without that, TCP keep-alive notices within about a minute.
type conn struct {
	net.Conn
	out   *rawio.Stream // nil where there is no descriptor
	in    *rawio.Stream // nil where something is before the connection, too
	room  func()        // is noRoom
	stall time.Duration // how long the client may take nothing

	idleness
	hearing
	spoilt atomic.Bool // nothing that still comes may be taken for a request
	stalls atomic.Bool // a write had to wait, and has a deadline

	mu    sync.Mutex
	mayBe bool // an interim response may be sent now
}

func newConn(c net.Conn, stall time.Duration) *conn {
	cc := &conn{Conn: c, stall: stall}
	p, proxied := c.(*proxyproto.Conn)
	if proxied {
		c = p.Raw()
	}
	cc.out, cc.room = rawio.NewStream(c), cc.noRoom
	if !proxied {
		cc.in = cc.out
	}
	return cc
}

// Read holds an end of file back from the read-ahead, which is the only read of one
// octet that net/http does (TestAClientThatOnlyShutsItsSendingSideGetsItsAnswer guards this).
func (c *conn) Read(b []byte) (int, error) {
	if c.spoilt.Load() {
		linger(c)
		return 0, errSpoilt
	}
	n, err := c.readOnce(b)
	c.hearing.read(err)
	if err == io.EOF && len(b) == 1 && c.out != nil {
		err = c.awaitDeath()
	}
	return n, err
}

func (c *conn) readOnce(b []byte) (int, error) {
	if c.in == nil {
		return c.Conn.Read(b)
	}
	return c.in.Read(b)
}

// awaitDeath returns when the connection is dead, or the read's deadline is past.
func (c *conn) awaitDeath() error {
	if t := c.tcp(); t != nil {
		timer := time.AfterFunc(probeAfter, c.probe)
		defer timer.Stop()
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 6})
	}
	if err := c.out.Raw().Read(hungUp); err != nil {
		return err
	}
	return io.EOF
}

// probe makes a client that has gone say so.
func (c *conn) probe() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mayBe {
		c.mayBe = false
		c.Conn.Write([]byte("HTTP/1.1 102 Processing\r\n\r\n")) // a failure shows at the next write
	}
}

// waiting says that a request is being worked on and nothing of its answer was
// sent yet (on), or not (off).
func (c *conn) waiting(on bool) {
	c.mu.Lock()
	c.mayBe = on
	c.mu.Unlock()
}

// interim is how net/http's own interim answer begins.
var interim = []byte("HTTP/1.1 100 ")

// Write fails when the client takes nothing for the time of stall. The deadline is set
// only when the kernel's buffer is full, so the usual answer pays nothing for it.
func (c *conn) Write(b []byte) (n int, err error) {
	if !bytes.HasPrefix(b, interim) {
		c.waiting(false)
	}
	if c.out == nil {
		return c.Conn.Write(b)
	}
	n, err = c.out.Write(b, nil, c.room)
	if c.stalls.CompareAndSwap(true, false) && err == nil {
		c.Conn.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// noRoom: the client takes nothing at the moment.
func (c *conn) noRoom() {
	c.stalls.Store(true)
	c.Conn.SetWriteDeadline(time.Now().Add(c.stall))
}

// ReadFrom lets net/http hand over a whole file, which goes by sendfile.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	c.waiting(false)
	if l, ok := r.(*io.LimitedReader); ok {
		if f, ok := l.R.(*os.File); ok {
			return c.sendFile(f, &l.N)
		}
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// sendPiece is how much of a file a client has to take within the time of stall.
const sendPiece = 256 << 10

// sendFile sends up to left octets of a file by sendfile.
func (c *conn) sendFile(f *os.File, left *int64) (sent int64, err error) {
	to, ok := c.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, &io.LimitedReader{R: f, N: *left})
	}
	defer c.Conn.SetWriteDeadline(time.Time{})
	for *left > 0 && err == nil {
		c.Conn.SetWriteDeadline(time.Now().Add(c.stall))
		var n int64
		if n, err = to.ReadFrom(&io.LimitedReader{R: f, N: min(*left, sendPiece)}); n == 0 {
			break // it has shrunk
		}
		*left -= n
		sent += n
	}
	return sent, err
}

// CloseWrite is what net/http does before it closes a connection on which the
// client may still be sending.
func (c *conn) CloseWrite() error {
	under := c.Conn
	if p, ok := under.(*proxyproto.Conn); ok {
		under = p.Raw()
	}
	if w, ok := under.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// reset ends a connection in the middle of an answer. Where the end of the connection
// is the end of the answer, a failure is the only sign that this is not it. It must not
// wait for TLS to close, which would say goodbye.
func (c *conn) reset() {
	if t := c.tcp(); t != nil {
		t.SetLinger(0)
	}
	c.Conn.Close()
}

// tcp is the connection itself, where it is one of TCP.
func (c *conn) tcp() *net.TCPConn {
	t, ok := c.Conn.(*net.TCPConn)
	if p, wrapped := c.Conn.(*proxyproto.Conn); wrapped && !ok {
		t, _ = p.TCPConn()
	}
	return t
}

// errSpoilt is not io.EOF, which would be the end of a body to net/http.
var errSpoilt = errors.New("the request's body was given up")

// spoil ends the connection behind the answer that is being sent: what still comes is the
// rest of a body that nobody waits for, and net/http would take it for a request.
func (c *conn) spoil() { c.spoilt.Store(true) }

// linger shuts the sending side, and takes for a moment what the client is still
// sending, which would make the kernel reset the connection before the answer was read.
func linger(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); !ok || w.CloseWrite() != nil {
		return
	}
	if cc, ok := c.(*conn); ok {
		c = cc.Conn
	}
	c.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c, lingerMax)
}

// connListener makes every connection a *conn.
type connListener struct {
	net.Listener
	stall time.Duration
}

func (l connListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(c, l.stall), nil
}

type connKey struct{}

// withConn is for [http.Server.ConnContext].
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// connOf is the connection of a request, or nil.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}
