package gateway

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const plain = "Content-Type: text/plain\r\n\r\n"

func TestABackendThatClosesInMidAnswerBreaksTheClientsConnection(t *testing.T) {
	s := newSite(t)
	s.backend(func(q *asked) bool {
		q.body()
		q.stdout(plain + "part")
		return false
	})
	g := s.serve(toBackend)
	text := g.dial().send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n").whatever()
	assert.True(t, strings.HasPrefix(text, "HTTP/1.1 200 OK\r\n"), text)
	assert.True(t, strings.HasSuffix(text, "\r\n4\r\npart\r\n"), "no last chunk: %q", text)
	g.awaitMetric(1, "warmcgi_truncated_total")
	g.requireFailure("truncated", 200, "answer broken off")
	a := readAnswer(must(g.clientOf("HTTP/2.0").Do(g.request("GET", "/x", nil))))
	assert.Error(t, a.err)
	g.awaitMetric(2, "warmcgi_truncated_total")
	e := g.logged(2)[0]
	assert.False(t, e.Complete)
	assert.Equal(t, "fastcgi", e.Mode)
}

func TestABackendThatClosesBeforeItsHeadIsAskedOnceMoreForWhatIsSafe(t *testing.T) {
	s := newSite(t)
	b := s.backend(func(q *asked) bool {
		q.body()
		if q.conn%2 == 1 { // the first connection of each request
			return false
		}
		q.answer("second try")
		return false
	})
	g := s.serve(toBackend)
	a := g.get("/x")
	assert.Equal(t, 200, a.StatusCode)
	assert.Equal(t, "second try", a.body)
	assert.EqualValues(t, 2, b.conns.Load())

	a = g.post("/x", "not to be done twice")
	assert.Equal(t, 502, a.StatusCode)
	assert.EqualValues(t, 3, b.conns.Load())
	g.requireFailure("no_output", 502)
}

func TestABackendThatAlwaysClosesBeforeItsHeadIsAskedTwiceAtMost(t *testing.T) {
	s := newSite(t)
	b := s.backend(func(q *asked) bool { q.body(); return false })
	g := s.serve(toBackend)
	assert.Equal(t, 502, g.get("/x").StatusCode)
	assert.EqualValues(t, 2, b.conns.Load())
	g.requireFailure("no_output", 502)
}

func TestABackendThatIsOverloadedIs503WithRetryAfter(t *testing.T) {
	s := newSite(t)
	b := s.backend(func(q *asked) bool { q.body(); q.end(2); return true })
	g := s.serve(toBackend)
	a := g.get("/x")
	assert.Equal(t, 503, a.StatusCode)
	assert.Equal(t, "1", a.Header.Get("Retry-After"))
	g.requireFailure("overloaded", 503)
	assert.Len(t, b.request, 1, "it is not asked again")
}

func TestALineWithoutAColonInABackendsHeadIs502AtOnce(t *testing.T) {
	s := newSite(t)
	ended := make(chan bool, 1)
	b := s.backend(func(q *asked) bool {
		q.body()
		if q.vars["REQUEST_URI"] == "/good" {
			return q.answer("good")
		}
		q.stdout("nonsense\n" + strings.Repeat("x", 8<<10))
		q.gone() // it does not go by itself
		ended <- true
		return false
	})
	g := s.serve(toBackend)
	assert.Equal(t, 502, g.get("/x").StatusCode)
	assert.True(t, <-ended, "the connection is closed")
	g.requireFailure("bad_head", 502)
	assert.Equal(t, "good", g.get("/good").body)
	assert.EqualValues(t, 2, b.conns.Load())
}

func TestALongSetCookieOfABackendArrives(t *testing.T) {
	s := newSite(t)
	s.backend(func(q *asked) bool {
		q.body()
		q.stdout("Set-Cookie: c=" + q.vars["QUERY_STRING"] + "\n")
		return q.answer("body")
	})
	g := s.serve(toBackend)
	for _, n := range []int{1, 1100, 3000, 60_000} {
		cookie := strings.Repeat("c", n)
		a := g.get("/x?" + cookie)
		assert.Equal(t, "c="+cookie, a.Header.Get("Set-Cookie"))
		assert.Equal(t, "body", a.body)
	}
}

