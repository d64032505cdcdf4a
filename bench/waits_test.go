package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConnectionsThatGetNoAnswersStarve(t *testing.T) {
	var mu sync.Mutex
	favoured := map[string]bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if len(favoured) < 2 {
			favoured[r.RemoteAddr] = true
		}
		answered := favoured[r.RemoteAddr]
		mu.Unlock()
		if !answered {
			<-r.Context().Done() // the client gives up
			return
		}
		io.WriteString(w, hello)
	}))
	defer srv.Close()
	s := &server{addr: srv.Listener.Addr().String()}
	r, err := s.measure(t.Context(), &workload{file: "x", body: hello, wait: 200 * time.Millisecond}, 5, 300*time.Millisecond)
	require.NoError(t, err)
	assert.Equal(t, 3, r.Starving)
	assert.Equal(t, 3, r.Unanswered)
	assert.Zero(t, r.Wrong)
	assert.GreaterOrEqual(t, r.Longest, 450*time.Millisecond)
	assert.Positive(t, r.Requests)
}

func TestFewAnswersDoNotTellWhoStarves(t *testing.T) {
	clients := make([]client, 4)
	clients[0].times = make([]time.Duration, 20)
	assert.Equal(t, 0, starving(clients, 5, 0))
	assert.Equal(t, 3, starving(clients, 5, 3))
	clients[0].times = make([]time.Duration, 400)
	clients[1].times = make([]time.Duration, 9)
	assert.Equal(t, 3, starving(clients, 100, 0))
}

func TestAnAnswerThatEndsLateCountsForItsPartOfTheMeasuredTime(t *testing.T) {
	var c client
	began := time.Now()
	end := began.Add(time.Second)
	c.took(began, began.Add(500*time.Millisecond), end, nil)
	c.took(began, began.Add(4*time.Second), end, nil)
	assert.Len(t, c.times, 2)
	assert.InDelta(t, 1.25, c.within, 1e-6)
	assert.Equal(t, 4*time.Second, c.longest)
}
