package pool

import (
	"context"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

func TestSlowRequestsDoNotWaitForOneAnotherInReuse(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeReuse), s.write("a.pl", "#!/usr/bin/perl\nsleep 1 while $ENV{QUERY_STRING} && !-e $ENV{QUERY_STRING};\n"+body)
	s.until(cgi.ModeReuse, w, file)
	var wg sync.WaitGroup
	for range w.Max {
		wg.Go(func() {
			a := s.do(context.Background(), s.request(w, file, "QUERY_STRING="+filepath.Join(s.dir, "go")))
			assert.NoError(t, a.err)
		})
	}
	s.eventually("all have a worker", func() bool { return s.status().Busy == w.Max })
	s.write("go", "")
	wg.Wait()
}

func TestRequestsThatWaitAreSpawnedWhenTheScriptIsNotWarmAnyMore(t *testing.T) {
	ends := map[string]func(p *Pool){
		"unsafe":  func(p *Pool) { p.unsafe(p.gen, "is not what it was") },
		"cold":    func(p *Pool) { p.mu.Lock(); p.coolLocked("the test says so"); p.mu.Unlock() },
		"changed": func(p *Pool) { p.mu.Lock(); p.changedLocked(); p.mu.Unlock() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
			w.Spare, w.Max = 0, 1
			s.until(cgi.ModeWarm, w, file)
			parent := s.status().Parent
			require.NoError(t, syscall.Kill(parent, syscall.SIGSTOP)) // it forks nobody
			const requests = 4                                        // more than there may be idle workers
			ended := make(chan answer, requests)
			for range requests {
				go func() { ended <- s.do(context.Background(), s.request(w, file)) }()
			}
			s.eventually("some wait", func() bool { return s.status().Waiting > 0 })
			end(s.all()[0])
			require.NoError(t, syscall.Kill(parent, syscall.SIGCONT))
			for range requests {
				select {
				case a := <-ended:
					assert.NoError(t, a.err)
				case <-time.After(patience / 2):
					assert.Fail(t, "one still waits")
				}
			}
		})
	}
}

func TestAScriptIsWarmAgainWhenAWorkerSaysThatWhatWasLoadedAheadMadeItUnsafe(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	s.until(cgi.ModeWarm, w, file)
	p := s.all()[0]
	p.mu.Lock()
	g := p.gen
	g.hints = map[string]string{"Text::Wrap": "Text/Wrap.pm"}
	p.mu.Unlock()
	p.unsafe(g, "is not what it was")
	s.until(cgi.ModeWarm, w, file)
	assert.NotEqual(t, g.pid(), s.status().Parent)
}

func TestAWarmParentWhoseSuccessorIsUnsafeEnds(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	s.until(cgi.ModeWarm, w, file)
	p := s.all()[0]
	p.mu.Lock()
	p.loadLocked()
	next := p.next
	next.unsafe = "is not what it was"
	p.mu.Unlock()
	s.reaches(Unsafe)
	s.eventually("nothing of it is left", func() bool { return len(children(t)) == 0 })
}
