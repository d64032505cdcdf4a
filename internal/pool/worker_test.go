//go:build linux

package pool

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

func TestAnswersAreNeverMixed(t *testing.T) {
	scripts := map[string]string{
		"perl":   "#!/usr/bin/perl\nlocal $/; my $b = <STDIN>; print \"Content-Type: text/plain\\n\\n$ENV{QUERY_STRING} $b\";",
		"python": "#!/usr/bin/python3\nimport os, sys\nprint('Content-Type: text/plain\\n')\nprint(os.environ['QUERY_STRING'], sys.stdin.read(), end='')\n",
	}
	for language, text := range scripts {
		for _, mode := range []cgi.Mode{cgi.ModeWarm, cgi.ModeReuse} {
			t.Run(fmt.Sprint(language, " ", mode), func(t *testing.T) {
				s := newSite(t, nil)
				w, file := settings(mode), s.write("a.cgi", text)
				s.until(mode, w, file, "QUERY_STRING=")
				var wg sync.WaitGroup
				for c := range 8 {
					wg.Go(func() {
						for i := range 25 {
							token := fmt.Sprintf("%d-%d", c, i)
							req := s.request(w, file, "QUERY_STRING="+token)
							text := strings.Repeat(token, i*500)
							if text != "" {
								req.Body, req.Length = strings.NewReader(text), int64(len(text))
								req.Vars = append(req.Vars, "CONTENT_LENGTH="+strconv.Itoa(len(text)))
							}
							a := s.do(context.Background(), req)
							assert.NoError(t, a.err)
							assert.True(t, a.body == token+" "+text, "%s got %d octets", token, len(a.body))
						}
					})
				}
				wg.Wait()
				s.eventually("all are idle", func() bool { return s.status().Busy == 0 })
				assert.Equal(t, 0, s.log.count("demoted"))
			})
		}
	}
}

func TestAnswersEndWithTheExitStatusOfTheScript(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\nx\"; exit 7 if $ENV{QUERY_STRING} eq 'exit'; kill KILL => $$ if $ENV{QUERY_STRING} eq 'kill';")
	s.until(cgi.ModeWarm, w, file)
	assert.Equal(t, 7, s.ask(w, file, "QUERY_STRING=exit").exit.Code)
	a := s.do(t.Context(), s.request(w, file, "QUERY_STRING=kill"))
	assert.Equal(t, "SIGKILL", a.exit.Signal)
}

func TestAWorkerThatDiesBeforeItAnswersIsReplacedOnceIfThatIsSafe(t *testing.T) {
	s := newSite(t, nil)
	text := `#!/usr/bin/perl
my ($file, $times) = split /,/, $ENV{QUERY_STRING};
open my $f, '>>', $file; print $f 'x'; close $f;
kill KILL => $$ if -s $file <= $times;
print "Content-Type: text/plain\n\nanswered";
`
	w, file := settings(cgi.ModeWarm), s.write("a.pl", text)
	s.until(cgi.ModeWarm, w, file, "QUERY_STRING="+filepath.Join(s.dir, "none")+",0")
	once := filepath.Join(s.dir, "once")
	assert.Equal(t, "answered", s.ask(w, file, "QUERY_STRING="+once+",1").body)
	assert.Equal(t, 1, s.log.count("another one is asked"))

	twice := filepath.Join(s.dir, "twice")
	a := s.do(t.Context(), s.request(w, file, "QUERY_STRING="+twice+",2"))
	assert.ErrorIs(t, a.err, cgi.ErrNoOutput)
	assert.ErrorContains(t, a.err, "SIGKILL")

	post := filepath.Join(s.dir, "post")
	req := s.request(w, file, "QUERY_STRING="+post+",1")
	req.Vars[0] = "REQUEST_METHOD=POST"
	a = s.do(t.Context(), req)
	assert.ErrorIs(t, a.err, cgi.ErrNoOutput, "it may have done half of its work")
	info, err := os.Stat(post)
	require.NoError(t, err)
	assert.EqualValues(t, 1, info.Size())
}

