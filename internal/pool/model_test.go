//go:build linux

package pool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"warmcgi/internal/cgi"
)

// Few, as each has real processes: `go test ./internal/pool -run Model -rapid.checks=1000` for more.
func init() {
	flag.Set("rapid.checks", "12")
	flag.Set("rapid.nofailfile", "true") // what processes do is not the same twice
}

// modelScript tells who answers a request, waits until it may, and answers with its version and the request's token.
const modelScript = `#!/usr/bin/perl
my ($dir, $token) = split / /, $ENV{QUERY_STRING};
open my $f, '>', "$dir/pid-$token.new" or die; print $f readlink '/proc/self'; close $f; rename "$dir/pid-$token.new", "$dir/pid-$token";
select undef, undef, undef, 0.001 until -e "$dir/go-$token";
print "Content-Type: text/plain\n\n%d $token";
`

// A poolModel is what is known of the requests to a script, whatever the pool does inside. The
// rules: a request is answered once, by a process that has no other request, with its own token, and by the script as it
// was when the request came, or later. It fails only if its own process was killed, or its client has gone; a GET whose process died is
// asked once more. Nothing else that happens to workers, the warm parent or the file concerns a request. There is a queue before
// the pool, as in the gateway: as many requests as it has places run, the others wait, and who comes when enough wait
// is refused.
type poolModel struct {
	s     *site
	queue *cgi.Queue
	mode  cgi.Mode
	w     *cgi.Workers
	file  string

	version int
	asked   int
	under   []*modelRequest // way
	size    int             // the most that are to run
	places  int             // that there are: more than size until some have ended
	stopped int             // the warm parent, if it is
	waiting atomic.Int64
	all     sync.Map // requests by token
}

// modelLength is how many may wait.
const modelLength = 5

func newModel(s *site, mode cgi.Mode) *poolModel {
	m := &poolModel{s: s, mode: mode, w: settings(mode), size: 4, places: 4}
	m.w.Max = m.size
	m.queue = cgi.NewQueue(backendFunc(func(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
		r := m.of(req)
		r.placed.Store(true)
		r.enter()
		return s.RoundTrip(ctx, req)
	}), cgi.QueueConfig{MaxRunning: 100, Waiting: func(req *cgi.Request, delta int) {
		m.waiting.Add(int64(delta))
		if delta > 0 {
			m.of(req).enter()
		}
	}})
	m.file = s.write("model.pl", fmt.Sprintf(modelScript, 0))
	return m
}

type backendFunc func(ctx context.Context, req *cgi.Request) (*cgi.Response, error)

func (f backendFunc) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	return f(ctx, req)
}

func (m *poolModel) of(req *cgi.Request) *modelRequest {
	r, _ := m.all.Load(req.ID)
	return r.(*modelRequest)
}

// running are the requests that have a place. None is free while others wait.
func (m *poolModel) running() (all []*modelRequest) {
	m.s.t.Helper()
	m.s.eventually("a place is free, and a request waits", func() bool {
		all = nil
		for _, r := range m.under {
			if r.placed.Load() {
				all = append(all, r)
			}
		}
		return len(all) == min(m.places, len(m.under)) && int(m.waiting.Load()) == len(m.under)-len(all)
	})
	return all
}

// A modelRequest is under way.
type modelRequest struct {
	token   string
	version int // of the script, when it was asked
	get     bool
	killed  int // its process, once it was killed
	stopped int // its process is
	cancel  context.CancelFunc
	answer  chan answer
	enter   func() // it waits, or has a place
	placed  atomic.Bool
}

