package pool

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

// A warm parent that may fork no more, or was told to stop before it had forked, owes
// workers for ever.
func TestARequestLivesOnWhenAnotherWorkerDoesNotCome(t *testing.T) {
	for _, change := range []bool{false, true} {
		name := map[bool]string{false: "ready", true: "retired"}[change]
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			text := "#!/usr/bin/perl\n$| = 1; print \"Content-Type: text/plain\\n\\nbo\";\n" +
				"if ($ENV{QUERY_STRING}) { select undef, undef, undef, 0.01 until -e $ENV{QUERY_STRING} }\nprint 'dy';\n"
			w, file := settings(cgi.ModeWarm), s.write("a.pl", text)
			s.until(cgi.ModeWarm, w, file)
			p, parent := s.all()[0], s.status().Parent
			ended := make(chan answer, 1)
			end := filepath.Join(s.dir, "end")
			go func() { ended <- s.do(context.Background(), s.request(w, file, "QUERY_STRING="+end)) }()
			s.eventually("one is busy", func() bool { return s.status().Busy == 1 })
			s.eventually("none is owed", func() bool { return s.status().Starting == 0 })
			require.NoError(t, syscall.Kill(parent, syscall.SIGSTOP))
			p.mu.Lock()
			g := p.gen
			p.orderLocked(g, 1, time.Now().Add(-2*stuckTime))
			if change {
				p.changedLocked()
			}
			p.mu.Unlock()
			tend := func() {
				p.tend(time.Now())
				p.mu.Lock()
				g.neededAt = g.neededAt.Add(-2 * stuckTime)
				p.mu.Unlock()
				p.tend(time.Now())
			}
			tend()
			s.eventually("it is retired", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return g.retired })
			tend()
			require.NoError(t, syscall.Kill(parent, syscall.SIGCONT))
			time.Sleep(50 * time.Millisecond) // for a parent that was told to end
			s.write("end", "")
			a := <-ended
			assert.NoError(t, a.err)
			assert.Equal(t, "body", a.body)
			s.eventually("its warm parent ends", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return g.dead && !p.old[g] })
		})
	}
}