func TestABackendsEventsReachTheClientOneByOne(t *testing.T) {
	s := newSite(t)
	s.backend(func(q *asked) bool {
		q.body()
		q.stdout("Content-Type: text/event-stream\n\n")
		for i := range 3 {
			q.await(s.path(fmt.Sprint("go", i)))
			q.stdout(fmt.Sprintf("data: %d\n\n", i))
		}
		q.end(0)
		return true
	})
	g := s.serve(toBackend)
	res, err := g.http.Do(g.request("GET", "/events", nil))
	require.NoError(t, err)
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	for i := range 3 {
		s.touch(fmt.Sprint("go", i))
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("data: %d\n", i), line)
		r.ReadString('\n')
	}
	_, err = r.ReadByte()
	assert.Equal(t, io.EOF, err)
}

func TestABackendThatAnswersBeforeTheUploadEndsIsAnsweredOnAtOnce(t *testing.T) {
	s := newSite(t)
	b := s.backend(func(q *asked) bool {
		if q.vars["REQUEST_METHOD"] == "GET" {
			q.body()
			return q.answer("next")
		}
		q.stdout("Status: 413 Too Much\n" + plain + "too much")
		q.end(0)
		q.gone()
		return false
	})
	g := s.serve(toBackend)
	c := g.dial().send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\nExpect: 100-continue\r\n\r\n")
	c.send(strings.Repeat("b", 100_000)) // and no more
	a := c.answer("POST")
	assert.Equal(t, 413, a.StatusCode)
	assert.Equal(t, "too much", a.body)
	assert.NoError(t, a.err)
	c.Close()
	assert.Equal(t, "next", g.get("/x").body)
	assert.EqualValues(t, 2, b.conns.Load(), "the connection was not used again")
}

func TestAClientThatLeavesAbortsTheBackendsRequestAndNobodyGetsItsAnswer(t *testing.T) {
	s := newSite(t)
	aborts := make(chan byte, 100)
	s.backend(func(q *asked) bool {
		q.body()
		if q.vars["REQUEST_URI"] != "/slow" {
			return q.answer(q.vars["REQUEST_URI"])
		}
		for q.stdout(plain + "begun\n"); !q.hasNext(time.Millisecond); q.stdout("more\n") {
		}
		kind, _ := q.next()
		aborts <- kind
		return q.answer("too late")
	})
	g := s.serve(toBackend)
	for i := range 30 {
		c := g.dial().send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
		for c.line() != "begun" {
		}
		c.Close()
		require.EqualValues(t, 2, <-aborts, "ABORT_REQUEST")
		path := fmt.Sprint("/fast", i)
		assert.Equal(t, path, g.get(path).body)
	}
	g.awaitMetric(30, "warmcgi_request_errors_total", "why=client_gone")
	g.awaitMetric(0, "warmcgi_truncated_total")
}

func TestRequestsAtOnceNeverShareABackendsConnection(t *testing.T) {
	s := newSite(t)
	var mu sync.Mutex
	busy := map[int]bool{}
	s.backend(func(q *asked) bool {
		mu.Lock()
		assert.False(t, busy[q.conn], "a request came while another was on the connection")
		busy[q.conn] = true
		mu.Unlock()
		q.body()
		time.Sleep(time.Millisecond) // so that they are many at once
		assert.Zero(t, q.br.Buffered())
		mu.Lock()
		busy[q.conn] = false
		mu.Unlock()
		return q.answer(q.vars["REQUEST_URI"])
	})
	g := s.serve(toBackend)
	var wg sync.WaitGroup
	for k := range 12 {
		wg.Go(func() {
			for i := range 30 {
				path := fmt.Sprintf("/%d/%d", k, i)
				res, err := g.http.Get(g.url(path))
				if assert.NoError(t, err) {
					assert.Equal(t, path, readAnswer(res).body)
				}
			}
		})
	}
	wg.Wait()
}

