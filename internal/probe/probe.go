// Package probe asks a FastCGI application something now and then, on a connection of its
// own: whether it lives, what it says of itself, or one request from the shell. Requests
// of clients go through [fcgi.Transport].
//
// The client is gofast's, on a connection that is watched for what gofast does not look
// at: an answer that breaks off, and a request that is refused.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/yookoala/gofast"

	"warmcgi/internal/cgi"
	"warmcgi/internal/fcgi"
)

// Target is an application's address.
type Target struct {
	// Network is unix, tcp or tls.
	Network string
	// Address is a path, or HOST:PORT.
	Address string
	// TLS is for the network tls; nil is the usual one.
	TLS *tls.Config
}

// Request is one request of an application.
type Request struct {
	// Params are its variables.
	Params map[string]string
	// Body is standard input; nil is none. It should not keep the reader waiting.
	Body io.Reader
	// Head gets the head of the answer, Out its body as it comes; nil is nobody.
	Head func(*cgi.Response)
	Out  io.Writer
	// Stderr gets the lines that the application writes to FCGI_STDERR; nil is nobody.
	Stderr func(line string)
}

// connectTime bounds how long a connection may take to be made.
const connectTime = 5 * time.Second

// dial makes a connection that ctx ends.
func (t Target) dial(ctx context.Context) (net.Conn, error) {
	d := &net.Dialer{Timeout: connectTime}
	var c net.Conn
	var err error
	if t.Network == "tls" {
		c, err = (&tls.Dialer{NetDialer: d, Config: t.TLS}).DialContext(ctx, "tcp", t.Address)
	} else {
		c, err = d.DialContext(ctx, t.Network, t.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cgi.ErrUnreachable, err)
	}
	return c, nil
}

// Call sends one request and takes its answer, until ctx ends. An error is of a kind of
// package cgi, or [fcgi.ErrProtocol]; the answer is whole only if there is none. code is
// the application's exit status.
func (t Target) Call(ctx context.Context, r Request) (code int, err error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return 0, err
	}
	watched := fcgi.Watch(conn)
	client, err := gofast.SimpleClientFactory(func() (net.Conn, error) { return watched, nil })()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	stop := context.AfterFunc(ctx, func() { watched.Break(ended(ctx)) })
	defer stop()

	// Without Raw, as gofast would leave a goroutine behind that reads on. The end of the
	// connection ends all of it.
	req := gofast.NewRequest(nil)
	req.Params = r.Params
	if r.Body != nil {
		req.Stdin = &body{r.Body, watched}
	}
	pipe, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	a := &answer{r: r, watched: watched, missing: -1}
	log := newSink(r.Stderr)
	pipe.WriteTo(a, log) // what it has to say is in the answer, or known to watched
	log.lines.End()
	return a.end()
}

// ended is the end of a context, as a kind of package cgi.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return cgi.ErrTimeout
	}
	return cgi.ErrGone
}

// body has a request whose body can't be read broken off: it must not look whole.
type body struct {
	io.Reader
	watched *fcgi.Watched
}

func (b *body) Read(p []byte) (int, error) {
	for !b.watched.Ended() {
		n, err := b.Reader.Read(p)
		if err != nil && err != io.EOF {
			b.watched.Break(fmt.Errorf("%w: %w", cgi.ErrBody, err))
			return n, io.EOF
		}
		if n > 0 || err != nil { // gofast takes an empty read for the end
			return n, err
		}
	}
	return 0, io.EOF // nobody takes it any more
}

func (*body) Close() error { return nil }

// answer is the [http.ResponseWriter] that gofast writes to: what the application has
// written, its head included. It takes everything, as gofast stops to read otherwise.
type answer struct {
	r       Request
	watched *fcgi.Watched
	head    []byte
	res     *cgi.Response // nil before the head is complete
	missing int64         // of an announced length; -1 is unknown
	err     error
}

func (*answer) Header() http.Header { return http.Header{} }
func (*answer) WriteHeader(int)     {}

func (a *answer) Write(b []byte) (int, error) {
	if a.err != nil {
		return len(b), nil
	}
	rest := b
	if a.res == nil {
		a.head = append(a.head, b...)
		res, n, err := cgi.ParseHead(a.head)
		if err != nil {
			a.fail(err)
		}
		if n == 0 || err != nil {
			return len(b), nil
		}
		a.res, rest, a.missing = res, a.head[n:], res.Length
		if a.r.Head != nil {
			a.r.Head(res)
		}
	}
	if a.missing >= 0 {
		rest = rest[:min(int64(len(rest)), a.missing)] // what is more is no part of the answer
		a.missing -= int64(len(rest))
	}
	if a.r.Out != nil && len(rest) > 0 {
		if _, err := a.r.Out.Write(rest); err != nil {
			a.fail(err)
		}
	}
	return len(b), nil
}

func (a *answer) fail(err error) {
	a.err = err
	a.watched.Break(err)
}

// end says how the request ended. All has been written by then.
func (a *answer) end() (code int, err error) {
	code, err = a.watched.End()
	switch {
	case a.err != nil:
		return code, a.err
	case err != nil:
		return code, err
	case a.res == nil && len(a.head) == 0:
		return code, fmt.Errorf("%w: exit status %d", cgi.ErrNoOutput, code)
	case a.res == nil:
		return code, fmt.Errorf("%w: the output ends within it, after %d octets", cgi.ErrBadHead, len(a.head))
	case a.missing > 0:
		return code, fmt.Errorf("%w: %d octets of its Content-Length are missing", cgi.ErrTruncated, a.missing)
	}
	return code, nil
}

// sink takes FCGI_STDERR.
type sink struct{ lines *cgi.Lines }

func newSink(line func(string)) sink {
	if line == nil {
		line = func(string) {}
	}
	return sink{cgi.NewLines(line)}
}

func (s sink) Write(b []byte) (int, error) {
	s.lines.Write(b)
	return len(b), nil
}