func (m *poolModel) ask(rt *rapid.T) {
	m.running()
	full := len(m.under) >= m.places+modelLength
	m.asked++
	r := &modelRequest{token: strconv.Itoa(m.asked), version: m.version, get: rapid.Bool().Draw(rt, "get"), answer: make(chan answer, 1)}
	method := "REQUEST_METHOD=POST"
	if r.get {
		method = "REQUEST_METHOD=GET"
	}
	req := m.s.request(m.w, m.file, "QUERY_STRING="+m.s.dir+" "+r.token)
	req.Vars[0] = method
	req.ID = r.token
	req.Queue = cgi.QueueLimits{Running: int64(m.w.Max), Length: modelLength, Wait: time.Hour}
	var once sync.Once
	in := make(chan struct{})
	r.enter = func() { once.Do(func() { close(in) }) }
	m.all.Store(r.token, r)
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.answer <- m.s.doBy(ctx, m.queue, req) }() // ends with the request, which the model ends
	select {
	case <-in:
		if full {
			r.cancel()
			rt.Fatalf("request %s: %d run at most, %d others are there, and it is let in", r.token, m.places, len(m.under))
		}
		m.under = append(m.under, r)
	case a := <-r.answer:
		r.cancel()
		if !full || !errors.Is(a.err, cgi.ErrQueueFull) {
			rt.Fatalf("request %s, with %d others, places for %d: %v, %v", r.token, len(m.under), m.places, a, a.err)
		}
	case <-time.After(patience):
		r.cancel()
		rt.Fatalf("request %s is neither let in nor refused", r.token)
	}
}

// process is who answers a request; 0: nobody yet, or it has died.
func (m *poolModel) process(r *modelRequest) int {
	b, err := os.ReadFile(filepath.Join(m.s.dir, "pid-"+r.token))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(string(b))
	if pid == r.killed {
		return 0
	}
	return pid
}

// any draws one of the requests that a process answers.
func (m *poolModel) any(rt *rapid.T) (*modelRequest, int) {
	var running []*modelRequest
	for _, r := range m.running() {
		if m.process(r) != 0 {
			running = append(running, r)
		}
	}
	if len(running) == 0 {
		rt.Skip("nothing runs")
	}
	r := rapid.SampledFrom(running).Draw(rt, "request")
	return r, m.process(r)
}

func (m *poolModel) over(r *modelRequest) {
	if r.placed.Load() && m.places > m.size {
		m.places--
	}
	m.under = slices.DeleteFunc(m.under, func(o *modelRequest) bool { return o == r })
	if len(m.under) == 0 {
		m.places = m.size
	}
	r.cancel()
}

// let has a request answered.
func (m *poolModel) let(rt *rapid.T) {
	r, _ := m.any(rt)
	m.goOn(r)
	if err := os.WriteFile(filepath.Join(m.s.dir, "go-"+r.token), nil, 0o644); err != nil {
		rt.Fatal(err)
	}
	m.await(rt, r, false)
}

// await takes a request's answer; it may have been ended by the pool.
func (m *poolModel) await(rt *rapid.T, r *modelRequest, mayEnd bool) {
	select {
	case a := <-r.answer:
		m.over(r)
		if mayEnd && errors.Is(a.err, cgi.ErrNoOutput) && a.exit.Killed == cgi.ReasonShutdown {
			return
		}
		if a.err != nil {
			rt.Fatalf("request %s: %v", r.token, a.err)
		}
		version, token, _ := strings.Cut(a.body, " ")
		if n, err := strconv.Atoi(version); err != nil || token != r.token || n < r.version || n > m.version {
			rt.Fatalf("request %s of version %d to %d: answered with %q", r.token, r.version, m.version, a.body)
		}
	case <-time.After(patience):
		rt.Fatalf("request %s is not answered: %+v", r.token, m.s.Status())
	}
}

// leave has a client go.
func (m *poolModel) leave(rt *rapid.T) {
	if len(m.under) == 0 {
		rt.Skip("nobody is there")
	}
	r := rapid.SampledFrom(m.under).Draw(rt, "request")
	m.goOn(r)
	r.cancel()
	select {
	case a := <-r.answer:
		m.over(r)
		if !errors.Is(a.err, context.Canceled) && !errors.Is(a.err, cgi.ErrGone) {
			rt.Fatalf("request %s, whose client has gone: %v", r.token, a.err)
		}
	case <-time.After(patience):
		rt.Fatalf("request %s does not end: %+v", r.token, m.s.Status())
	}
}

