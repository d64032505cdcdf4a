package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serving starts a server and a generator for it.
func serving(t *testing.T, h http.HandlerFunc, change ...func(*Target)) *Generator {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	srv.Config.Protocols = &p
	srv.Start()
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	require.NoError(t, err)
	return generator(t, u, change...)
}

func generator(t *testing.T, u *url.URL, change ...func(*Target)) *Generator {
	t.Helper()
	target := &Target{URL: u, Method: http.MethodGet, Addr: u.Host, Timeout: 10 * time.Second}
	for _, c := range change {
		c(target)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	g, err := New(ctx, target)
	require.NoError(t, err)
	t.Cleanup(g.Close)
	g.Expect(Expect{Status: http.StatusOK, Content: NewContent([]byte(hello))})
	return g
}

const hello = "Hello, world\n"

func run(t *testing.T, g *Generator, p Plan) *Result {
	t.Helper()
	r, err := g.Run(p)
	require.NoError(t, err)
	return r
}

func TestRightAnswersAreCountedInAllProtocols(t *testing.T) {
	for name, change := range map[string]func(*Target){
		"kept":       func(*Target) {},
		"not kept":   func(t *Target) { t.Close = true },
		"HTTP/2":     func(t *Target) { t.HTTP2 = true },
		"large body": func(t *Target) { t.Method, t.Body = http.MethodPost, make([]byte, 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			g := serving(t, func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				if n == 0 || n == 1<<20 {
					io.WriteString(w, hello)
				}
			}, change)
			r := run(t, g, Plan{Connections: 4, Requests: 50})
			assert.EqualValues(t, 50, r.Right)
			assert.Zero(t, r.Bad(), r.Samples)
			assert.EqualValues(t, 50*len(hello), r.Octets)
			if name == "not kept" {
				assert.EqualValues(t, 50, r.Opened)
			} else {
				assert.LessOrEqual(t, r.Opened, int64(4))
			}
		})
	}
}

func TestTheTimeOfAnAnswerCountsFromWhenItsRequestWasDue(t *testing.T) {
	const stall = 300 * time.Millisecond
	var once sync.Once
	g := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		once.Do(func() { time.Sleep(stall) })
		io.WriteString(w, hello)
	})
	// One connection: what is due while it stalls can only wait. A generator with coordinated omission would show one slow answer.
	r := run(t, g, Plan{Rate: 100, Connections: 1, Requests: 40})
	require.EqualValues(t, 40, r.Right)
	slow := int64(0)
	for _, b := range r.Latency.Distribution() {
		if time.Duration(b.From) >= stall/3 {
			slow += b.Count
		}
	}
	assert.GreaterOrEqual(t, slow, int64(15), "those that were due in the first two thirds of the stall")
	assert.Positive(t, r.Blocked)
	assert.GreaterOrEqual(t, time.Duration(r.Late.Max()), stall/2)
}

func TestWhatIsDueAndFindsNoConnectionIsCountedAsUnsent(t *testing.T) {
	g := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(100 * time.Millisecond)
		io.WriteString(w, hello)
	})
	r := run(t, g, Plan{Rate: 200, Connections: 1, Duration: 500 * time.Millisecond})
	assert.Positive(t, r.Right)
	assert.EqualValues(t, 100, r.Right+r.Unsent)
	assert.Equal(t, r.Unsent, r.Bad())
}

func TestAnOpenLoopAsksAsOftenAsItIsTold(t *testing.T) {
	var n atomic.Int64
	g := serving(t, func(w http.ResponseWriter, _ *http.Request) { n.Add(1); io.WriteString(w, hello) })
	r := run(t, g, Plan{Rate: 333, Connections: 50, Duration: time.Second})
	assert.EqualValues(t, 333, n.Load())
	assert.EqualValues(t, 333, r.Right)
}

