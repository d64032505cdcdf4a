package probe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"warmcgi/internal/cgi"
	"warmcgi/internal/fcgi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// application serves each connection by script: a real application can't be made to
// misbehave.
func application(t *testing.T, script func(c *appConn)) Target {
	t.Helper()
	dir, err := os.MkdirTemp("", "probe") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			script(&appConn{c, bufio.NewReader(c)})
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return Target{Network: "unix", Address: ln.Addr().String()}
}

type appConn struct {
	net.Conn
	r *bufio.Reader
}

// next is the type and the content of the next record; 0 is the end.
func (c *appConn) next() (kind byte, content string) {
	h := make([]byte, 8)
	if _, err := io.ReadFull(c.r, h); err != nil {
		return 0, ""
	}
	b := make([]byte, int(binary.BigEndian.Uint16(h[4:]))+int(h[6]))
	if _, err := io.ReadFull(c.r, b); err != nil {
		return 0, ""
	}
	return h[1], string(b[:len(b)-int(h[6])])
}

// request reads a whole request.
func (c *appConn) request() (flags byte, body string) {
	for {
		switch kind, content := c.next(); kind {
		case 0:
			return flags, body
		case 1:
			flags = content[2]
		case 5:
			if content == "" {
				return flags, body
			}
			body += content
		}
	}
}

func (c *appConn) record(kind, id byte, content string) {
	b := []byte{1, kind, 0, id, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[4:], uint16(len(content)))
	c.Write(append(b, content...))
}
func (c *appConn) stdout(s string) {
	for len(s) > 60_000 {
		c.record(6, 1, s[:60_000])
		s = s[60_000:]
	}
	c.record(6, 1, s)
}
func (c *appConn) end(exit, status byte) {
	c.record(3, 1, string([]byte{0, 0, 0, exit, status, 0, 0, 0}))
}

// call is a call with its answer.
func call(ctx context.Context, to Target, body io.Reader) (res *cgi.Response, text, log string, code int, err error) {
	var out bytes.Buffer
	code, err = to.Call(ctx, Request{
		Params: map[string]string{"REQUEST_METHOD": "GET"}, Body: body,
		Head: func(r *cgi.Response) { res = r }, Out: &out, Stderr: func(line string) { log += line + "\n" },
	})
	return res, out.String(), log, code, err
}

func TestAnAnswerComesAsTheApplicationGaveIt(t *testing.T) {
	long := strings.Repeat("c", 30_000)
	to := application(t, func(c *appConn) {
		flags, body := c.request()
		c.record(7, 1, "a word\n")
		c.record(11, 0, "\x20\x00\x00\x00\x00\x00\x00\x00") // of the connection
		c.stdout("status: 404 Gone Fishing\r\nset-cookie: " + long + "\r\n")
		c.stdout("\r\nflags=" + string('0'+flags) + " ")
		c.stdout(body)
		c.stdout("")
		c.end(7, 0)
	})
	res, text, log, code, err := call(bounded(t), to, strings.NewReader(strings.Repeat("b", 200_000)))
	require.NoError(t, err)
	assert.Equal(t, 404, res.Status)
	assert.Equal(t, "Gone Fishing", res.Reason)
	assert.Equal(t, http.Header{"Set-Cookie": {long}}, res.Header)
	assert.Equal(t, "flags=0 "+strings.Repeat("b", 200_000), text, "and the connection is not kept")
	assert.Equal(t, "a word\n", log)
	assert.Equal(t, 7, code)
}

func TestAnAnswerThatIsNotWholeIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(c *appConn)
		want   error
	}{
		"closed at once":              {func(c *appConn) {}, cgi.ErrNoOutput},
		"closed before the head":      {func(c *appConn) { c.stdout("Content-Type: a/b\r\n") }, cgi.ErrTruncated},
		"closed in the body":          {func(c *appConn) { c.stdout("Content-Type: a/b\r\n\r\npart") }, cgi.ErrTruncated},
		"closed behind STDOUT":        {func(c *appConn) { c.stdout("Content-Type: a/b\r\n\r\npart"); c.stdout("") }, cgi.ErrTruncated},
		"closed in a record":          {func(c *appConn) { c.Write([]byte{1, 6, 0, 1, 0, 9, 0, 0, 'x'}) }, cgi.ErrNoOutput},
		"overloaded":                  {func(c *appConn) { c.end(0, 2) }, cgi.ErrOverloaded},
		"no such role":                {func(c *appConn) { c.end(0, 3) }, fcgi.ErrProtocol},
		"overloaded behind an answer": {func(c *appConn) { c.stdout("Content-Type: a/b\r\n\r\nx"); c.end(0, 2) }, cgi.ErrOverloaded},
		"another request":             {func(c *appConn) { c.record(6, 2, "Content-Type: a/b\r\n\r\nx") }, fcgi.ErrProtocol},
		"no FastCGI":                  {func(c *appConn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, fcgi.ErrProtocol},
		"a short END_REQUEST":         {func(c *appConn) { c.record(3, 1, "\x00\x00\x00\x00") }, fcgi.ErrProtocol},
		"nothing":                     {func(c *appConn) { c.end(0, 0) }, cgi.ErrNoOutput},
		"no head":                     {func(c *appConn) { c.stdout("Content-Type: a/b\r\n"); c.end(0, 0) }, cgi.ErrBadHead},
		"a line without a colon":      {func(c *appConn) { c.stdout("bogus\r\n\r\n"); c.stdout(strings.Repeat("x", 60_000)); c.end(0, 0) }, cgi.ErrBadHead},
		"less than announced":         {func(c *appConn) { c.stdout("Content-Length: 9\r\n\r\nx"); c.end(0, 0) }, cgi.ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			to := application(t, func(conn *appConn) { conn.request(); c.answer(conn) })
			_, _, log, _, err := call(bounded(t), to, nil)
			assert.ErrorIs(t, err, c.want)
			assert.Empty(t, log)
		})
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	for name, answer := range map[string]func(c *appConn){
		"nothing is read": func(c *appConn) { io.Copy(io.Discard, c.r) }, // the end of the connection ends it
		"no answer":       func(c *appConn) { c.request(); c.next() },
		"half an answer":  func(c *appConn) { c.request(); c.stdout("Content-Type: a/b\r\n\r\npart"); c.next() },
	} {
		t.Run(name, func(t *testing.T) {
			to := application(t, answer)
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			_, _, log, _, err := call(ctx, to, endless{})
			assert.ErrorIs(t, err, cgi.ErrTimeout)
			assert.Empty(t, log)
			assert.ErrorIs(t, to.Ping(ctx, "/ping"), cgi.ErrUnreachable)
		})
	}
	to := application(t, func(c *appConn) { c.request(); c.next() })
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	_, _, _, _, err := call(ctx, to, nil)
	assert.True(t, errors.Is(err, cgi.ErrGone) || errors.Is(err, cgi.ErrUnreachable), "%v", err)
}