// kill kills a process that has a request.
func (m *poolModel) kill(rt *rapid.T) {
	r, pid := m.any(rt)
	again := r.get && r.killed == 0
	r.killed, r.stopped = pid, 0
	syscall.Kill(pid, syscall.SIGKILL)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		select {
		case a := <-r.answer:
			m.over(r)
			if !errors.Is(a.err, cgi.ErrNoOutput) {
				rt.Fatalf("request %s, whose process was killed: %v", r.token, a.err)
			}
			return
		default:
		}
		if again && m.process(r) != 0 {
			return // it runs anew
		}
		if time.Now().After(deadline) {
			if again {
				return // it waits for another worker
			}
			rt.Fatalf("request %s does not end", r.token)
		}
		if again && m.s.Waiting() > 0 {
			return
		}
	}
}

// stop stops a process that has a request, for now.
func (m *poolModel) stop(rt *rapid.T) {
	r, pid := m.any(rt)
	r.stopped = pid
	syscall.Kill(pid, syscall.SIGSTOP)
}

func (m *poolModel) goOn(r *modelRequest) {
	if r.stopped != 0 {
		syscall.Kill(r.stopped, syscall.SIGCONT)
		r.stopped = 0
	}
}

// killOther kills a process that has no request: an idle worker, or one that starts.
func (m *poolModel) killOther(rt *rapid.T) {
	for _, r := range m.running() {
		if m.process(r) == 0 {
			rt.Skip("it could be given a request at any moment")
		}
	}
	var idle []int
	for _, p := range m.s.Processes(100) {
		if p.State == "idle" || p.State == "starting" {
			idle = append(idle, p.Pid)
		}
	}
	if len(idle) == 0 {
		rt.Skip("nobody is idle")
	}
	syscall.Kill(rapid.SampledFrom(idle).Draw(rt, "worker"), syscall.SIGKILL)
}

func (m *poolModel) killParent(rt *rapid.T) {
	for _, st := range m.s.Status() {
		if st.Parent != 0 {
			syscall.Kill(st.Parent, syscall.SIGKILL)
			return
		}
	}
	rt.Skip("there is none")
}

// stopParent stops the warm parent: until it goes on it forks nobody, and tells of no worker's end.
func (m *poolModel) stopParent(rt *rapid.T) {
	if m.stopped != 0 {
		syscall.Kill(m.stopped, syscall.SIGCONT)
		m.stopped = 0
		return
	}
	for _, st := range m.s.Status() {
		if st.Parent != 0 {
			m.stopped = st.Parent
			syscall.Kill(st.Parent, syscall.SIGSTOP)
			return
		}
	}
	rt.Skip("there is none")
}

func (m *poolModel) change(rt *rapid.T) {
	m.version++
	next := m.s.write("model.new", fmt.Sprintf(modelScript, m.version))
	if err := os.Rename(next, m.file); err != nil { // as a deploy should do it: a file that is not whole yet could be run
		rt.Fatal(err)
	}
}

func (m *poolModel) restart(rt *rapid.T) {
	if _, err := m.s.Restart("/model.pl"); err != nil {
		rt.Fatal(err)
	}
}

func (m *poolModel) pin(rt *rapid.T) {
	var pin *Pin
	if mode := rapid.SampledFrom([]cgi.Mode{"", cgi.ModeSpawn, cgi.ModeWarm}).Draw(rt, "mode"); mode != "" {
		pin = &Pin{Mode: mode, By: "model"}
	}
	if err := m.s.Pin("/model.pl", pin); err != nil {
		rt.Fatal(err)
	}
}

