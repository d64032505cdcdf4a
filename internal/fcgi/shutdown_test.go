package fcgi

import (
	"context"
	"net/http"
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
	require.Eventually(t, func() bool { return s.connCount() == 3 }, patience, time.Millisecond)

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
