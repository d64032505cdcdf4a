package fcgi

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const okHead = "Status: 200 OK\r\n\r\n"

// echoURI answers with the target.
func echoURI(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) }

func TestAKeptConnectionServesOneRequestAfterTheOther(t *testing.T) {
	f := serve(t, "unix", echoURI).dial()
	for i := range 20 {
		id := uint16(i%3 + 1)
		f.send(get(id, true, "/"+strings.Repeat("x", i)))
		out, status := f.answer(id)
		assert.Equal(t, okHead+"/"+strings.Repeat("x", i), out)
		assert.Equal(t, statusRequestComplete, status)
	}
}

func TestAConnectionThatIsNotToBeKeptIsClosed(t *testing.T) {
	f := serve(t, "unix", echoURI).dial()
	f.send(get(1, false, "/a"))
	out, _ := f.answer(1)
	assert.Equal(t, okHead+"/a", out)
	f.requireClosed()
}

func TestASmallAnswerIsASingleWrite(t *testing.T) {
	f := serve(t, "unix", echoURI).dial()
	f.send(get(1, true, "/abc"))
	b := make([]byte, 4096)
	n, err := f.Read(b)
	require.NoError(t, err)
	content := okHead + "/abc"
	want := appendRecord(nil, typeStdout, 1, []byte(content))
	want = appendRecord(want, typeStdout, 1, nil)
	want = appendEnd(want, 1, 0, statusRequestComplete)
	assert.Equal(t, want, b[:n])
}

func TestRecordsMayComeInAnyPieces(t *testing.T) {
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		p, _ := ParamsFromContext(r.Context())
		io.WriteString(w, p.Get("REMOTE_USER")+string(b))
	}).dial()
	var c []byte
	c = appendParam(c, "REQUEST_METHOD", "POST")
	c = appendParam(c, "REMOTE_USER", "me")
	in := begin(1, false)
	for i := range c { // each octet is a record
		in = appendRecord(in, typeParams, 1, c[i:i+1])
	}
	in = appendRecord(in, typeParams, 1, nil)
	in = appendRecord(in, typeStdin, 1, []byte("body"))
	in = append(in, stdinEnd(1)...)
	for _, b := range in {
		f.send([]byte{b})
	}
	out, _ := f.answer(1)
	assert.Equal(t, okHead+"mebody", out)
}

func TestASecondRequestAtATimeIsTurnedAway(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) { <-release; echoURI(w, r) }).dial()
	f.send(get(1, true, "/1"), get(2, true, "/2"))
	out, status := f.answer(2)
	assert.Empty(t, out)
	assert.Equal(t, statusCantMultiplex, status)
	close(release)
	out, _ = f.answer(1)
	assert.Equal(t, okHead+"/1", out)
	f.send(get(2, false, "/2"))
	out, _ = f.answer(2)
	assert.Equal(t, okHead+"/2", out)
}

func TestTheSameRequestTwiceIsAProtocolError(t *testing.T) {
	s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f := s.dial()
	f.send(get(1, true, "/1"), begin(1, true))
	io.Copy(io.Discard, f)
	assert.Contains(t, s.log.String(), "begins twice")
}

func TestValuesAreTold(t *testing.T) {
	f := serve(t, "unix", echoURI, func(s *Server) { s.MaxConns = 7 }).dial()
	var c []byte
	for _, name := range []string{"FCGI_MPXS_CONNS", "FCGI_MAX_CONNS", "FCGI_UNKNOWN", "FCGI_MAX_REQS", "FCGI_MAX_REQS"} {
		c = appendParam(c, name, "")
	}
	f.send(appendRecord(nil, typeGetValues, 0, c))
	h, b, err := f.next()
	require.NoError(t, err)
	assert.Equal(t, typeGetValuesResult, h.typ)
	assert.Zero(t, h.id)
	p, err := splitPairs(string(b))
	require.NoError(t, err)
	assert.Equal(t, Params{{"FCGI_MPXS_CONNS", "0"}, {"FCGI_MAX_CONNS", "7"}, {"FCGI_MAX_REQS", "7"}}, p)
	f.send(get(1, false, "/"))
	f.answer(1)
}

func TestAnUnknownManagementRecordIsAnsweredAsUnknown(t *testing.T) {
	f := serve(t, "unix", echoURI).dial()
	f.send(appendRecord(nil, 77, 0, []byte("what?")), appendRecord(nil, 77, 5, nil), appendRecord(nil, typeStdin, 0, []byte("x")))
	h, b, err := f.next()
	require.NoError(t, err)
	assert.Equal(t, typeUnknownType, h.typ)
	assert.Equal(t, []byte{77, 0, 0, 0, 0, 0, 0, 0}, b)
	f.send(get(1, false, "/"))
	f.answer(1)
}

func TestOtherRolesAreTurnedAway(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		f := serve(t, network, echoURI).dial()
		f.send(appendBegin(nil, 1, roleAuthorizer, flagKeepConn), params(1, "REQUEST_METHOD", "GET"), stdinEnd(1))
		_, status := f.answer(1)
		assert.Equal(t, statusUnknownRole, status)
		f.send(get(1, true, "/"))
		f.answer(1)
		f.send(appendBegin(nil, 1, roleFilter, 0), params(1, "REQUEST_METHOD", "GET"), stdinEnd(1))
		_, status = f.answer(1)
		assert.Equal(t, statusUnknownRole, status)
		f.requireClosed()
	}
}

