package gateway

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A backend is a FastCGI application that does what a test says: a real one can't be made
// to misbehave. It shares no code with internal/fcgi.
type backend struct {
	ln      net.Listener
	conns   atomic.Int32
	request chan *asked // each request, when its variables have come; nobody need look
}

// asked is a request as the backend gets it, and the connection that it came on.
type asked struct {
	t    testing.TB
	c    net.Conn
	br   *bufio.Reader
	conn int // which connection of the backend's this is
	role byte
	vars map[string]string
}

// backend listens at the socket app of the site, and has each request answered by script.
// A script that returns true gets the connection's next request as well.
func (s *site) backend(script func(q *asked) (goOn bool)) *backend {
	s.t.Helper()
	ln, err := net.Listen("unix", s.path("app"))
	require.NoError(s.t, err)
	b := &backend{ln: ln, request: make(chan *asked, 1000)}
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n := int(b.conns.Add(1))
			go func() { // ends with the connection
				defer c.Close()
				br := bufio.NewReader(c)
				for {
					q := &asked{t: s.t, c: c, br: br, conn: n}
					if !q.begin() {
						return
					}
					b.request <- q
					if !script(q) {
						return
					}
				}
			}()
		}
	}()
	s.t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return b
}

// toBackend is the route of all URLs to the backend.
const toBackend = "routes: [{path: /, fastcgi: {servers: ['unix:app'], max_conns: 8}}]\n"

// next reads a record; kind 0 is the end of the connection.
func (q *asked) next() (kind byte, content string) {
	q.c.SetReadDeadline(time.Now().Add(patience))
	var h [8]byte
	if _, err := io.ReadFull(q.br, h[:]); err != nil {
		return 0, ""
	}
	b := make([]byte, int(binary.BigEndian.Uint16(h[4:]))+int(h[6]))
	if _, err := io.ReadFull(q.br, b); err != nil {
		return 0, ""
	}
	return h[1], string(b[:len(b)-int(h[6])])
}

// hasNext reports whether a record, or the end of the connection, comes within d.
func (q *asked) hasNext(d time.Duration) bool {
	q.c.SetReadDeadline(time.Now().Add(d))
	_, err := q.br.Peek(1)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// begin reads a request up to the end of its variables.
func (q *asked) begin() bool {
	all := ""
	for {
		kind, content := q.next()
		switch {
		case kind == 0:
			return false
		case kind == 1:
			q.role = content[1]
		case kind == 4 && content != "":
			all += content
		case kind == 4:
			q.vars = pairs(all)
			return true
		}
	}
}

// pairs splits name-value pairs (FastCGI section 3.4).
func pairs(s string) map[string]string {
	vars := map[string]string{}
	size := func() (n int) {
		if n = int(s[0]); n < 128 {
			s = s[1:]
			return n
		}
		n = int(binary.BigEndian.Uint32([]byte(s)) &^ (1 << 31))
		s = s[4:]
		return n
	}
	for s != "" {
		n, m := size(), 0
		m = size()
		vars[s[:n]] = s[n : n+m]
		s = s[n+m:]
	}
	return vars
}

// body reads the request's body; whole is false when it was aborted, or broke off.
func (q *asked) body() (body string, whole bool) {
	for {
		switch kind, content := q.next(); {
		case kind == 5 && content == "":
			return body, true
		case kind == 5:
			body += content
		default:
			return body, false
		}
	}
}

func (q *asked) stdout(s string) {
	for len(s) > 0 {
		n := min(len(s), 60000)
		q.c.Write(record(6, []byte(s[:n])))
		s = s[n:]
	}
}

// end is END_REQUEST with a protocol status.
func (q *asked) end(status byte) { q.c.Write(record(3, []byte{0, 0, 0, 0, status, 0, 0, 0})) }

// answer is a whole one.
func (q *asked) answer(text string) bool {
	q.stdout("Content-Type: text/plain\r\n\r\n" + text)
	q.end(0)
	return true
}

// gone waits for the end of the connection, and returns the kinds of what comes before it.
func (q *asked) gone() (kinds []byte) {
	for {
		kind, _ := q.next()
		if kind == 0 {
			return kinds
		}
		kinds = append(kinds, kind)
	}
}

// await waits for a file.
func (q *asked) await(file string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return
		}
	}
	panic(fmt.Sprint("nobody made ", file))
}