func TestWrongAnswersAreCountedByWhatIsWrong(t *testing.T) {
	answer := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, text) }
	}
	for name, c := range map[string]struct {
		h      http.HandlerFunc
		status int64
		body   int64
		says   string
	}{
		"status":    {answer(503, "busy"), 5, 0, "status 503 Service Unavailable"},
		"other":     {answer(200, "Hello, wOrld\n"), 0, 5, `differs at octet 8: "Hello, wOrld\n", not "Hello, world\n"`},
		"too short": {answer(200, "Hello"), 0, 5, "5 octets long, not 13"},
		"too long":  {answer(200, hello+"more"), 0, 5, "longer than 13 octets"},
	} {
		for _, two := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r := run(t, serving(t, c.h, func(t *Target) { t.HTTP2 = two }), Plan{Connections: 1, Requests: 5})
				assert.Equal(t, c.status, r.Status[503])
				assert.Equal(t, c.body, r.WrongBody)
				assert.Zero(t, r.Right)
				assert.Equal(t, []string{c.says}, r.Samples)
			})
		}
	}
}

func TestATextIsLookedForInTheBody(t *testing.T) {
	var n atomic.Int64
	g := serving(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "request %d", n.Add(1)) })
	g.Expect(Expect{Status: 200, Match: regexp.MustCompile(`request \d$`)})
	r := run(t, g, Plan{Connections: 1, Requests: 12})
	assert.EqualValues(t, 9, r.Right)
	assert.EqualValues(t, 3, r.WrongBody)
}

func TestALargeBodyIsComparedBeyondWhatIsKept(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	var n atomic.Int64
	g := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		b := bytes.Clone(want)
		if n.Add(1)%2 == 0 {
			b[len(b)-1] = 'X'
		}
		w.Write(b)
	})
	g.Expect(Expect{Status: 200, Content: NewContent(want)})
	r := run(t, g, Plan{Connections: 1, Requests: 4})
	assert.EqualValues(t, 2, r.Right)
	assert.EqualValues(t, 2, r.WrongBody)
}

// broken answers each connection with a text, and closes it.
func broken(t *testing.T, answer string) *Generator {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, answer)
			c.Close()
		}
	}()
	return generator(t, &url.URL{Scheme: "http", Host: l.Addr().String(), Path: "/"})
}

func TestFailuresAreCountedByKind(t *testing.T) {
	for answer, kind := range map[string]Kind{
		"":                            Closed,
		"HTTP/1.1 200 OK\r\nContent-": Cut,
		"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello":                  Cut,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n": Cut,
		"220 mail.example.org ESMTP\r\n\r\n":                                  Malformed,
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n":    Malformed,
	} {
		t.Run(string(kind), func(t *testing.T) {
			r := run(t, broken(t, answer), Plan{Connections: 2, Requests: 6})
			assert.EqualValues(t, 6, r.Failed())
			assert.EqualValues(t, 6, r.Failures[kind], "%v", r.Failures)
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	r := run(t, generator(t, &url.URL{Scheme: "http", Host: l.Addr().String(), Path: "/"}), Plan{Connections: 1, Requests: 3})
	assert.EqualValues(t, 3, r.Failures[Refused])
	slow := serving(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *Target) { t.Timeout = 50 * time.Millisecond })
	assert.EqualValues(t, 2, run(t, slow, Plan{Connections: 2, Requests: 2}).Failures[TimedOut])
}

func TestAnInterruptedRunTellsWhatThereIs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 10 {
			cancel()
			<-r.Context().Done()
		}
		io.WriteString(w, hello)
	}))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	require.NoError(t, err)
	g, err := New(ctx, &Target{URL: u, Method: "GET", Addr: u.Host, Timeout: 10 * time.Second})
	require.NoError(t, err)
	defer g.Close()
	g.Expect(Expect{Status: 200})
	r := run(t, g, Plan{Connections: 1, Duration: time.Hour})
	assert.EqualValues(t, 10, r.Right)
	assert.EqualValues(t, 1, r.Interrupted)
	assert.Zero(t, r.Bad())
}

func TestOnlyThisMachineIsAskedUnlessItIsAllowed(t *testing.T) {
	for host, here := range map[string]bool{"127.0.0.1": true, "[::1]": true, "127.9.9.9": true, "192.0.2.1": false, "[2001:db8::1]": false} {
		u, err := ParseURL(host + ":1/x")
		require.NoError(t, err)
		_, err = Resolve(t.Context(), u, false)
		assert.Equal(t, !here, errors.Is(err, ErrElsewhere), host)
	}
}
