package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Plan is how a target is asked.
type Plan struct {
	// Rate is requests per second, whether they are answered or not; 0 is as fast as they are answered.
	Rate float64
	// Connections is how many there are, or with a rate, at most.
	Connections int
	// Streams is how many requests of HTTP/2 one connection has at once; 0 is 1.
	Streams int
	// Duration is how long requests are begun, and Requests how many at most; 0 is no bound.
	Duration time.Duration
	Requests int64
}

// atOnce is how many requests there are at the same time.
func (p Plan) atOnce() int { return p.Connections * max(p.Streams, 1) }

// Generator asks one target. Its connections stay from one run to the next.
type Generator struct {
	ctx     context.Context // ends all requests
	target  *Target
	expect  Expect
	request *http.Request
	text    []byte
	counts  connCounts

	running atomic.Pointer[recorder]

	mu      sync.Mutex
	clients []client // those of h2 share connections: as many in a row as a connection has streams
	shared  *http2Conn
	streams int
}

type connCounts struct{ opened, again atomic.Int64 }

// New makes a generator whose requests end with ctx.
func New(ctx context.Context, t *Target) (*Generator, error) {
	if t.HTTP2 && t.Close {
		return nil, errors.New("a connection per request has no use for HTTP/2")
	}
	g := &Generator{ctx: ctx, target: t, streams: 1}
	var err error
	g.request, g.text, err = rendering(t)
	if err != nil {
		return nil, fmt.Errorf("the request can't be written: %w", err)
	}
	return g, nil
}

// Expect says what a right answer is, from the next run on.
func (g *Generator) Expect(e Expect) { g.expect = e }

// Close closes the connections.
func (g *Generator) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clients {
		c.close()
	}
	g.clients, g.shared = nil, nil
}

// client is the i-th.
func (g *Generator) client(i int) client {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.clients) <= i {
		g.clients = append(g.clients, g.newClient(len(g.clients)))
	}
	return g.clients[i]
}

func (g *Generator) newClient(i int) client {
	if g.target.HTTP2 {
		if i%g.streams == 0 {
			g.shared = newHTTP2Conn(g.target, &g.counts)
		}
		return &http2{conn: g.shared, request: g.request, buf: make([]byte, readSize)}
	}
	return &http1{
		t: g.target, request: g.request, text: g.text, counts: &g.counts,
		r: bufio.NewReaderSize(nil, readSize), buf: make([]byte, readSize),
	}
}

// Ask asks once, and keeps the answer.
func (g *Generator) Ask() (*Answer, error) {
	a := &Answer{}
	err := g.client(0).ask(g.ctx, time.Now().Add(g.target.Timeout), a)
	return a, err
}

// Run asks as the plan says and waits for the last answer. It is an error if the plan can't be followed; what goes
// wrong with requests is in the result. It can't run twice at the same time.
func (g *Generator) Run(p Plan) (*Result, error) {
	if p.Connections < 1 || p.Rate < 0 || p.Duration <= 0 && p.Requests <= 0 {
		return nil, errors.New("a load needs connections, and a duration or a number of requests")
	}
	if s := max(p.Streams, 1); s != g.streams {
		g.Close()
		g.streams = s
	}
	r := newRecorder(g, p)
	g.running.Store(r)
	defer g.running.Store(nil)
	if p.Rate > 0 {
		r.open()
	} else {
		r.closedLoop()
	}
	return r.result(), nil
}

// Progress is how far a run has come.
type Progress struct {
	Began         time.Time
	Right, Failed int64
	// Ending: no more requests are begun, the last answers are waited for.
	Ending bool
}

// Progress tells of the run that is under way, if there is one.
func (g *Generator) Progress() (p Progress, ok bool) {
	r := g.running.Load()
	if r == nil {
		return p, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return Progress{Began: r.began, Right: r.latency.TotalCount(), Failed: r.bad, Ending: r.over.Err() != nil}, true
}

// closedLoop has each connection ask again as soon as it is answered.
func (r *recorder) closedLoop() {
	var wg sync.WaitGroup
	for i := range r.plan.atOnce() {
		c := r.g.client(i)
		wg.Go(func() { // ends with r.over, and the answer that is waited for
			v := newVerifier(r.g.expect)
			for r.over.Err() == nil && r.take() {
				if !r.ask(c, v, time.Now()) {
					r.pause()
				}
			}
			r.octets.Add(v.octets)
		})
	}
	wg.Wait()
	r.stop()
}

// take is for one more request, if there is to be one.
func (r *recorder) take() bool {
	return r.plan.Requests <= 0 || r.taken.Add(1) <= r.plan.Requests
}

// pause is behind a request that found no connection.
func (r *recorder) pause() {
	select {
	case <-r.over.Done():
	case <-time.After(pauseTime):
	}
}

const (
	pauseTime = 20 * time.Millisecond
	// goneTime is for how long nobody may accept a connection before the run ends.
	goneTime = 5 * time.Second
)

// ask asks for one answer that was due at some time; it reports whether there was a connection.
func (r *recorder) ask(c client, v *verifier, due time.Time) bool {
	began := time.Now()
	err := c.ask(r.g.ctx, began.Add(r.g.target.Timeout), v)
	done := time.Now()
	if err != nil && r.g.ctx.Err() != nil {
		r.note(due, began, done, errStopped)
		return true
	}
	r.note(due, began, done, err)
	var f *failure
	return !errors.As(err, &f) || !f.dialing
}