// endless is a body.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestAnAnswerBeforeTheEndOfTheBodyIsOne(t *testing.T) {
	to := application(t, func(c *appConn) {
		c.next()
		c.stdout("Status: 413\r\nContent-Type: a/b\r\n\r\ntoo much")
		c.end(0, 0)
	})
	res, text, _, _, err := call(bounded(t), to, endless{})
	require.NoError(t, err)
	assert.Equal(t, 413, res.Status)
	assert.Equal(t, "too much", text)
}

func TestABodyThatCannotBeReadIsNeverTakenForWhole(t *testing.T) {
	whole := make(chan bool, 1)
	to := application(t, func(c *appConn) {
		for {
			switch kind, content := c.next(); {
			case kind == 0:
				whole <- false
				return
			case kind == 5 && content == "":
				whole <- true
				return
			}
		}
	})
	_, _, _, _, err := call(bounded(t), to, io.MultiReader(strings.NewReader("some"), broken{}))
	assert.ErrorIs(t, err, cgi.ErrBody)
	assert.False(t, <-whole)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestAnAddressWhereNobodyListensIsUnreachable(t *testing.T) {
	to := Target{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}
	_, _, _, _, err := call(bounded(t), to, nil)
	assert.ErrorIs(t, err, cgi.ErrUnreachable)
	_, err = to.Values(bounded(t))
	assert.ErrorIs(t, err, cgi.ErrUnreachable)
}

func TestAnApplicationIsAskedForItsValues(t *testing.T) {
	to := application(t, func(c *appConn) {
		kind, content := c.next()
		if kind == 9 && strings.Contains(content, "FCGI_MAX_CONNS") {
			c.record(10, 0, "\x0e\x02FCGI_MAX_CONNS12\x0f\x01FCGI_MPXS_CONNS0")
		}
	})
	v, err := to.Values(bounded(t))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"FCGI_MAX_CONNS": "12", "FCGI_MPXS_CONNS": "0"}, v)

	for name, c := range map[string]struct {
		answer func(c *appConn)
		want   error
	}{
		"closed":          {func(c *appConn) {}, cgi.ErrNoOutput},
		"not known":       {func(c *appConn) { c.record(11, 0, "\x09\x00\x00\x00\x00\x00\x00\x00") }, fcgi.ErrProtocol},
		"past the end":    {func(c *appConn) { c.record(10, 0, "\x0e\x09FCGI_MAX_CONNS1") }, fcgi.ErrProtocol},
		"another record":  {func(c *appConn) { c.record(6, 1, "x") }, fcgi.ErrProtocol},
		"half of its own": {func(c *appConn) { c.Write([]byte{1, 10, 0, 0, 0, 9, 0, 0, 'x'}) }, cgi.ErrNoOutput},
	} {
		to := application(t, func(conn *appConn) { conn.next(); c.answer(conn) })
		_, err := to.Values(bounded(t))
		assert.ErrorIs(t, err, c.want, name)
	}
	hung := application(t, func(c *appConn) { c.next(); c.next() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = hung.Values(ctx)
	assert.ErrorIs(t, err, cgi.ErrTimeout)
}

func TestAPageThatIsNotPHPsStatusIsAnError(t *testing.T) {
	for body, want := range map[string]error{
		"Content-Type: text/plain\r\n\r\npong":                                ErrAnswer,
		"Content-Type: application/json\r\n\r\n{}":                            ErrAnswer,
		"Status: 404 Not Found\r\n\r\nFile not found.":                        ErrAnswer,
		"Content-Type: text/plain\r\n\r\n" + strings.Repeat("x", 60_000):      ErrAnswer,
		"Content-Type: application/json\r\n\r\n{\"pool\":\"www\",\"more\":1}": nil,
	} {
		to := application(t, func(c *appConn) {
			c.request()
			c.stdout(body)
			c.stdout(strings.Repeat(" ", 10_000))
			c.end(0, 0)
		})
		s, err := to.FPMStatus(bounded(t), "/status")
		if want != nil {
			assert.ErrorIs(t, err, want)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, "www", s.Pool)
	}
}
