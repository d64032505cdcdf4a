package fcgi

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A fake is an application that does what a test says, on each of its connections: a
// real one can't be made to misbehave.
type fake struct {
	t       testing.TB
	ln      net.Listener
	conns   atomic.Int32
	address string
}

// newFake serves each connection by script, which gets its number.
func newFake(t testing.TB, script func(c *fakeConn, n int)) *fake {
	t.Helper()
	dir, err := os.MkdirTemp("", "fcgi") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	return serveFake(t, ln, script)
}

// serveFake is newFake at a listener.
func serveFake(t testing.TB, ln net.Listener, script func(c *fakeConn, n int)) *fake {
	f := &fake{t: t, ln: ln, address: ln.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if errors.Is(err, syscall.EMFILE) { // a test has left it none, for now
				time.Sleep(time.Millisecond)
				continue
			}
			if err != nil {
				return
			}
			n := int(f.conns.Add(1))
			go func() { // ends with the connection
				defer c.Close()
				script(&fakeConn{Conn: c, r: bufio.NewReader(c)}, n)
			}()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return f
}

type fakeConn struct {
	net.Conn
	r *bufio.Reader
}

// newFakeConn is one of a connection that was accepted from descriptor 0.
func newFakeConn(fd int) *fakeConn {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		panic(err)
	}
	return &fakeConn{Conn: c, r: bufio.NewReader(c)}
}

// fakeRecord is a record as the fake has read it.
type fakeRecord struct {
	header
	content string
}

// next reads a record; ok is false at the end of the connection.
func (c *fakeConn) next() (rec fakeRecord, ok bool) {
	c.SetReadDeadline(time.Now().Add(patience))
	h, err := readHeader(c.r)
	if err != nil {
		return rec, false
	}
	b := make([]byte, h.length+h.padding)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return rec, false
	}
	return fakeRecord{h, string(b[:h.length])}, true
}

// fakeRequest is what one request has brought.
type fakeRequest struct {
	vars    map[string]string
	body    string
	flags   byte
	aborted bool
}

// request reads a whole request.
func (c *fakeConn) request() (q fakeRequest, ok bool) {
	params := ""
	for {
		rec, ok := c.next()
		if !ok {
			return q, false
		}
		switch rec.typ {
		case typeBeginRequest:
			q.flags = rec.content[2]
		case typeAbortRequest:
			q.aborted = true
			return q, true
		case typeParams:
			params += rec.content
			if rec.content == "" {
				p, err := splitPairs(params)
				if err != nil {
					return q, false
				}
				q.vars = map[string]string{}
				for _, v := range p {
					q.vars[v.Name] = v.Value
				}
			}
		case typeStdin:
			if rec.content == "" {
				return q, true
			}
			q.body += rec.content
		}
	}
}

// await waits for something to come, and leaves it in the kernel.
func (c *fakeConn) await() {
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		panic(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return err != syscall.EAGAIN
	})
}

// params reads a request up to the end of its variables.
func (c *fakeConn) params() bool {
	for {
		rec, ok := c.next()
		if !ok || rec.typ == typeParams && rec.content == "" {
			return ok
		}
	}
}

func (c *fakeConn) stdout(s string)      { c.Write(appendStream(nil, typeStdout, []byte(s))) }
func (c *fakeConn) stderr(s string)      { c.Write(appendStream(nil, typeStderr, []byte(s))) }
func (c *fakeConn) end(s protocolStatus) { c.Write(appendEnd(nil, requestID, 0, s)) }
func (c *fakeConn) answer(s string) {
	c.stdout("Content-Type: text/plain\r\n\r\n" + s)
	c.end(statusRequestComplete)
}
func (c *fakeConn) untilTheEnd() {
	c.SetReadDeadline(time.Now().Add(patience))
	io.Copy(io.Discard, c.r)
}
func (c *fakeConn) has(d time.Duration) bool {
	c.SetReadDeadline(time.Now().Add(d))
	_, err := c.r.Peek(1)
	return err == nil
}
