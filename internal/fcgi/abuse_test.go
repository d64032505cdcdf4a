package fcgi

import (
	"bufio"
	"bytes"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// abuses are what a front server can do wrong on a connection. Each returns when it has
// done it; the connection is then left as it is until the server closes it, or is reset.
var abuses = map[string]func(f *front) (reset bool){
	"says nothing":                func(f *front) bool { return false },
	"half a header":               func(f *front) bool { f.Write(begin(1, true)[:5]); return false },
	"something else":              func(f *front) bool { f.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")); return false },
	"random octets":               func(f *front) bool { f.Write(someOctets(5000)); return false },
	"version 1 and random octets": func(f *front) bool { f.Write(append([]byte{1}, someOctets(5000)...)); return false },
	"begins and stops":            func(f *front) bool { f.Write(begin(1, true)); return false },
	"variables that are none":     func(f *front) bool { f.Write(append(begin(1, true), params(1, "A=B", "")...)); return false },
	"half of the variables":       func(f *front) bool { r := get(1, true, "/"); f.Write(r[:len(r)/2]); return false },
	"variables without end": func(f *front) bool {
		f.Write(begin(1, true))
		return flood(f, appendRecord(nil, typeParams, 1, []byte("\x01\x00A")))
	},
	"too many variables": func(f *front) bool {
		f.Write(append(begin(1, true), params(1, "A", strings.Repeat("x", 300_000))...))
		return false
	},
	"octet by octet":            func(f *front) bool { return drip(f, get(1, true, "/"+strings.Repeat("x", 60_000))) },
	"no body, and no end of it": func(f *front) bool { f.Write(post(1, true, "")); return false },
	"half a body": func(f *front) bool {
		f.Write(append(post(1, true, "1000"), stream(typeStdin, 1, make([]byte, 500))...))
		return false
	},
	"half a body, and resets": func(f *front) bool {
		f.Write(append(post(1, true, "1000"), stream(typeStdin, 1, make([]byte, 500))...))
		return true
	},
	"half a record, and resets": func(f *front) bool {
		f.Write(append(post(1, true, "1000"), stream(typeStdin, 1, make([]byte, 500))[:100]...))
		return true
	},
	"a body without end": func(f *front) bool {
		f.Write(post(1, true, ""))
		return flood(f, stream(typeStdin, 1, make([]byte, 60_000)))
	},
	"a body after its answer": func(f *front) bool {
		f.Write(get(1, true, "/"))
		return flood(f, stream(typeStdin, 1, make([]byte, 60_000)))
	},
	"takes nothing":              func(f *front) bool { f.Write(get(1, true, "/large")); return false },
	"takes a little, and resets": func(f *front) bool { f.Write(get(1, true, "/large")); io.CopyN(io.Discard, f, 100_000); return true },
	"aborts, and is silent":      func(f *front) bool { f.Write(append(get(1, true, "/large"), abort(1)...)); return false },
	"aborts at once":             func(f *front) bool { f.Write(append(begin(1, true), abort(1)...)); return false },
	"aborts what there is not":   func(f *front) bool { return flood(f, abort(9)) },
	"two at a time":              func(f *front) bool { f.Write(append(post(1, true, "9"), get(2, true, "/")...)); return false },
	"the same twice":             func(f *front) bool { f.Write(append(post(1, true, "9"), begin(1, true)...)); return false },
	"asks, and does not listen": func(f *front) bool {
		return flood(f, appendRecord(nil, typeGetValues, 0, appendParam(nil, "FCGI_MAX_REQS", "")))
	},
	"unknown records":               func(f *front) bool { return flood(f, appendRecord(nil, 99, 0, make([]byte, 100))) },
	"records of nobody's request":   func(f *front) bool { return flood(f, appendRecord(nil, typeStdin, 7, make([]byte, 60_000))) },
	"another role":                  func(f *front) bool { f.Write(appendBegin(nil, 1, roleFilter, flagKeepConn)); return false },
	"keeps what it does not need":   func(f *front) bool { f.Write(get(1, true, "/")); return false },
	"shuts its side, does not read": func(f *front) bool { f.Write(get(1, true, "/large")); f.Conn.(*net.TCPConn).CloseWrite(); return false },
	"resets at once":                func(f *front) bool { return true },
}

func someOctets(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Int())
	}
	return b
}

