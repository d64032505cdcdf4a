package gateway

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAFullQueueAnswers503(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "touch up", "await go", helloWorld)
	g := s.serve(scripts + "    workers: {max: 1}\n    queue: {length: 1, wait: 20s}\n")
	first := g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	second := g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
	g.awaitMetric(1, "warmcgi_queue_depth", "script=/cgi-bin/p", "route=/cgi-bin/")
	a := g.get("/cgi-bin/p")
	assert.Equal(t, 503, a.StatusCode)
	assert.Equal(t, "1", a.Header.Get("Retry-After"))
	g.requireFailure("queue_full", 503, "level=WARN")
	g.awaitMetric(1, "warmcgi_queue_wait_seconds", "end=full")
	g.awaitMetric(1, "warmcgi_processes")
	s.touch("cgi-bin/go")
	assert.Equal(t, "hello, world\n", first.answer("GET").body)
	assert.Equal(t, "hello, world\n", second.answer("GET").body)
	g.awaitMetric(0, "warmcgi_queue_depth")
	g.awaitMetric(2, "warmcgi_queue_wait_seconds", "end=run")
}

func TestWhoHasWaitedLongEnoughIsAnswered503(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "touch up", "await go", helloWorld)
	s.script("cgi-bin/other", helloWorld)
	g := s.serve(scripts + "    workers: {max: 1}\n    queue: {wait: 200ms}\n")
	first := g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	began := time.Now()
	a := g.get("/cgi-bin/p")
	assert.Equal(t, 503, a.StatusCode)
	assert.Equal(t, "1", a.Header.Get("Retry-After"))
	assert.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)
	g.requireFailure("queue_wait", 503)
	g.awaitMetric(1, "warmcgi_queue_wait_seconds", "end=timeout")
	assert.Equal(t, 200, g.get("/cgi-bin/other").StatusCode, "the queue is the script's own")
	s.touch("cgi-bin/go")
	assert.Equal(t, 200, first.answer("GET").StatusCode)
}

func TestTheProcessesOfAllScriptsTogetherAreBounded(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/a", "touch a-up", "await go", helloWorld)
	s.script("cgi-bin/b", "touch b-up", helloWorld)
	g := s.serve("max_processes: 1\n" + scripts + "    queue: {wait: 20s}\n")
	first := g.dial().send("GET /cgi-bin/a HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/a-up")
	second := g.dial().send("GET /cgi-bin/b HTTP/1.1\r\nHost: x\r\n\r\n")
	g.awaitMetric(1, "warmcgi_queue_depth")
	assert.False(t, exists(s.path("cgi-bin/b-up")))
	s.touch("cgi-bin/go")
	assert.Equal(t, 200, first.answer("GET").StatusCode)
	assert.Equal(t, 200, second.answer("GET").StatusCode)
}

func TestABurstIsServedByAFewProcesses(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "args")
	g := s.serve(scripts + "    workers: {max: 3}\n")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			res, err := g.http.Do(g.request("GET", fmt.Sprintf("/cgi-bin/p?%d", i), nil))
			if assert.NoError(t, err) {
				assert.Equal(t, fmt.Sprint(i), readAnswer(res).body)
			}
		})
	}
	wg.Wait()
	g.awaitMetric(40, "warmcgi_process_exits_total", "how=ok")
	g.awaitMetric(40, "warmcgi_queue_wait_seconds", "end=run")
	require.Zero(t, g.metric("warmcgi_request_errors_total"))
}