func TestABackendsHeadIsReadInAnyCase(t *testing.T) {
	s := newSite(t)
	s.backend(func(q *asked) bool {
		q.body()
		q.stdout("status: 404 Not Here\r\nCONTENT-type: text/x-odd\r\nsEt-cOOkie: a=b\r\n\r\nbody")
		q.end(0)
		return true
	})
	g := s.serve(toBackend)
	a := g.get("/x")
	assert.Equal(t, "404 Not Here", a.Status)
	assert.Equal(t, "text/x-odd", a.Header.Get("Content-Type"))
	assert.Equal(t, "a=b", a.Header.Get("Set-Cookie"))
	assert.NotContains(t, a.Header, "Status")
	assert.Equal(t, "body", a.body)
}

func TestAPathWithDotsReachesNoSiblingOfPHPsFolder(t *testing.T) {
	s := newSite(t)
	s.write("www/index.php", source)
	s.write("www/in/a.php", source)
	s.write("www-secret/a.php", source)
	s.write("secret.php", source)
	s.link("../www-secret", "www/link")
	b := s.backend(func(q *asked) bool { q.body(); return q.answer(q.vars["SCRIPT_FILENAME"]) })
	g := s.serve("routes: [{path: /, php: {root: www, fastcgi: {servers: ['unix:app']}}}]\n")
	for _, path := range []string{
		"/../www-secret/a.php", "/%2e%2e/www-secret/a.php", "/..%2fwww-secret/a.php", "/in/../../www-secret/a.php", "/in/%2e%2e/%2e%2e/www-secret/a.php",
		"/../www-secret/a.php/x", "/../secret.php", "/-secret/a.php", "/..\\www-secret\\a.php", "/%00/../../secret.php", "/link/a.php",
	} {
		text := g.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		assert.Regexp(t, `^HTTP/1\.1 40[034] `, text, path)
		assert.NotContains(t, text, source, path)
	}
	assert.Empty(t, b.request, "the backend was asked for one of them")
	assert.Equal(t, s.path("www/in/a.php"), g.get("/in/../in/a.php").body)
}

func TestWhatClientsSendBecomesABackendsVariables(t *testing.T) {
	s := newSite(t)
	b := s.backend(func(q *asked) bool { q.body(); return q.answer("") })
	g := s.serve("env: {SECRET: of the gateway}\n" + strings.Replace(toBackend, "path: /,", "path: /, env: {OWN: of the route},", 1))
	g.raw("GET /a%20b?q HTTP/1.1\r\nHost: x\r\nProxy: http://evil\r\nCookie: a=1\r\nX-A: 1\r\nCookie: b=2\r\nX-A: 2\r\nX_B: 3\r\nConnection: close\r\n\r\n")
	v := (<-b.request).vars
	assert.Equal(t, "a=1; b=2", v["HTTP_COOKIE"])
	assert.Equal(t, "1, 2", v["HTTP_X_A"])
	assert.Equal(t, "of the route", v["OWN"])
	assert.Equal(t, "/a b", v["PATH_INFO"])
	for _, name := range []string{"HTTP_PROXY", "HTTP_X_B", "SECRET", "PATH"} {
		assert.NotContains(t, v, name)
	}
	// HTTP/2 splits cookies as it likes (RFC 9113 section 8.2.3).
	r := g.request("GET", "/", nil)
	r.Header["Cookie"] = []string{"a=1", "b=2"}
	res, err := g.clientOf("HTTP/2.0").Do(r)
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, "a=1; b=2", (<-b.request).vars["HTTP_COOKIE"])
}

func TestAFrontScriptThatIsNotThereIsAFaultInTheLog(t *testing.T) {
	s := newSite(t)
	s.write("www/a.txt", "a file")
	g := s.serve("routes: [{path: /, php: {root: www, front: /app.php, fastcgi: {servers: ['unix:app']}}}]\n")
	assert.Equal(t, "a file", g.get("/a.txt").body)
	assert.Equal(t, 404, g.get("/some/page").StatusCode)
	g.awaitLog("level=ERROR", "front script /app.php", "no such file")
}