func (m *poolModel) limit(rt *rapid.T) {
	var l *Limits
	if most := rapid.IntRange(0, 6).Draw(rt, "max"); most > 0 {
		l = &Limits{Max: most, Spare: rapid.IntRange(0, most).Draw(rt, "spare")}
	}
	if _, err := m.s.Limit("/model.pl", l); err != nil {
		rt.Fatal(err)
	}
	n := len(m.running())
	m.size = m.w.Max
	if l != nil {
		m.size = l.Max
	}
	m.queue.SetRunning(m.file, int64(m.size), l != nil)
	m.places = max(m.size, min(n, m.places))
}

// check is what has to hold whatever has happened.
func (m *poolModel) check(rt *rapid.T) {
	has := map[int]string{}
	running := m.running()
	for _, r := range m.under {
		select {
		case a := <-r.answer:
			m.over(r)
			rt.Fatalf("request %s has ended by itself: %+v; killed %d, get %v", r.token, a, r.killed, r.get)
		default:
		}
		if pid := m.process(r); pid != 0 {
			if !slices.Contains(running, r) {
				rt.Fatalf("request %s has a process and no place", r.token)
			}
			if other, ok := has[pid]; ok {
				rt.Fatalf("process %d has the requests %s and %s", pid, other, r.token)
			}
			has[pid] = r.token
		}
	}
	for _, st := range m.s.Status() {
		if st.Busy+st.Waiting > len(m.under) {
			rt.Fatalf("%d requests, but %d busy and %d waiting", len(m.under), st.Busy, st.Waiting)
		}
	}
}

func TestAPoolDoesAsItsModelWhateverHappens(t *testing.T) {
	for _, mode := range []cgi.Mode{cgi.ModeWarm, cgi.ModeReuse} {
		t.Run(string(mode), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				s, end := openedSite(t, nil)
				defer end()
				m := newModel(s, mode)
				m.ask(rt)
				for m.process(m.under[0]) == 0 {
					time.Sleep(time.Millisecond)
				}
				m.let(rt)
				defer m.end(rt)
				defer m.close(rt)
				rt.Repeat(map[string]func(*rapid.T){
					"ask": m.ask, "ask again": m.ask, "let": m.let, "leave": m.leave, "kill": m.kill, "stop": m.stop, "kill another": m.killOther,
					"kill the parent": m.killParent, "stop the parent": m.stopParent, "change": m.change, "restart": m.restart, "pin": m.pin, "limit": m.limit, "": m.check,
				})
			})
		})
	}
}

// close may close the pool while requests run and wait: it ends those that its workers have, as the gateway does when it waits no
// longer. The others are spawned. None is left without an end, and none has a wrong one.
func (m *poolModel) close(rt *rapid.T) {
	if rt.Failed() || !rapid.Bool().Draw(rt, "close under load") {
		return
	}
	for _, r := range m.under {
		m.goOn(r)
	}
	if m.stopped != 0 {
		syscall.Kill(m.stopped, syscall.SIGCONT)
	}
	mayEnd := slices.Clone(m.running())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.s.Close(ctx); err != nil {
		rt.Fatal(err)
	}
	for _, r := range slices.Clone(m.under) {
		os.WriteFile(filepath.Join(m.s.dir, "go-"+r.token), nil, 0o644)
		m.await(rt, r, slices.Contains(mayEnd, r))
	}
	m.ask(rt) // it is spawned
}

// end has all answered.
func (m *poolModel) end(rt *rapid.T) {
	if m.stopped != 0 {
		syscall.Kill(m.stopped, syscall.SIGCONT)
	}
	for _, r := range m.under {
		m.goOn(r)
		os.WriteFile(filepath.Join(m.s.dir, "go-"+r.token), nil, 0o644)
	}
	for _, r := range slices.Clone(m.under) {
		if rt.Failed() {
			r.cancel()
			<-r.answer
			continue
		}
		m.await(rt, r, false)
	}
}