func TestTooManyVariablesAreAnsweredWith431(t *testing.T) {
	for _, keep := range []bool{true, false} {
		s := serve(t, "unix", echoURI, func(s *Server) { s.MaxParams = 10_000 })
		f := s.dial()
		f.send(begin(1, keep), params(1, "REQUEST_METHOD", "GET", "BIG", strings.Repeat("x", 150_000)), stdinEnd(1))
		out, status := f.answer(1)
		assert.True(t, strings.HasPrefix(out, "Status: 431 "), out)
		assert.Equal(t, statusRequestComplete, status)
		assert.Contains(t, s.log.String(), "too many variables")
		if !keep {
			f.requireClosed()
			continue
		}
		f.send(get(1, true, "/"))
		out, _ = f.answer(1)
		assert.Equal(t, okHead+"/", out)
	}
}

func TestVariablesThatAreTooManyAreAnsweredWith431(t *testing.T) {
	s := serve(t, "unix", echoURI)
	f := s.dial()
	for _, n := range []int{maxPairs - 2, maxPairs - 1} { // beside two others
		many := bytes.Repeat([]byte("\x01\x00A"), n)
		f.send(begin(1, true), stream(typeParams, 1, many), params(1, "REQUEST_METHOD", "GET", "REQUEST_URI", "/"), stdinEnd(1))
		out, _ := f.answer(1)
		assert.Equal(t, n == maxPairs-2, out == okHead+"/")
		assert.Equal(t, n != maxPairs-2, strings.HasPrefix(out, "Status: 431 "))
	}
	s.requireCount(1, EventTooLong)
}

func TestVariablesThatCannotBeReadAreAnsweredWith400(t *testing.T) {
	s := serve(t, "unix", echoURI)
	f := s.dial()
	for _, c := range []string{"\x05\x00abc", "\x03\x00A\x00B", "", "\x01\x01Aa"} {
		f.send(begin(1, true), stream(typeParams, 1, []byte(c)), params(1), stdinEnd(1))
		out, _ := f.answer(1)
		assert.True(t, strings.HasPrefix(out, "Status: 400 "), out)
	}
	assert.Contains(t, s.log.String(), "past the end")
}

func TestBrokenFramingClosesTheConnection(t *testing.T) {
	for name, in := range map[string][]byte{
		"HTTP":                 []byte("GET / HTTP/1.1\r\n\r\n"),
		"begin of no request":  begin(0, true),
		"begin of wrong size":  appendRecord(nil, typeBeginRequest, 1, make([]byte, 9)),
		"body before the head": append(begin(1, true), stdinEnd(1)...),
		"large values":         appendRecord(nil, typeGetValues, 0, make([]byte, maxContent)),
		"bad values":           appendRecord(nil, typeGetValues, 0, []byte{9}),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, "unix", echoURI)
			f := s.dial()
			f.send(in)
			n, _ := io.Copy(io.Discard, f)
			assert.Zero(t, n)
			assert.Contains(t, s.log.String(), "protocol error")
		})
	}
}

func TestAHandlerThatPanicsLeavesNoWholeAnswer(t *testing.T) {
	for name, panics := range map[string]any{"quietly": http.ErrAbortHandler, "with a log line": "bug"} {
		for _, flush := range []bool{false, true} {
			s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "some")
				if flush {
					w.(http.Flusher).Flush()
				}
				panic(panics)
			})
			f := s.dial()
			f.send(get(1, true, "/boom"))
			out, _, err := f.tryAnswer(1)
			if flush {
				assert.Equal(t, okHead+"some", out)
				assert.ErrorIs(t, err, ErrProtocol, name) // no front can take this for the end
				assert.Zero(t, f.br.Buffered())
			} else {
				assert.Empty(t, out)
				assert.ErrorIs(t, err, io.EOF, name)
			}
			assert.Equal(t, panics == "bug", strings.Contains(s.log.String(), "/boom"))
		}
	}
}

func TestAnIdleConnectionIsClosed(t *testing.T) {
	short := func(s *Server) { s.IdleTimeout, s.ReadTimeout = 20*time.Millisecond, 20*time.Millisecond }
	s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond) // a slow answer is not idleness
		echoURI(w, r)
	}, short)
	f := s.dial()
	f.send(get(1, true, "/"))
	out, _ := f.answer(1)
	assert.Equal(t, okHead+"/", out)
	f.requireClosed()
	assert.Empty(t, s.log.String())

	s.dial().requireClosed() // sends nothing
	slow := s.dial()
	slow.send(begin(1, true))
	out, _ = slow.answer(1)
	assert.Contains(t, out, "Status: 408 ")
	slow.requireClosed()
	assert.EqualValues(t, 1, s.Count(EventTooSlow))
	assert.Contains(t, s.log.String(), "too long")
}

func TestConnectionsOverTheLimitWait(t *testing.T) {
	s := serve(t, "unix", echoURI, func(s *Server) { s.MaxConns = 1 })
	first, second := s.dial(), s.dial()
	first.send(get(1, true, "/1"))
	first.answer(1)
	second.send(get(1, false, "/2"))
	second.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	_, err := second.Read(make([]byte, 1))
	require.Error(t, err)
	first.Close()
	second.SetReadDeadline(time.Now().Add(patience))
	out, _ := second.answer(1)
	assert.Equal(t, okHead+"/2", out)
}

func TestAnAnswerShorterThanItsContentLengthIsBroken(t *testing.T) {
	s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		if r.Method == "GET" {
			io.WriteString(w, "1234")
		}
	})
	f := s.dial()
	f.send(begin(1, true), params(1, "REQUEST_METHOD", "HEAD"), stdinEnd(1))
	out, _ := f.answer(1)
	assert.Equal(t, "Status: 200 OK\r\nContent-Length: 5\r\n\r\n", out)
	f.send(get(1, true, "/short"))
	out, _, err := f.tryAnswer(1)
	assert.Empty(t, out)
	assert.ErrorIs(t, err, io.EOF)
	assert.Contains(t, s.log.String(), "/short")
}
