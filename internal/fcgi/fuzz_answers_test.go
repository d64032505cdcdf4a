package fcgi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

// writes are what a handler does, made of random octets: two for each write.
type writes []byte

// body is all of it.
func (ws writes) body() []byte {
	var b []byte
	ws.each(func(p []byte, _ bool) { b = append(b, p...) })
	return b
}

func (ws writes) each(f func(b []byte, flush bool)) {
	total := 0
	for i := 0; i+1 < len(ws) && total < 600_000; i += 2 {
		n := sizes[int(ws[i])%len(sizes)]
		total += n
		f(bytes.Repeat([]byte{byte('a' + i%26)}, n), ws[i+1]&1 == 1)
	}
}

// serve is the handler.
func (ws writes) serve(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain")
	ws.each(func(b []byte, flush bool) {
		w.Write(b)
		if flush {
			http.NewResponseController(w).Flush()
		}
	})
}

func addWrites(f *testing.F) {
	f.Add([]byte{}, byte(0))
	for i := range sizes {
		f.Add([]byte{byte(i), 0}, byte(i))
		f.Add([]byte{byte(i), 1, byte(i + 1), 0, byte(i), 1}, byte(i))
	}
	addRandom(f, 60, func(r *rand.Rand) { f.Add(randomOctets(r, 20), byte(r.Uint32())) })
}

// readIn reads an answer in pieces of a size, some of them with a time.
func readIn(body cgi.Body, size int) (all []byte, err error) {
	b := make([]byte, max(size, 1))
	for i := 0; ; i++ {
		var n int
		if i%3 == 2 {
			n, err = body.ReadWithin(b, 10*time.Microsecond)
		} else {
			n, err = body.Read(b)
		}
		all = append(all, b[:n]...)
		switch {
		case err == io.EOF:
			return all, nil
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return all, err
		}
	}
}

func FuzzAnswersOfOtherServersAreReadWhole(f *testing.F) {
	addWrites(f)
	todo := make(chan writes, 1)
	h := func(w http.ResponseWriter, r *http.Request) { (<-todo).serve(w) }
	std := transportTo(f, serveStd(f, h))
	ours := transportTo(f, serve(f, "unix", h).addr.String())
	f.Fuzz(func(t *testing.T, ops []byte, size byte) {
		want := writes(ops).body()
		for name, tr := range map[string]*Transport{"net/http/fcgi": std, "the FastCGI door": ours} {
			todo <- ops
			res, err := tr.RoundTrip(t.Context(), aRequest(withVars("REQUEST_URI=/", "SERVER_PROTOCOL=HTTP/1.1", "HTTP_HOST=x")))
			require.NoError(t, err, name)
			got, err := readIn(res.Body, 64*sizes[int(size)%len(sizes)]%100_000)
			res.Body.Close()
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(want, got), "%s: %d octets became %d", name, len(want), len(got))
		}
	})
}

func FuzzAnotherClientReadsAnswersWhole(f *testing.F) {
	addWrites(f)
	todo := make(chan writes, 1)
	s := serve(f, "unix", func(w http.ResponseWriter, r *http.Request) { (<-todo).serve(w) })
	f.Fuzz(func(t *testing.T, ops []byte, _ byte) {
		want := writes(ops).body()
		todo <- ops
		got := gofastTo(t, s, map[string]string{"REQUEST_METHOD": "GET"}, nil)
		require.True(t, bytes.Equal(want, got.Bytes()), "%d octets became %d", len(want), got.Len())
	})
}

// whole is what an application has answered, read in the plainest way; ok is false when
// that is not a whole answer (spec 3.3, 5.5; RFC 3875 section 6).
func whole(b []byte) (body []byte, ok bool) {
	var out []byte
	for {
		if len(b) < 8 || b[0] != 1 {
			break
		}
		typ, id, n := b[1], binary.BigEndian.Uint16(b[2:]), int(binary.BigEndian.Uint16(b[4:]))
		all := n + int(b[6])
		ours := typ == 3 || typ == 6 || typ == 7
		if ours && id != 1 || !ours && id != 0 || typ == 3 && (n != 8 || len(b) < 8+all) {
			break
		}
		content := b[8:min(8+n, len(b))]
		if typ == 6 {
			out = append(out, content...)
		}
		if typ == 3 {
			ok = content[4] == 0
			break
		}
		if len(b) < 8+all {
			break
		}
		b = b[8+all:]
	}
	res, at, err := cgi.ParseHead(out)
	switch {
	case err != nil || at == 0:
		return nil, false
	case res.Length < 0:
		return out[at:], ok
	case int64(len(out)-at) < res.Length:
		return nil, false
	}
	return out[at:][:res.Length], true // whatever comes behind it
}

