package fcgi

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireCount waits until something was counted as often.
func (s *testServer) requireCount(n int, e Event) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.Count(e) == uint64(n) }, patience, time.Millisecond, "event %d: %d", e, s.Count(e))
}

// shortly is a limit that tests run into.
const shortly = 200 * time.Millisecond

func TestARequestThatComesOctetByOctetIsGivenUp(t *testing.T) {
	s := serve(t, "unix", echoURI, func(s *Server) { s.ReadTimeout = shortly })
	f := s.dial()
	in := get(1, true, "/"+strings.Repeat("x", 100_000))
	n := len(begin(1, true)) // at once: without it there is no request to answer
	f.send(in[:n])
	go func() { // ends with the connection
		for _, b := range in[n:] {
			if _, err := f.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	out, status := f.answer(1)
	assert.True(t, strings.HasPrefix(out, "Status: 408 "), out)
	assert.Equal(t, statusRequestComplete, status)
	f.Close()
	s.requireCount(1, EventTooSlow)
	assert.Contains(t, s.log.String(), "too long to come")
}

func TestHalfAHeaderIsNoIdleConnection(t *testing.T) {
	s := serve(t, "unix", echoURI, func(s *Server) { s.ReadTimeout, s.IdleTimeout = shortly, shortly })
	fresh := s.dial()
	fresh.send(begin(1, true)[:3])
	fresh.requireClosed()
	s.requireCount(1, EventTooSlow)
	kept := s.dial()
	kept.send(get(1, true, "/"), begin(1, true)[:7])
	kept.answer(1)
	kept.requireClosed()
	s.requireCount(2, EventTooSlow)
	s.dial().requireClosed() // an idle one
	s.requireCount(2, EventTooSlow)
}

func TestTheHandlerSaysHowLongToWaitForABodyThatDoesNotBegin(t *testing.T) {
	s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(shortly))
		b, err := io.ReadAll(r.Body)
		if r.ContentLength < 0 {
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			w.WriteHeader(http.StatusRequestTimeout)
			return
		}
		assert.NoError(t, err)
		w.Write(b)
	}, func(s *Server) { s.ReadTimeout = shortly })
	for _, cut := range []int{0, 3} { // of the header that does not come whole, either
		f := s.dial()
		f.send(post(1, true, ""), stdinEnd(1)[:cut])
		out, _ := f.answer(1)
		assert.Contains(t, out, "Status: 408 ")
		f.send(stdinEnd(1)[cut:], get(1, true, "/")) // the connection is none the worse for it
		f.answer(1)
	}
	f := s.dial()
	f.send(post(1, true, "0"))
	out, _ := f.answer(1)
	assert.Equal(t, okHead, out)
	f.send(stdinEnd(1), post(2, true, "4"), stream(typeStdin, 2, []byte("body")), stdinEnd(2))
	out, _ = f.answer(2)
	assert.Equal(t, okHead+"body", out)
	s.requireCount(0, EventTooSlow)
}

func TestAFrontServerThatTakesNothingIsGivenUp(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		failed := make(chan error, 1)
		s := serve(t, network, func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, bulkContent)); err != nil {
					failed <- err
					return
				}
			}
		}, func(s *Server) { s.WriteTimeout = shortly })
		f := s.dial()
		f.send(get(1, true, "/"))
		assert.ErrorIs(t, await(t, failed), os.ErrDeadlineExceeded)
		_, _, err := f.tryAnswer(1)
		assert.Error(t, err, "no END_REQUEST")

		asks := s.dial() // and does not read what it is told
		values := bytes.Repeat(appendRecord(nil, typeGetValues, 0, appendParam(nil, "FCGI_MAX_CONNS", "")), 1000)
		require.Eventually(t, func() bool { _, err := asks.Write(values); return err != nil }, patience, time.Microsecond)
		require.Eventually(t, func() bool { return s.Conns() == 0 }, patience, time.Millisecond)
	}
}

func TestASlowFrontServerIsNotGivenUpWhileItTakesSomething(t *testing.T) {
	const n = 3_000_000
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		_, err := w.Write(make([]byte, n))
		assert.NoError(t, err)
	}, func(s *Server) { s.WriteTimeout = time.Second }).dial()
	f.send(get(1, true, "/"))
	slow := &slowReader{f.Conn}
	f.br.Reset(slow)
	out, _ := f.answer(1)
	assert.Len(t, out, n+len(okHead))
}

// slowReader takes at most 64 KiB in 10 ms.
type slowReader struct{ io.Reader }

func (r *slowReader) Read(b []byte) (int, error) {
	time.Sleep(10 * time.Millisecond)
	return r.Reader.Read(b[:min(len(b), 64<<10)])
}

