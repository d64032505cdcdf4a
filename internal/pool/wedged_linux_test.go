package pool

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

func TestADaemonThatHoldsTheAnswerOpenDoesNotHoldItUp(t *testing.T) {
	for _, mode := range []cgi.Mode{cgi.ModeWarm, cgi.ModeReuse} {
		for _, announced := range []string{"", `Content-Length: 1\n`} {
			t.Run(string(mode)+" "+announced, func(t *testing.T) {
				s := newSite(t, nil)
				pid := filepath.Join(s.dir, "pid")
				w, file := settings(mode), s.write("a.pl", "#!/usr/bin/perl\nuse POSIX; $| = 1; print \"Content-Type: text/plain\\n"+announced+"\\nx\"; select undef, undef, undef, 0.2;\n"+
					"if ($ENV{QUERY_STRING} && !fork) { POSIX::setsid(); open my $f, '>', $ENV{QUERY_STRING}; print $f $$; close $f; sleep 60; POSIX::_exit(0) }\n")
				s.until(mode, w, file)
				a := s.do(t.Context(), s.request(w, file, "QUERY_STRING="+pid))
				assert.NoError(t, a.err)
				assert.Equal(t, "x", a.body)
				assert.Equal(t, mode, a.mode)
				s.eventually("no worker is busy", func() bool { return s.status().Busy == 0 })
				endDaemon(t, pid)
			})
		}
	}
}

// endDaemon kills the process whose number is in a file.
func endDaemon(t *testing.T, file string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		b, _ := os.ReadFile(file)
		if n, err := strconv.Atoi(string(b)); err == nil {
			syscall.Kill(n, syscall.SIGKILL)
			return
		}
		require.True(t, time.Now().Before(deadline))
		time.Sleep(5 * time.Millisecond)
	}
}

func TestAnAnswerIsNotTakenForWholeWhenTheEndOfItsWorkerIsNotKnown(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\n$| = 1; print \"Content-Type: text/plain\\n\\n$$\\n\"; sleep 60 if $ENV{QUERY_STRING};\n")
	s.until(cgi.ModeWarm, w, file)
	parent := s.status().Parent
	res, err := s.RoundTrip(t.Context(), s.request(w, file, "QUERY_STRING=1"))
	require.NoError(t, err)
	defer res.Body.Close()
	b := make([]byte, 64)
	n, err := res.Body.Read(b)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(parent, syscall.SIGSTOP))
	resume := time.AfterFunc(time.Second, func() { syscall.Kill(parent, syscall.SIGCONT) })
	defer resume.Stop()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	_, err = io.ReadAll(res.Body)
	assert.ErrorIs(t, err, cgi.ErrTruncated)
}

func TestAWarmParentThatIsStuckHoldsNoRequestUp(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nsleep 60 if $ENV{QUERY_STRING};\n"+body)
	s.until(cgi.ModeWarm, w, file)
	p, parent := s.all()[0], s.status().Parent
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan answer, 1)
	go func() { ended <- s.do(ctx, s.request(w, file, "QUERY_STRING=1")) }()
	s.eventually("busy", func() bool { return s.status().Busy == 1 })
	require.NoError(t, syscall.Kill(parent, syscall.SIGSTOP)) // it tells of no worker's end
	cancel()
	g := p.gen
	g.fail("it is stuck")
	p.mu.Lock()
	g.killedAt = g.killedAt.Add(-2 * stuckTime)
	p.mu.Unlock()
	a := <-ended
	assert.ErrorIs(t, a.err, cgi.ErrGone)
	assert.Equal(t, cgi.ReasonDisconnect, a.exit.Killed)
	s.until(cgi.ModeWarm, w, file)
}

func TestAWarmParentThatDoesNotEndWhileItLoadsIsKilled(t *testing.T) {
	s := newSite(t, nil)
	loads := filepath.Join(s.dir, "loads")
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nBEGIN { if (!$ENV{SPAWNED}) { $SIG{TERM} = 'IGNORE'; open my $f, '>', '"+loads+"'; print $f $$; close $f; sleep 60 } }\n"+body)
	assert.NoError(t, s.ask(w, file, "SPAWNED=1").err)
	var pid int
	s.eventually("it loads", func() bool {
		b, _ := os.ReadFile(loads)
		pid, _ = strconv.Atoi(string(b))
		return pid != 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.Close(ctx))
	s.eventually("it is gone", func() bool { return cgi.HasEnded(pid) })
}

func TestAScriptIsNotJudgedByAShimThatWasNotExecutedInTime(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Shim = []string{"/bin/sh", "-c", "exec 9</dev/null; exec sleep 60"} })
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\n"+body)
	assert.NoError(t, s.ask(w, file).err)
	p := s.all()[0]
	p.mu.Lock()
	g := p.next
	p.mu.Unlock()
	require.NotNil(t, g)
	s.eventually("what the shim has open would be held against a script", func() bool { return unsafeToFork(g.pid()) != "" })
	g.tooSlow()
	assert.Equal(t, Broken, s.status().State, "it is tried again: %s", s.status().Why)
}