func TestAScriptWhoseWorkersCrashIsDemoted(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeReuse), s.write("a.pl", "#!/usr/bin/perl\nkill SEGV => $$ if $ENV{QUERY_STRING};\n"+body)
	s.until(cgi.ModeReuse, w, file)
	s.eventually("warm", func() bool {
		s.do(t.Context(), s.request(w, file, "QUERY_STRING=1"))
		return strings.Contains(s.log.String(), "from=reuse to=warm")
	})
	s.eventually("spawn", func() bool {
		s.do(t.Context(), s.request(w, file, "QUERY_STRING=1"))
		return strings.Contains(s.log.String(), "from=warm to=spawn")
	})
	assert.Equal(t, cgi.ModeSpawn, s.ask(w, file).mode)
	assert.Contains(t, s.status().Why, "SIGSEGV")
	assert.Equal(t, 2, s.log.count("script is demoted"))
	assert.Equal(t, map[string]int64{"trouble": 2}, s.status().Demotions)
	s.write("a.pl", hello)
	s.until(cgi.ModeReuse, w, file)
}

func TestAReusedWorkerIsReplacedAfterItsRequests(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeReuse), s.write("a.pl", hello)
	w.Requests = 5
	s.until(cgi.ModeReuse, w, file)
	pids := map[string]int{}
	for range 40 {
		a := s.ask(w, file)
		assert.Equal(t, cgi.ModeReuse, a.mode)
		pids[a.body]++
	}
	assert.GreaterOrEqual(t, len(pids), 7)
	for _, n := range pids {
		assert.LessOrEqual(t, n, 5)
	}
}

func TestAReusedWorkerThatLeavesSomethingBehindIsReplaced(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeReuse), s.write("a.pl", hello+"if ($ENV{QUERY_STRING} && !fork) { close STDIN; close STDOUT; close STDERR; sleep 60 }\n")
	s.until(cgi.ModeReuse, w, file)
	var worker int
	_, err := fmt.Sscanf(s.ask(w, file, "QUERY_STRING=1").body, "hello %d", &worker)
	require.NoError(t, err)
	s.eventually("it is ended, and what it has left", func() bool {
		children(t) // waits for orphans
		return syscall.Kill(-worker, 0) == syscall.ESRCH
	})
	assert.NotContains(t, s.ask(w, file).body, fmt.Sprint("hello ", worker))
}

func TestTheWorkerOfAClientThatHasGoneIsKilled(t *testing.T) {
	for _, mode := range []cgi.Mode{cgi.ModeWarm, cgi.ModeReuse} {
		t.Run(string(mode), func(t *testing.T) {
			s := newSite(t, nil)
			w, file := settings(mode), s.write("a.pl", "#!/usr/bin/perl\nif ($ENV{QUERY_STRING}) { system 'sleep 60' }\n"+body)
			s.until(mode, w, file)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			a := s.do(ctx, s.request(w, file, "QUERY_STRING=1"))
			assert.ErrorIs(t, a.err, cgi.ErrGone)
			assert.Equal(t, cgi.ReasonDisconnect, a.exit.Killed)
			assert.Equal(t, "body", s.ask(w, file).body)
			assert.Equal(t, 0, s.log.count("demoted"))
		})
	}
}

func TestAScriptThatIsTooSlowIsKilled(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nsleep 60 if $ENV{QUERY_STRING};\n"+body)
	s.until(cgi.ModeWarm, w, file)
	req := s.request(w, file, "QUERY_STRING=1")
	req.Timeout.FirstByte = 50 * time.Millisecond
	a := s.do(t.Context(), req)
	assert.ErrorIs(t, a.err, cgi.ErrTimeout)
	assert.NotEmpty(t, a.exit.Killed)
}

func TestRequestsWaitForAWorkerAndNoLongerThanTheyMay(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nselect undef, undef, undef, $ENV{QUERY_STRING};\n"+body)
	w.Max, w.Spare = 1, 0
	s.until(cgi.ModeWarm, w, file, "QUERY_STRING=0")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.do(ctx, s.request(w, file, "QUERY_STRING=60")) })
	s.eventually("busy", func() bool { return s.status().Busy == 1 })
	req := s.request(w, file, "QUERY_STRING=0")
	req.Queue.Wait = time.Second
	a := s.do(t.Context(), req)
	assert.ErrorIs(t, a.err, cgi.ErrQueueWait)
	st := s.status()
	assert.Zero(t, st.Waiting)
	var waited int64
	for _, c := range st.Waits {
		if c.UpTo == 0 || c.UpTo >= time.Second {
			waited += c.Requests
		}
	}
	assert.EqualValues(t, 1, waited, "%+v", st.Waits)
}

func TestAStrangerIsNotGivenARequest(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	s.until(cgi.ModeWarm, w, file)
	p := s.poolOf(s.request(w, file))
	path := filepath.Join(p.gen.dir, "s")
	info, err := os.Stat(p.gen.dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	var conns []net.Conn
	for range 4 { // two look like a worker: an error channel and a request connection
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		defer c.Close()
		conns = append(conns, c)
	}
	for range 20 {
		assert.Contains(t, s.ask(w, file).body, "hello")
	}
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		n, _ := c.Read(make([]byte, 10))
		assert.Zero(t, n)
	}
}