// An application may send anything: that is an answer if it is a whole one, an error
// otherwise, and nothing of it is part of the next request's.
func FuzzNothingButAWholeAnswerIsOne(f *testing.F) {
	answer := func(head string, pieces ...string) (b []byte) {
		b = appendStream(b, typeStdout, []byte(head))
		for _, p := range pieces {
			b = appendStream(b, typeStdout, []byte(p))
		}
		return appendEnd(b, requestID, 0, statusRequestComplete)
	}
	seeds := [][]byte{
		nil, answer(head), answer(head, "one", "two"), answer("Content-Length: 3\n\n", "one"), answer("Content-Length: 3\n\n", "on"), answer("Content-Length: 3\n\n", "one more"),
		answer("Status: 404\n\n"), answer("no head"), answer(head + string(make([]byte, 70_000))), answer("A: b\n\n", "x")[:30], append(answer(head, "x"), answer(head, "y")...),
		appendEnd(appendStream(nil, typeStdout, []byte(head)), requestID, 0, statusOverloaded), appendEnd(nil, requestID, 3, statusRequestComplete),
		append(appendStream(nil, typeStderr, []byte("a line\nand")), answer(head, "x")...), appendEnd(appendStream(nil, typeStdout, []byte(head)), 7, 0, 0),
		append(appendRecord(nil, typeGetValuesResult, 0, []byte("??")), answer(head, "x")...),
	}
	for i, s := range seeds {
		f.Add(s, byte(i))
	}
	addRandom(f, 150, func(r *rand.Rand) {
		b := bytes.Clone(seeds[r.IntN(len(seeds))])
		for range r.IntN(4) {
			switch i := r.IntN(len(b) + 1); r.IntN(3) {
			case 0:
				b = append(b[:i:i], append(randomOctets(r, 9), b[i:]...)...)
			case 1:
				b = b[:i]
			default:
				if i < len(b) {
					b[i] = byte(r.Uint32())
				}
			}
		}
		f.Add(b, byte(r.Uint32()))
	})
	type sends struct {
		b   []byte
		cut int // in pieces of so many octets
	}
	var now atomic.Pointer[sends]
	sent := make(chan bool, 10)
	app := newFake(f, func(c *fakeConn, _ int) {
		for {
			q, ok := c.request()
			if !ok || q.aborted {
				return
			}
			if q.vars["A"] == "next" {
				c.answer("next")
				continue
			}
			in := now.Load()
			out := in.b
			for len(out) > in.cut && len(out) < 2000 {
				c.Write(out[:in.cut])
				out = out[in.cut:]
			}
			c.Write(out)
			sent <- true
			if _, ok := whole(in.b); !ok {
				return
			}
		}
	})
	tr, err := NewTransport(TransportConfig{Network: "unix", Address: app.address, MaxConns: 4, Stderr: func(*cgi.Request, string) {}})
	require.NoError(f, err)
	f.Cleanup(func() { tr.Close(context.Background()) })
	ask := func(ctx context.Context, a string, size int) (body []byte, err error) {
		res, err := tr.RoundTrip(ctx, aRequest(withVars("A="+a), func(r *cgi.Request) { r.Vars[0] = "REQUEST_METHOD=POST" }))
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		return readIn(res.Body, size)
	}
	f.Fuzz(func(t *testing.T, in []byte, how byte) {
		now.Store(&sends{in, 1 + int(how)*int(how)})
		want, ok := whole(in)
		got, err := ask(t.Context(), "fuzz", 1+int(how)*7)
		if ok {
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		} else {
			require.Error(t, err, "%q", got)
		}
		<-sent // what comes behind the answer and is late can't be told from the next one
		got, err = ask(t.Context(), "next", 100)
		require.NoError(t, err)
		require.Equal(t, "next", string(got))
	})
}

// What is not FastCGI ends a connection; other connections are answered on.
func FuzzAServerSurvivesAnyOctets(f *testing.F) {
	good := appendVars(appendBegin(nil, requestID, roleResponder, flagKeepConn), []string{"REQUEST_METHOD=POST", "CONTENT_LENGTH=3", "REQUEST_URI=/"})
	good = appendRecord(appendStream(good, typeStdin, []byte("abc")), typeStdin, requestID, nil)
	f.Add([]byte{})
	f.Add(good)
	addRandom(f, 150, func(r *rand.Rand) {
		b := bytes.Clone(good)
		for range 1 + r.IntN(4) {
			i := r.IntN(len(b))
			b[i] = byte(r.Uint32())
		}
		f.Add(append(b, randomOctets(r, 40)...))
	})
	s := serve(f, "unix", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.Copy(w, r.Body)
	}, func(s *Server) { s.ErrorLog, s.MaxParams = slog.New(slog.DiscardHandler), 4096 })
	f.Fuzz(func(t *testing.T, in []byte) {
		conn, err := net.Dial("unix", s.addr.String())
		require.NoError(t, err)
		conn.SetDeadline(time.Now().Add(patience))
		c := &front{Conn: conn, t: t, br: bufio.NewReader(conn)}
		go func() { // ends with the connection
			c.Write(in)
			c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		}()
		for { // whatever it answers is in records, and comes to an end
			if _, _, err := c.next(); err != nil {
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				break
			}
		}
		c.Close()
		require.Equal(t, "abc", gofastTo(t, s, map[string]string{"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "3"}, []byte("abc")).String())
	})
}
