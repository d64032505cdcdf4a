package fcgi

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain: this program is a FastCGI program, too, see testProgram.
func TestMain(m *testing.M) {
	if what := os.Getenv("FCGI_TEST"); what != "" {
		program(what)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// A logBuffer is a log that tests can look into.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A testServer runs a Server on a Unix socket, or on TCP.
type testServer struct {
	*Server
	t    testing.TB
	addr net.Addr
	log  *logBuffer
}

func serve(t testing.TB, network string, h http.HandlerFunc, opts ...func(*Server)) *testServer {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		// t.TempDir can be too long for a socket.
		dir, err := os.MkdirTemp("", "fcgi")
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	log := new(logBuffer)
	s := &Server{Handler: h, ErrorLog: slog.New(slog.NewTextHandler(log, nil))}
	for _, o := range opts {
		o(s)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		require.ErrorIs(t, <-served, ErrServerClosed)
		require.Eventually(t, func() bool { return s.Conns() == 0 }, patience, time.Millisecond, "connections are left")
	})
	return &testServer{Server: s, t: t, addr: l.Addr(), log: log}
}

// A front is a scripted front server on one connection.
type front struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func (s *testServer) dial() *front {
	s.t.Helper()
	c, err := net.Dial(s.addr.Network(), s.addr.String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &front{Conn: c, t: s.t, br: bufio.NewReader(c)}
}

func (f *front) send(records ...[]byte) {
	f.t.Helper()
	_, err := f.Write(bytes.Join(records, nil))
	require.NoError(f.t, err)
}

// next is the next record.
func (f *front) next() (header, []byte, error) {
	h, err := readHeader(f.br)
	if err != nil {
		return h, nil, err
	}
	b := make([]byte, h.length+h.padding)
	_, err = io.ReadFull(f.br, b)
	return h, b[:h.length], err
}

// answer reads to END_REQUEST: what came on STDOUT, and how the request ended.
func (f *front) answer(id uint16) (string, protocolStatus) {
	f.t.Helper()
	out, status, err := f.tryAnswer(id)
	require.NoError(f.t, err, "after %.200q", out)
	return out, status
}

func (f *front) tryAnswer(id uint16) (string, protocolStatus, error) {
	var out bytes.Buffer
	ended := false
	for {
		h, b, err := f.next()
		switch {
		case err != nil:
			return out.String(), 0, err
		case h.id != id:
			return out.String(), 0, fmt.Errorf("record %d for request %d", h.typ, h.id)
		case h.typ == typeStdout && !ended:
			out.Write(b)
			ended = len(b) == 0
		case h.typ == typeEndRequest:
			_, status, err := parseEnd(b)
			return out.String(), status, err
		default:
			return out.String(), 0, fmt.Errorf("unexpected record %d", h.typ)
		}
	}
}

// requireClosed requires that the server closes, without anything more.
func (f *front) requireClosed() {
	f.t.Helper()
	_, _, err := f.next()
	require.ErrorIs(f.t, err, io.EOF)
}

func begin(id uint16, keep bool) []byte {
	var flags uint8
	if keep {
		flags = flagKeepConn
	}
	return appendBegin(nil, id, roleResponder, flags)
}

// params is a PARAMS stream of names and values, with its end.
func params(id uint16, pairs ...string) []byte {
	var c []byte
	for i := 0; i < len(pairs); i += 2 {
		c = appendParam(c, pairs[i], pairs[i+1])
	}
	return append(stream(typeParams, id, c), appendRecord(nil, typeParams, id, nil)...)
}

// stream is b in as many records as it takes, without the end.
func stream(typ recType, id uint16, b []byte) (out []byte) {
	for len(b) > 0 {
		n := min(len(b), maxContent)
		out = appendRecord(out, typ, id, b[:n])
		b = b[n:]
	}
	return out
}

func stdinEnd(id uint16) []byte { return appendRecord(nil, typeStdin, id, nil) }

func abort(id uint16) []byte { return appendRecord(nil, typeAbortRequest, id, nil) }

// get is a whole GET request.
func get(id uint16, keep bool, uri string) []byte {
	return bytes.Join([][]byte{begin(id, keep), params(id, "REQUEST_METHOD", "GET", "REQUEST_URI", uri), stdinEnd(id)}, nil)
}

// post is a POST request up to its body, of which length octets are announced, or "".
func post(id uint16, keep bool, length string) []byte {
	return append(begin(id, keep), params(id, "REQUEST_METHOD", "POST", "REQUEST_URI", "/", "CONTENT_LENGTH", length)...)
}

// await receives, but not for ever.
func await[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
	}
	return v
}