// flood sends the same until the server has enough of it.
func flood(f *front, b []byte) bool {
	b = bytes.Repeat(b, 1+8000/len(b))
	for {
		if _, err := f.Write(b); err != nil {
			return false
		}
	}
}

func drip(f *front, b []byte) bool {
	for i := range b {
		if _, err := f.Write(b[i : i+1]); err != nil {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// logOf is what the server's log says of a connection.
func (s *testServer) logOf(c net.Conn) (lines string) {
	for l := range strings.Lines(s.log.String()) {
		if strings.Contains(l, "remote="+c.LocalAddr().String()+"\n") {
			lines += l
		}
	}
	return lines
}

// left is what the process holds.
type left struct{ goroutines, files, heap int }

func whatIsLeft(t *testing.T) left {
	t.Helper()
	files, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	runtime.GC()
	runtime.GC() // the first leaves what pools have
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return left{runtime.NumGoroutine(), len(files), int(m.HeapAlloc)}
}

func TestNothingIsLeftOfTwoThousandConnectionsThatMisbehaveAndOthersAreAnswered(t *testing.T) {
	const connections, parallel, limit = 2000, 200, time.Second
	s := serve(t, "tcp", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.SetReadDeadline(time.Now().Add(limit))
		io.Copy(io.Discard, r.Body)
		if r.RequestURI == "/large" {
			io.CopyN(w, zeroReader{}, 20<<20)
			return
		}
		echoURI(w, r)
	}, func(s *Server) {
		s.ReadTimeout, s.IdleTimeout, s.WriteTimeout, s.MaxParams, s.MaxConns = 3*limit, 3*limit, limit, 100_000, 2*parallel
	})
	good := s.dial()
	good.send(get(1, false, "/first"))
	good.answer(1)
	before := whatIsLeft(t)

	var names []string
	for name := range abuses {
		names = append(names, name)
	}
	stop, stopped := make(chan struct{}), make(chan int)
	go func() { // the good one; ends with stop
		n := 0
		for {
			select {
			case <-stop:
				stopped <- n
				return
			default:
			}
			c, err := net.Dial("tcp", s.addr.String())
			if !assert.NoError(t, err) {
				continue
			}
			c.SetDeadline(time.Now().Add(patience))
			f, began := &front{Conn: c, t: t, br: bufio.NewReader(c)}, time.Now()
			for i := range 3 {
				c.Write(get(1, i < 2, "/good"))
				out, _, err := f.tryAnswer(1)
				if !assert.NoError(t, err, "request %d after %v: %s", i, time.Since(began), s.logOf(c)) {
					break
				}
				assert.Equal(t, okHead+"/good", out)
				n++
			}
			c.Close()
			time.Sleep(time.Millisecond)
		}
	}()
	var wg sync.WaitGroup
	todo := make(chan string, connections)
	for i := range connections {
		todo <- names[i%len(names)]
	}
	close(todo)
	for range parallel {
		wg.Go(func() {
			for name := range todo {
				c, err := net.Dial("tcp", s.addr.String())
				if !assert.NoError(t, err) {
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				reset := abuses[name](&front{Conn: c, t: t})
				if reset {
					c.(*net.TCPConn).SetLinger(0)
				} else if strings.Contains(name, "takes nothing") || strings.Contains(name, "not read") {
					time.Sleep(2 * limit)
				} else if _, err := io.Copy(io.Discard, c); err != nil {
					assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "%s: the server does not end it", name)
				}
				c.Close()
			}
		})
	}
	wg.Wait()
	close(stop)
	assert.Greater(t, <-stopped, 100, "good requests")

	require.Eventually(t, func() bool { return s.Conns() == 0 }, patience, time.Millisecond)
	var after left
	assert.Eventually(t, func() bool {
		after = whatIsLeft(t)
		return after.goroutines <= before.goroutines+maxIdleHandlers && after.files <= before.files && after.heap <= before.heap+2<<20
	}, patience, 10*time.Millisecond, "before %+v", before)
	t.Logf("before %+v, after %+v", before, after)
	for e := range numEvents {
		if e != EventAcceptFailed && e != EventFull && e != EventEvicted {
			assert.NotZero(t, s.Count(e), "event %d", e)
		}
	}
}

// zeroReader never ends.
type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }
