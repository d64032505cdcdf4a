package pool

import (
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

func TestAWorkerMaySayTwiceThatItIsDone(t *testing.T) {
	for _, mode := range []cgi.Mode{cgi.ModeWarm, cgi.ModeReuse} {
		t.Run(string(mode), func(t *testing.T) {
			s := newSite(t, nil)
			w, file := settings(mode), s.write("a.pl", "#!/usr/bin/perl\n"+
				"if ($ENV{QUERY_STRING}) { open my $c, '>&=', 3 or die; syswrite $c, \"done $$ 0 -\\n\" x 3 }\n"+body)
			s.until(mode, w, file)
			for range 5 {
				assert.Contains(t, s.ask(w, file, "QUERY_STRING=1").body, "body")
			}
			s.until(mode, w, file)
			s.eventually("no worker is busy", func() bool { return s.status().Busy == 0 })
		})
	}
}

func TestAProcessThatIsNoWorkerButWasNamedHoldsNothingUp(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\n"+
		"if ($ENV{QUERY_STRING}) { open my $c, '>&=', 3 or die; syswrite $c, \"forked $ENV{QUERY_STRING}\\n\" }\n"+body)
	s.until(cgi.ModeWarm, w, file)
	stranger := exec.Command("sleep", "60")
	require.NoError(t, stranger.Start())
	p := s.all()[0]
	p.mu.Lock()
	g := p.gen
	p.mu.Unlock()
	s.ask(w, file, "QUERY_STRING="+strconv.Itoa(stranger.Process.Pid))
	s.eventually("it is named", func() bool { return s.Owns(stranger.Process.Pid) })
	g.fail("the test says so")
	select {
	case <-g.left:
	case <-time.After(patience):
		assert.Fail(t, "its warm parent is not forgotten")
	}
	s.eventually("nobody waits for it", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(g.workers) == 0 })
	require.NoError(t, stranger.Process.Kill(), "it is left alone")
	time.Sleep(100 * time.Millisecond) // for whoever would wait for it
	assert.ErrorContains(t, stranger.Wait(), "killed", "and it is not waited for")
}