func TestAWarmParentThatWasToEndWhileItLoadedEndsWhenItHas(t *testing.T) {
	s := newSite(t, nil)
	loads, goOn := filepath.Join(s.dir, "loads"), filepath.Join(s.dir, "go")
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nBEGIN { if (!$ENV{SPAWNED}) { local $SIG{TERM} = 'IGNORE'; open my $f, '>', '"+loads+"'; print $f $$; close $f;\n"+
		"select undef, undef, undef, 0.01 until -e '"+goOn+"' } }\n"+body)
	assert.NoError(t, s.ask(w, file, "SPAWNED=1").err)
	var pid int
	s.eventually("it loads", func() bool {
		b, _ := os.ReadFile(loads)
		pid, _ = strconv.Atoi(string(b))
		return pid != 0
	})
	p := s.all()[0]
	p.mu.Lock()
	g := p.next
	p.retireLocked(g)
	p.mu.Unlock()
	require.NoError(t, os.WriteFile(goOn, nil, 0o644))
	select {
	case <-g.left:
	case <-time.After(stuckTime - time.Second):
		assert.Fail(t, "it is waited for until it is killed")
	}
}

func TestAWorkerThatEndsWhileItIsIdleIsReplaced(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeReuse), s.write("a.pl", hello)
	w.Spare = 3
	s.until(cgi.ModeReuse, w, file)
	s.eventually("three are idle", func() bool { return s.status().Idle == 3 })
	p := s.all()[0]
	p.mu.Lock()
	killed := 0
	for pid := range p.gen.workers {
		if killed++; killed <= 2 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	p.mu.Unlock()
	s.eventually("one is idle", func() bool { return s.status().Idle == 1 })
	s.eventually("three are idle again", func() bool { return s.status().Idle == 3 })
	p.mu.Lock()
	assert.EqualValues(t, 3, p.gen.idlers.Stat().TotalResources())
	assert.Len(t, p.gen.workers, 3)
	p.mu.Unlock()
	for range 5 {
		assert.Equal(t, cgi.ModeReuse, s.ask(w, file).mode)
	}
}

// foreign writes a runner in Perl: its workers do what is given, and have ended when the
// gateway hears of them, which it does of their end a moment later.
func (s *site) foreign(worker string) string {
	return s.write("runner", `#!/usr/bin/perl
use IO::Socket::UNIX; use POSIX; $| = 1;
POSIX::close(4); # this file
open my $control, '+<&=', 3; my ($n, $order);
sub byte { sysread($control, my $c, 1) or exit; $c }
my $size = ''; while ((my $c = byte()) ne ':') { $size .= $c }
$order .= byte() for 1 .. $size + 1;
my %order = split /\0/, $order;
syswrite $control, "hello 1 $order{cookie} foreign 1\nready\n";
while (<$control>) {
	exit if !/^fork (\d+)/;
	for (1 .. $1) {
		my $pid = fork;
		if (!$pid) {
			my @c = map IO::Socket::UNIX->new($order{socket}), 1, 2;
			`+worker+`
			exit;
		}
		waitpid $pid, 0;
		syswrite $control, "forked $pid\n";
		select undef, undef, undef, 0.02;
		syswrite $control, "exit $pid 0 -1 -1\n";
	}
}
`)
}

func TestARequestIsSpawnedWhenItMeetsOnlyWorkersThatHaveEnded(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	w.Runner = s.foreign("")
	s.ask(w, file)
	s.reaches(Ready)
	for range 20 {
		assert.Contains(t, s.ask(w, file).body, "hello")
	}
}

func TestAWarmParentMayNameNoProcessThatCannotBeItsChild(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	w.Runner = s.foreign(`syswrite $control, "forked -1\n";`)
	s.ask(w, file)
	assert.Contains(t, s.reaches(Broken).Why, "-1 is no worker")
}