func TestIdleConnectionsMakeRoomForOthers(t *testing.T) {
	release, busy := make(chan struct{}), make(chan struct{})
	s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/slow" {
			close(busy)
			<-release
		}
		echoURI(w, r)
	}, func(s *Server) { s.MaxConns = 3 })
	working, kept, silent := s.dial(), s.dial(), s.dial()
	working.send(get(1, true, "/slow"))
	await(t, busy)
	kept.send(get(1, true, "/"))
	kept.answer(1)
	for range 2 {
		f := s.dial()
		f.send(get(1, false, "/"))
		out, _ := f.answer(1)
		assert.Equal(t, okHead+"/", out)
		f.requireClosed()
	}
	assert.Positive(t, s.Count(EventFull))
	assert.Positive(t, s.Count(EventEvicted))
	assert.Contains(t, s.log.String(), "too many connections")
	close(release)
	out, _ := working.answer(1)
	assert.Equal(t, okHead+"/slow", out)
	_ = silent
}

func TestWhatTheFrontServerDoesIsCounted(t *testing.T) {
	started := make(chan struct{}, 1)
	s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/hang" {
			started <- struct{}{}
			<-r.Context().Done()
		}
	}, func(s *Server) { s.MaxParams = 1000 })
	for _, test := range []struct {
		what Event
		in   [][]byte
		hang bool
	}{
		{EventRequest, [][]byte{get(1, false, "/")}, false},
		{EventAborted, [][]byte{begin(1, false), abort(1)}, false},
		{EventAborted, [][]byte{post(1, false, ""), abort(1)}, false},
		{EventAborted, [][]byte{get(1, false, "/hang"), abort(1)}, false},
		{EventGone, [][]byte{get(1, false, "/hang")}, true},
		{EventTooLong, [][]byte{begin(1, false), params(1, "A", strings.Repeat("x", 1000)), stdinEnd(1)}, false},
		{EventBadParams, [][]byte{begin(1, false), params(1, "A=", ""), stdinEnd(1)}, false},
		{EventUnknownRole, [][]byte{appendBegin(nil, 1, roleFilter, 0)}, false},
		{EventProtocol, [][]byte{[]byte("GET / HTTP/1.0\r\n\r\n")}, false},
		{EventMultiplexed, [][]byte{begin(1, false), begin(2, false), abort(1)}, false},
	} {
		before := s.Count(test.what)
		f := s.dial()
		f.send(test.in...)
		if test.hang {
			await(t, started)
			f.Close()
		} else {
			io.Copy(io.Discard, f)
		}
		s.requireCount(int(before)+1, test.what)
		select {
		case <-started:
		default:
		}
	}
	s.requireCount(10, EventAccepted)
}

func TestLongVariablesArriveWhole(t *testing.T) {
	s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		p, _ := ParamsFromContext(r.Context())
		for name, v := range p.All() {
			io.WriteString(w, name+"="+v+"\n")
		}
	})
	f := s.dial()
	for _, n := range []int{126, 127, 128, 65_534, 65_535, 65_536, 300_000, 1_000_000} {
		long := strings.Repeat("v", n)
		for _, pairs := range [][]string{{"REQUEST_METHOD", "GET", "LONG", long}, {"REQUEST_METHOD", "GET", strings.Repeat("N", min(n, 70_000)), "short"}} {
			f.send(begin(1, true), params(1, pairs...), stdinEnd(1))
			out, _ := f.answer(1)
			assert.True(t, out == okHead+"REQUEST_METHOD=GET\n"+pairs[2]+"="+pairs[3]+"\n", "%d octets", n)
		}
	}
	// Padding is no content, wherever it is.
	var c, in []byte
	c = appendParam(appendParam(c, "REQUEST_METHOD", "GET"), "A", strings.Repeat("b", 1000))
	in = begin(1, true)
	for len(c) > 0 {
		n := min(7, len(c))
		h := header{typ: typeParams, id: 1, length: n, padding: 255}
		var b [headerLen]byte
		h.put(b[:])
		in = append(append(append(in, b[:]...), c[:n]...), bytes.Repeat([]byte{'p'}, 255)...)
		c = c[n:]
	}
	f.send(in, appendRecord(nil, typeParams, 1, nil), stdinEnd(1))
	out, _ := f.answer(1)
	assert.Equal(t, okHead+"REQUEST_METHOD=GET\nA="+strings.Repeat("b", 1000)+"\n", out)
}

// An emptyListener has no descriptors left, until it is asked again.
type emptyListener struct {
	net.Listener
	failures int
}

func (l *emptyListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return (&failingListener{}).Accept()
	}
	return l.Listener.Accept()
}

func TestAConnectionThatCanNotBeAcceptedIsCountedAndAcceptedLater(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Handler: http.HandlerFunc(echoURI)}
	served := make(chan error, 1)
	go func() { served <- s.Serve(&emptyListener{l, 2}) }() // ends with Close
	ts := &testServer{Server: s, t: t, addr: l.Addr()}
	f := ts.dial()
	f.send(get(1, false, "/"))
	f.answer(1)
	f.requireClosed()
	assert.EqualValues(t, 2, s.Count(EventAcceptFailed))
	s.Close()
	assert.ErrorIs(t, <-served, ErrServerClosed)
}
