package fcgi

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheHeadOfAnAnswerIsThatOfCGI(t *testing.T) {
	for name, test := range map[string]struct {
		write func(w StatusWriter)
		want  string
	}{
		"nothing":         {func(w StatusWriter) {}, "Status: 200 OK\r\n\r\n"},
		"no sniffing":     {func(w StatusWriter) { io.WriteString(w, "<html>") }, "Status: 200 OK\r\n\r\n<html>"},
		"status":          {func(w StatusWriter) { w.WriteHeader(404) }, "Status: 404 Not Found\r\n\r\n"},
		"own reason":      {func(w StatusWriter) { w.WriteStatus(404, "Not Here") }, "Status: 404 Not Here\r\n\r\n"},
		"evil reason":     {func(w StatusWriter) { w.WriteStatus(404, "a\r\nX: y") }, "Status: 404 Not Found\r\n\r\n"},
		"unknown status":  {func(w StatusWriter) { w.WriteHeader(599) }, "Status: 599 Status 599\r\n\r\n"},
		"status twice":    {func(w StatusWriter) { w.WriteHeader(201); w.WriteHeader(500) }, "Status: 201 Created\r\n\r\n"},
		"interim":         {func(w StatusWriter) { w.WriteHeader(103); w.WriteHeader(201) }, "Status: 201 Created\r\n\r\n"},
		"field":           {func(w StatusWriter) { w.Header().Set("X-A", "b") }, "Status: 200 OK\r\nX-A: b\r\n\r\n"},
		"two values":      {func(w StatusWriter) { w.Header()["Set-Cookie"] = []string{"a", "b"} }, "Status: 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"},
		"field too late":  {func(w StatusWriter) { w.WriteHeader(200); w.Header().Set("X-A", "b") }, "Status: 200 OK\r\n\r\n"},
		"evil value":      {func(w StatusWriter) { w.Header().Set("X-A", "b\r\nX-C: d\x00") }, "Status: 200 OK\r\nX-A: b  X-C: d \r\n\r\n"},
		"evil name":       {func(w StatusWriter) { w.Header()["X:\r\nA"] = []string{"b"} }, "Status: 200 OK\r\n\r\n"},
		"a Status field":  {func(w StatusWriter) { w.Header()["status"] = []string{"500"} }, "Status: 200 OK\r\n\r\n"},
		"hop by hop":      {func(w StatusWriter) { w.Header().Set("Transfer-Encoding", "chunked") }, "Status: 200 OK\r\n\r\n"},
		"body of a 304":   {func(w StatusWriter) { w.WriteHeader(304); io.WriteString(w, "x") }, "Status: 304 Not Modified\r\n\r\n"},
		"more than fixed": {func(w StatusWriter) { w.Header().Set("Content-Length", "2"); io.WriteString(w, "abc") }, "Status: 200 OK\r\nContent-Length: 2\r\n\r\nab"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) { test.write(w.(StatusWriter)) }).dial()
			f.send(get(1, false, "/"))
			out, _ := f.answer(1)
			assert.Equal(t, test.want, out)
		})
	}
}

func TestWritesSayWhatBecameOfThem(t *testing.T) {
	var last atomic.Value
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		last.Store(w)
		switch r.RequestURI {
		case "/304":
			w.WriteHeader(304)
			_, err := io.WriteString(w, "x")
			assert.ErrorIs(t, err, http.ErrBodyNotAllowed)
		case "/long":
			w.Header().Set("Content-Length", "2")
			n, err := io.WriteString(w, "abc")
			assert.Equal(t, 2, n)
			assert.ErrorIs(t, err, http.ErrContentLength)
		}
		assert.Panics(t, func() { w.WriteHeader(99) })
	}).dial()
	for _, uri := range []string{"/304", "/long", "/"} {
		f.send(get(1, true, uri))
		f.answer(1)
	}
	left := last.Load().(http.ResponseWriter)
	_, err := io.WriteString(left, "a goroutine that was left")
	assert.ErrorIs(t, err, ErrHandlerDone)
	assert.ErrorIs(t, http.NewResponseController(left).Flush(), ErrHandlerDone)
	f.send(get(1, false, "/"))
	out, _ := f.answer(1)
	assert.Equal(t, okHead, out)
}

func TestTheAnswerToHeadHasNoBody(t *testing.T) {
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		n, err := io.Copy(w, strings.NewReader("abc"))
		assert.NoError(t, err)
		assert.EqualValues(t, 3, n)
	}).dial()
	f.send(begin(1, false), params(1, "REQUEST_METHOD", "HEAD"), stdinEnd(1))
	out, _ := f.answer(1)
	assert.Equal(t, "Status: 200 OK\r\nContent-Length: 3\r\n\r\n", out)
}

func TestWhatIsFlushedArrivesBeforeTheHandlerEnds(t *testing.T) {
	next := make(chan struct{})
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		assert.NoError(t, rc.Flush()) // the head alone
		for range 3 {
			<-next
			io.WriteString(w, "event")
			assert.NoError(t, rc.Flush())
			assert.NoError(t, rc.Flush()) // nothing
		}
		<-next
	}).dial()
	f.send(get(1, true, "/"))
	for _, want := range []string{okHead, "event", "event", "event"} {
		h, b, err := f.next()
		require.NoError(t, err)
		assert.Equal(t, typeStdout, h.typ)
		assert.Equal(t, want, string(b))
		next <- struct{}{}
	}
	out, _ := f.answer(1)
	assert.Empty(t, out)
}

