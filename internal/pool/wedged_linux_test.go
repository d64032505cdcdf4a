package pool

import (
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