func TestAWarmParentThatDiesIsReplacedAndTakesNoAnswerWithIt(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nselect undef, undef, undef, $ENV{QUERY_STRING};\n"+body)
	s.until(cgi.ModeWarm, w, file, "QUERY_STRING=0")
	got := make(chan answer, 1)
	go func() { got <- s.do(context.Background(), s.request(w, file, "QUERY_STRING=0.3")) }()
	s.eventually("busy", func() bool { return s.status().Busy == 1 })
	require.NoError(t, syscall.Kill(s.status().Parent, syscall.SIGKILL))
	assert.Equal(t, "body", (<-got).body)
	s.eventually("broken", func() bool { return s.status().State != Ready || s.log.count("warm parent has ended") > 0 })
	assert.Equal(t, "body", s.ask(w, file, "QUERY_STRING=0").body, "spawned meanwhile")
	s.until(cgi.ModeWarm, w, file, "QUERY_STRING=0")

	// One that was good for a while is replaced at once.
	p := s.poolOf(s.request(w, file))
	p.mu.Lock()
	p.gen.readyAt = time.Now().Add(-2 * stableTime)
	parent := p.gen.pid()
	p.mu.Unlock()
	require.NoError(t, syscall.Kill(parent, syscall.SIGKILL))
	s.eventually("another parent", func() bool {
		st := s.status()
		assert.NotEqual(t, Broken, st.State)
		return st.State == Ready && st.Parent != parent
	})
	assert.EqualValues(t, 1, s.status().Demotions["ended"])
}

func TestAShutdownEndsWhatRuns(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nsleep 60 if $ENV{QUERY_STRING};\n"+body)
	s.until(cgi.ModeWarm, w, file)
	got := make(chan answer, 1)
	go func() { got <- s.do(context.Background(), s.request(w, file, "QUERY_STRING=1")) }()
	s.eventually("busy", func() bool { return s.status().Busy == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.Close(ctx))
	a := <-got
	assert.Error(t, a.err)
	assert.Equal(t, cgi.ReasonShutdown, a.exit.Killed)
	assert.Equal(t, cgi.ModeSpawn, s.ask(w, file).mode, "what comes later is spawned")
}

func TestAWarmParentThatDoesNotEndIsKilled(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	s.until(cgi.ModeWarm, w, file)
	p := s.poolOf(s.request(w, file))
	parent := s.status().Parent
	require.NoError(t, syscall.Kill(parent, syscall.SIGSTOP))
	s.write("a.pl", hello+"print ' again';")
	assert.Contains(t, s.ask(w, file).body, "again")
	p.mu.Lock()
	for g := range p.old {
		g.neededAt = time.Now().Add(-2 * stuckTime)
	}
	p.mu.Unlock()
	s.eventually("it has ended", func() bool { return syscall.Kill(parent, 0) == syscall.ESRCH })
}

func TestAScriptThatEndsItselfByASignalIsNotTroubleAndNotAskedTwice(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nif ($ENV{QUERY_STRING}) { open my $f, '>>', $ENV{QUERY_STRING}; print $f 'x'; close $f; kill ALRM => $$; sleep 60 }\n"+body)
	s.until(cgi.ModeWarm, w, file)
	count := filepath.Join(s.dir, "count")
	for range 2 * maxTrouble {
		a := s.do(t.Context(), s.request(w, file, "QUERY_STRING="+count))
		assert.ErrorIs(t, a.err, cgi.ErrNoOutput)
		assert.Equal(t, "SIGALRM", a.exit.Signal)
	}
	info, err := os.Stat(count)
	require.NoError(t, err)
	assert.EqualValues(t, 2*maxTrouble, info.Size())
	assert.Equal(t, cgi.ModeWarm, s.ask(w, file).mode)
}

func TestAScriptWhoseWorkersCrashInTheMiddleOfTheirAnswersIsDemoted(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\n$| = 1;\n"+body+"kill SEGV => $$ if $ENV{QUERY_STRING};\n")
	s.until(cgi.ModeWarm, w, file)
	s.eventually("spawn", func() bool {
		a := s.do(t.Context(), s.request(w, file, "QUERY_STRING=1"))
		assert.ErrorIs(t, a.err, cgi.ErrTruncated)
		return strings.Contains(s.log.String(), "from=warm to=spawn")
	})
	assert.Contains(t, s.status().Why, "SIGSEGV")
}