func TestALargeAnswerArrivesWhole(t *testing.T) {
	for _, n := range []int{outSize - len(okHead) - 1, outSize - len(okHead), outSize - len(okHead) + 1, outSize, 3*outSize + 5} {
		body := strings.Repeat("0123456789abcdef", n/16+1)[:n]
		for name, write := range map[string]func(w http.ResponseWriter){
			"at once": func(w http.ResponseWriter) { io.WriteString(w, body) },
			"in bytes": func(w http.ResponseWriter) {
				io.Copy(w, io.MultiReader(strings.NewReader(body[:1]), strings.NewReader(body[1:])))
			},
			"in pieces": func(w http.ResponseWriter) {
				io.CopyBuffer(struct{ io.Writer }{w}, bytes.NewBufferString(body), make([]byte, 999))
			},
		} {
			f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) { write(w) }).dial()
			f.send(get(1, true, "/"))
			out, _ := f.answer(1)
			assert.True(t, out == okHead+body, "%s: %d octets", name, n)
		}
	}
}

func TestAbortEndsTheContextAndDropsTheRest(t *testing.T) {
	started, cause := make(chan struct{}), make(chan error, 2)
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			return
		}
		w.(http.Flusher).Flush()
		close(started)
		_, err := io.ReadAll(r.Body)
		cause <- err
		<-r.Context().Done()
		cause <- context.Cause(r.Context())
		_, err = io.WriteString(w, strings.Repeat("x", 2*outSize))
		assert.ErrorIs(t, err, ErrAborted)
		panic(http.ErrAbortHandler) // as a proxy does when its client has gone
	}).dial()
	f.send(post(1, true, "10"), stream(typeStdin, 1, []byte("12345")))
	await(t, started)
	f.send(abort(1))
	out, status := f.answer(1)
	assert.Equal(t, okHead, out)
	assert.Equal(t, statusRequestComplete, status)
	assert.ErrorIs(t, await(t, cause), ErrAborted)
	assert.ErrorIs(t, await(t, cause), ErrAborted)
	f.send(stream(typeStdin, 1, []byte("67890")), stdinEnd(1), get(1, false, "/"))
	out, _ = f.answer(1)
	assert.Equal(t, okHead, out)
	f.requireClosed()
}

func TestAWriteThatBlocksEndsSoonAfterTheFrontServerHasGivenUp(t *testing.T) {
	failed, started := make(chan error, 1), make(chan struct{})
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		close(started)
		for err := error(nil); err == nil; {
			if _, err = w.Write(make([]byte, outSize)); err != nil {
				failed <- err
			}
			rc.SetWriteDeadline(time.Time{}) // does not undo it
		}
	}).dial()
	f.send(get(1, true, "/"))
	await(t, started)
	time.Sleep(50 * time.Millisecond) // until it blocks
	f.send(abort(1))
	assert.Error(t, await(t, failed))
	_, _, err := f.tryAnswer(1)
	assert.Error(t, err, "a piece of a record can't be followed by END_REQUEST")
}

func TestAbortAtAnyOtherTimeIsHarmless(t *testing.T) {
	f := serve(t, "unix", echoURI).dial()
	f.send(abort(1))
	f.send(begin(1, true), abort(1)) // before the variables
	f.answer(1)
	f.send(post(1, true, ""), abort(1)) // before the body
	f.answer(1)
	f.send(post(1, true, "5"))
	f.answer(1)
	f.send(abort(1)) // after the answer
	f.send(get(1, true, "/"))
	out, _ := f.answer(1)
	assert.Equal(t, okHead+"/", out)
	f.send(begin(1, false), abort(1))
	f.answer(1)
	f.requireClosed()
}

func TestAFrontServerThatGoesEndsTheContext(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		started, cause := make(chan struct{}), make(chan error, 1)
		f := serve(t, network, func(w http.ResponseWriter, r *http.Request) {
			io.ReadAll(r.Body)
			close(started)
			<-r.Context().Done()
			cause <- context.Cause(r.Context())
		}).dial()
		f.send(post(1, true, "4"), stream(typeStdin, 1, []byte("body")), stdinEnd(1))
		await(t, started)
		f.Close()
		assert.ErrorIs(t, await(t, cause), ErrGone)
	}
}

func TestTheContextEndsWithTheHandlerAndHasItsBase(t *testing.T) {
	type key struct{}
	got := make(chan context.Context, 1)
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, r.Context().Err())
		got <- r.Context()
	}, func(s *Server) {
		s.BaseContext = func(net.Listener) context.Context { return context.WithValue(context.Background(), key{}, "base") }
	}).dial()
	f.send(begin(1, true), params(1, "REQUEST_METHOD", "GET", "B", "1", "A", "2", "B", "3"), stdinEnd(1))
	f.answer(1)
	ctx := await(t, got)
	assert.Equal(t, "base", ctx.Value(key{}))
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
	p, ok := ParamsFromContext(ctx)
	assert.True(t, ok)
	assert.Equal(t, Params{{"REQUEST_METHOD", "GET"}, {"B", "3"}, {"A", "2"}}, p)
}

func TestAWriteThatStallsEndsAtItsDeadline(t *testing.T) {
	failed := make(chan error, 1)
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		for err := error(nil); err == nil; {
			rc.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err = w.Write(make([]byte, outSize)); err != nil {
				failed <- err
			}
		}
	}).dial()
	f.send(get(1, true, "/"))
	var timeout net.Error
	assert.ErrorAs(t, await(t, failed), &timeout)
	assert.True(t, timeout.Timeout())
	_, _, err := f.tryAnswer(1)
	assert.Error(t, err, "no END_REQUEST")
}
