package fcgi

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShutdownWaitsForRequestsAndClosesTheRest(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/slow" {
			close(started)
			<-release
		}
		echoURI(w, r)
	})
	busy, idle, fresh := s.dial(), s.dial(), s.dial()
	idle.send(get(1, true, "/"))
	idle.answer(1)
	busy.send(get(1, true, "/slow"))
	await(t, started)
	require.Eventually(t, func() bool { return s.Conns() == 3 }, patience, time.Millisecond)

	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	idle.requireClosed()
	fresh.send(get(1, true, "/late")) // it was on the way
	out, _ := fresh.answer(1)
	assert.Equal(t, okHead+"/late", out)
	fresh.requireClosed()
	select {
	case <-down:
		assert.Fail(t, "a request is under way")
	default:
	}
	close(release)
	out, _ = busy.answer(1)
	assert.Equal(t, okHead+"/slow", out)
	busy.requireClosed()
	assert.NoError(t, await(t, down))
	assert.ErrorIs(t, s.Serve(&closedListener{}), http.ErrServerClosed)
}

func TestShutdownAnswersWhatHasComeOnAKeptConnection(t *testing.T) {
	for range 100 {
		s := serve(t, "unix", echoURI)
		f := s.dial()
		f.send(get(1, true, "/"))
		f.answer(1)
		require.Eventually(t, func() bool { return s.idle() == 1 }, patience, time.Millisecond)
		f.send(get(1, true, "/again"))
		assert.NoError(t, s.Shutdown(context.Background()))
		out, _ := f.answer(1)
		assert.Equal(t, okHead+"/again", out)
		f.requireClosed()
	}
}

// idle is how many connections wait for a request.
func (s *Server) idle() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if _, is := c.idleSince(); is {
			n++
		}
	}
	return n
}

func TestShutdownClosesWhatIsLeftInTheEnd(t *testing.T) {
	started := make(chan struct{})
	s := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) { close(started); <-r.Context().Done() })
	f := s.dial()
	f.send(get(1, true, "/"))
	await(t, started)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
	_, _, err := f.tryAnswer(1)
	assert.Error(t, err)
}

func TestAServerThatLeavesTakesOneMoreRequestOnAConnection(t *testing.T) {
	s := serve(t, "unix", echoURI)
	kept, idle := s.dial(), s.dial()
	for _, f := range []*front{kept, idle} {
		f.send(get(1, true, "/"))
		f.answer(1)
	}
	require.Eventually(t, func() bool { return s.idle() == 2 }, patience, time.Millisecond)
	left := make(chan error, 1)
	go func() { left <- s.Leave(context.Background(), patience) }()
	require.Eventually(t, func() bool { return s.idle() == 0 }, patience, time.Millisecond)
	kept.send(get(1, true, "/last"))
	out, _ := kept.answer(1)
	assert.Equal(t, okHead+"/last", out)
	kept.requireClosed()
	select {
	case <-left:
		assert.Fail(t, "the other one may still ask")
	default:
	}
	idle.Close()
	assert.NoError(t, await(t, left))
}

// The front server may have taken the connection again each time, before it could see its end.
func TestAConnectionIsClosedOnlyWhenNoFurtherRequestHasCome(t *testing.T) {
	client, server := socketPair(t)
	defer client.Close()
	defer server.Close()
	c := newConn(&Server{}, server, t.Context())
	c.drain(0)
	for range 3 {
		_, err := client.Write(begin(1, true))
		require.NoError(t, err)
		require.True(t, c.oneMore(os.ErrDeadlineExceeded))
		require.NoError(t, c.readRecord())
		c.ex = nil // it was answered
		c.idle()
	}

	assert.False(t, c.oneMore(os.ErrDeadlineExceeded))
}
