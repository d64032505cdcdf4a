package pool

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
	"warmcgi/internal/confine"
)

// stranger is a user whom no system has, so that nothing else runs as it.
var stranger = &confine.User{Name: "stranger", UID: 61244, GID: 61245, Groups: []uint32{61246, 61247}}

// needsRoot skips a test that must become another user; where all tests have to run it fails.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test needs root")
	}
	t.Skip("needs root")
}

// openSite is a site whose scripts everybody may run. Mode spawn has the shim, too.
func openSite(t *testing.T) *site {
	t.Helper()
	var spawn *cgi.Spawn
	s := newSite(t, func(c *Config) {
		var err error
		spawn, err = cgi.NewSpawn(cgi.SpawnConfig{Log: c.Log, Shim: c.Shim})
		require.NoError(t, err)
		c.Spawn.(*cgi.Spawn).Close(t.Context())
		c.Spawn = spawn
	})
	t.Cleanup(func() { spawn.Close(context.Background()) })
	for d := s.dir; d != os.TempDir(); d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	return s
}

// confined is a site's requests under rules.
type confined struct {
	*site
	r *confine.Rules
	w *cgi.Workers
}

func (c confined) do(file string, vars ...string) answer {
	req := c.request(c.w, file, vars...)
	req.Confine = c.r
	return c.site.do(context.Background(), req)
}

// until asks until the script answers in the mode wanted.
func (c confined) until(file string, vars ...string) answer {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if a := c.do(file, vars...); a.mode == c.w.Mode {
			return a
		}
	}
	require.Fail(c.t, "not answered in mode "+string(c.w.Mode), "%+v\n%s", c.Status(), c.log)
	return answer{}
}

const head = "Content-Type: text/plain\\n\\n"

// who tells of the process that runs it, in three languages.
var who = map[string]string{
	"who.pl": "#!/usr/bin/perl\nprint \"" + head + "\";\n" +
		`print "$< $> $( $)\n"; open my $f, '<', '/proc/self/limits'; print <$f>; open $f, '<', '/proc/self/status'; print grep /^(?:Cap|Uid|Gid|Groups)/, <$f>;` +
		"\n$< = 0; $> = 0; print \"$< $>\\n\"; print 'shadow' if open my $s, '<', '/etc/shadow'; print getpgrp == $$ ? 'group' : 'no group';\n",
	"who.py": "#!/usr/bin/python3\nimport os\nprint(\"" + head + "\", end='')\n" + `
print(os.getresuid(), os.getresgid(), os.getgroups(), open('/proc/self/limits').read())
print([l for l in open('/proc/self/status') if l.startswith('Cap')])
for call in (os.setuid, os.seteuid, os.setgid, os.setegid):
    try:
        call(0)
        print('became root')
    except PermissionError as e:
        print(e)
`,
	"who.rb": "#!/usr/bin/ruby\nprint \"" + head + "\"\n" + `
puts [Process.uid, Process.euid, Process.gid, Process.egid, Process.groups].inspect, File.read('/proc/self/limits')
puts File.readlines('/proc/self/status').grep(/^Cap/)
begin
  Process::UID.change_privilege(0)
  puts 'became root'
rescue Errno::EPERM => e
  puts e.class
end
`,
}

// bothModes runs a test in modes warm and reuse.
func bothModes(t *testing.T, do func(t *testing.T, w *cgi.Workers)) {
	t.Helper()
	for _, m := range []cgi.Mode{cgi.ModeWarm, cgi.ModeReuse} {
		t.Run(string(m), func(t *testing.T) { do(t, settings(m)) })
	}
}

func TestAWorkerIsTheUserAndHasTheLimitsThatASpawnedScriptHas(t *testing.T) {
	needsRoot(t)
	limits := confine.Limits{Memory: 1 << 30, CPU: 30 * time.Second, Processes: 64, Files: 200, FileSize: 1 << 30}
	bothModes(t, func(t *testing.T, w *cgi.Workers) {
		s := openSite(t)
		for name, text := range who {
			c := confined{s, confine.New(stranger, limits), w}
			file := s.write(name, text)
			plain := confined{s, c.r, settings(cgi.ModeSpawn)}.do(file)
			require.NoError(t, plain.err)
			assert.Contains(t, plain.body, "61244")
			assert.Contains(t, plain.body, "61246")
			assert.Regexp(t, `CapEff:(\t|\\t)0000000000000000`, plain.body)
			assert.NotContains(t, plain.body, "became root")
			assert.NotContains(t, plain.body, "shadow")
			assert.Regexp(t, `Max cpu time +30 +31 `, plain.body)
			assert.Regexp(t, `Max processes +64 +64 `, plain.body)
			first := c.until(file)
			require.NoError(t, first.err)
			assert.Equal(t, plain.body, first.body, name)
			assert.Equal(t, plain.body, c.do(file).body, name)
		}
	})
}

func TestAFolderThatOnlyTheUserMayEnterIsNoHindrance(t *testing.T) {
	needsRoot(t)
	s := openSite(t)
	for name, text := range who {
		file := s.write(name, text)
		for _, path := range []string{file, s.dir} {
			require.NoError(t, os.Chown(path, 61244, 61245))
			require.NoError(t, os.Chmod(path, 0o500))
		}
		assert.NoError(t, confined{s, confine.New(stranger, confine.Limits{}), settings(cgi.ModeWarm)}.until(file).err)
	}
}

func TestAScriptThatItsUserMayNotReadIsNotReadByAnyoneElse(t *testing.T) {
	needsRoot(t)
	bothModes(t, func(t *testing.T, w *cgi.Workers) {
		for name, text := range who {
			s := openSite(t)
			c := confined{s, confine.New(stranger, confine.Limits{}), w}
			file := s.write(name, text)
			require.NoError(t, os.Chmod(file, 0o711))
			a := c.do(file)
			assert.NotContains(t, a.body, "Cap", name)
			s.reaches(Broken)
			s.eventually("the reason", func() bool {
				return regexp.MustCompile(`warm parent wrote.*[Pp]ermission denied|can't be warm.*[Pp]ermission denied`).MatchString(s.log.String())
			})
			assert.Equal(t, cgi.ModeSpawn, c.do(file).mode, name)
		}
	})
}

func TestOnlyTheUserCanReachTheScriptsSocket(t *testing.T) {
	needsRoot(t)
	s := openSite(t)
	c := confined{s, confine.New(stranger, confine.Limits{}), settings(cgi.ModeWarm)}
	file := s.write("a.pl", hello)
	c.until(file)
	req := c.request(c.w, file)
	req.Confine = c.r
	path := filepath.Join(s.poolOf(req).gen.dir, "s")

	connect := func(uid uint32) string {
		cmd := exec.Command("/usr/bin/perl", "-MSocket", "-e",
			`socket S, AF_UNIX, SOCK_STREAM, 0; print connect(S, pack_sockaddr_un(shift)) ? "connected " : "$! ";
			 print defined(sysread S, $b, 1) ? "end" : "answer" if fileno S; opendir D, shift or print " hidden"`, path, s.Set.dir.Path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: 61245}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err)
		return string(out)
	}
	assert.True(t, strings.HasPrefix(connect(61299), "Permission denied"), "another user")
	assert.Contains(t, connect(61299), "hidden")

	// What the user itself could do is to hang up on itself. A root process is no worker either.
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	conn.SetReadDeadline(time.Now().Add(patience))
	_, err = conn.Read(make([]byte, 1))
	assert.Error(t, err)
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it was hung up on at once")
	conn.Close()
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	for range 5 {
		assert.Contains(t, c.do(file).body, "hello")
	}
}

func TestAWorkerOverALimitIsNeitherAskedAgainNorDemoted(t *testing.T) {
	bothModes(t, func(t *testing.T, w *cgi.Workers) {
		s := openSite(t)
		c := confined{s, confine.New(nil, confine.Limits{FileSize: 8 << 20, CPU: time.Second}), w}
		count := filepath.Join(s.dir, "count")
		file := s.write("a.pl", fmt.Sprintf(`#!/usr/bin/perl
if ($ENV{QUERY_STRING}) { open my $c, '>>', '%s'; syswrite $c, 'x'; close $c }
if ($ENV{QUERY_STRING} eq 'file') { open my $f, '>', '%s.big'; syswrite $f, 'x' x (1 << 20) for 1 .. 10 }
if ($ENV{QUERY_STRING} eq 'cpu') { 1 while 1 }
`, count, count)+body)
		c.until(file)
		for range 2 * maxTrouble {
			a := c.do(file, "QUERY_STRING=file")
			assert.ErrorIs(t, a.err, cgi.ErrLimit)
			assert.Equal(t, []string{"SIGXFSZ", "file_size"}, []string{a.exit.Signal, a.exit.Limit})
			assert.Equal(t, w.Mode, a.mode)
		}
		a := c.do(file, "QUERY_STRING=cpu")
		assert.ErrorIs(t, a.err, cgi.ErrLimit)
		assert.Equal(t, []string{"SIGXCPU", "cpu"}, []string{a.exit.Signal, a.exit.Limit})
		assert.Equal(t, w.Mode, c.do(file).mode)
		st := s.status()
		assert.Equal(t, []any{Ready, w.Mode, ""}, []any{st.State, st.Mode, st.Why})
		info, err := os.Stat(count)
		require.NoError(t, err)
		assert.EqualValues(t, 2*maxTrouble+1, info.Size(), "each was run once")
	})
}

func TestAWarmParentThatHasUsedHalfOfItsProcessorTimeIsReplaced(t *testing.T) {
	s := openSite(t)
	c := confined{s, confine.New(nil, confine.Limits{CPU: 2 * time.Second}), settings(cgi.ModeWarm)}
	file := s.write("a.pl", "#!/usr/bin/perl\nBEGIN { 1 while (times)[0] + (times)[1] < 0.95 }\n"+body)
	c.until(file)
	first := s.status().Parent
	s.eventually("another warm parent", func() bool {
		a := c.do(file)
		require.NoError(t, a.err)
		require.Equal(t, cgi.ModeWarm, a.mode, s.status().Why)
		p := s.status().Parent
		return p != 0 && p != first
	})
	assert.Positive(t, s.log.count("a warm parent is made anew"))
}

func TestAScriptThatTakesMostOfItsProcessorTimeToLoadIsSpawned(t *testing.T) {
	s := openSite(t)
	c := confined{s, confine.New(nil, confine.Limits{CPU: time.Second}), settings(cgi.ModeWarm)}
	file := s.write("a.pl", "#!/usr/bin/perl\nBEGIN { 1 while (times)[0] + (times)[1] < 0.6 }\n"+body)
	require.NoError(t, c.do(file).err)
	assert.Contains(t, s.reaches(Unsafe).Why, "more than half of its processor time to be loaded (cpu 1s)")
}

func TestAReusedWorkerThatHasUsedHalfOfItsProcessorTimeIsReplaced(t *testing.T) {
	s := openSite(t)
	c := confined{s, confine.New(nil, confine.Limits{CPU: 2 * time.Second}), settings(cgi.ModeReuse)}
	c.w.Max = 1
	file := s.write("a.pl", "#!/usr/bin/perl\nmy $t = (times)[0] + (times)[1]; 1 while (times)[0] + (times)[1] < $t + $ENV{QUERY_STRING};\nprint \"Content-Type: text/plain\\n\\n$$\";\n")
	c.until(file, "QUERY_STRING=0")
	pids := map[string]bool{}
	for range 6 { // all of it is more than one process may have
		a := c.do(file, "QUERY_STRING=0.7")
		require.NoError(t, a.err)
		require.Equal(t, cgi.ModeReuse, a.mode)
		pids[a.body] = true
	}
	assert.GreaterOrEqual(t, len(pids), 3)
}

// The warm parent can't fork all the workers that are wanted at once.
func TestAUsersLimitOfProcessesMakesRequestsWait(t *testing.T) {
	needsRoot(t)
	for i, sc := range []struct{ name, text string }{
		{"a.pl", "#!/usr/bin/perl\nselect undef, undef, undef, 0.2;\n" + body},
		{"a.py", "#!/usr/bin/python3\nimport time\ntime.sleep(0.2)\nprint('Content-Type: text/plain\\n\\nbody', end='')\n"},
		{"a.rb", "#!/usr/bin/ruby\nsleep 0.2\nprint \"Content-Type: text/plain\\n\\nbody\"\n"},
	} {
		t.Run(sc.name, func(t *testing.T) {
			s := openSite(t)
			u := &confine.User{Name: "few", UID: 61290 + uint32(i), GID: 61290}
			c := confined{s, confine.New(u, confine.Limits{Processes: 4}), settings(cgi.ModeWarm)}
			file := s.write(sc.name, sc.text)
			a := c.until(file)
			require.NoError(t, a.err)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					a := c.do(file)
					assert.NoError(t, a.err)
					assert.Equal(t, []string{"body", "warm"}, []string{a.body, string(a.mode)})
				})
			}
			most := 0
			done := make(chan struct{})
			go func() {
				all.Wait()
				close(done)
			}()
			for waiting := true; waiting; {
				select {
				case <-done:
					waiting = false
				case <-time.After(5 * time.Millisecond):
					most = max(most, processesOf(u.UID))
				}
			}
			assert.LessOrEqual(t, most, 5) // those that exit as well
			assert.Equal(t, Ready, s.status().State)
		})
	}
}

func TestAScriptThatItsUserMayReadButNotExecuteIsNotMadeWarm(t *testing.T) {
	needsRoot(t)
	for _, limits := range []confine.Limits{{}, {Files: 200}} {
		s := openSite(t)
		c := confined{s, confine.New(stranger, limits), settings(cgi.ModeWarm)}
		file := s.write("a.pl", hello)
		require.NoError(t, os.Chmod(file, 0o744)) // root may
		assert.ErrorIs(t, c.do(file).err, syscall.EACCES)
		s.reaches(Broken)
		assert.Contains(t, s.status().Why, "user stranger may not execute script "+file)
		assert.ErrorIs(t, c.do(file).err, syscall.EACCES)
	}
}

func TestAWarmParentThatTheLimitOfProcessesRefusesNamesIt(t *testing.T) {
	needsRoot(t)
	s := openSite(t)
	u := &confine.User{Name: "one", UID: 61296, GID: 61290}
	other := exec.Command("sleep", "60")
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.UID, Gid: u.GID}}
	require.NoError(t, other.Start())
	defer func() {
		other.Process.Kill()
		other.Wait()
	}()
	c := confined{s, confine.New(u, confine.Limits{Processes: 1}), settings(cgi.ModeWarm)}
	file := s.write("a.pl", hello)
	assert.ErrorContains(t, c.do(file).err, "its user has as many as the limit allows: processes 1")
	s.eventually("it says why it is not warm", func() bool {
		return strings.Contains(s.status().Why, "(its user has as many as the limit allows: processes 1)")
	})
	assert.Equal(t, 1, strings.Count(s.status().Why, "limit allows"), "once")
}

// processesOf counts the threads of a user.
func processesOf(uid uint32) (n int) {
	tasks, _ := filepath.Glob("/proc/[0-9]*/task/*")
	for _, task := range tasks {
		var st syscall.Stat_t
		if syscall.Stat(task, &st) == nil && st.Uid == uid {
			n++
		}
	}
	return n
}

func TestAWorkerOfAnotherUserIsKilledLikeAnyOther(t *testing.T) {
	needsRoot(t)
	bothModes(t, func(t *testing.T, w *cgi.Workers) {
		s := openSite(t)
		c := confined{s, confine.New(stranger, confine.Limits{}), w}
		file := s.write("a.pl", "#!/usr/bin/perl\n$SIG{TERM} = 'IGNORE'; sleep 60 if $ENV{QUERY_STRING};\n"+body)
		c.until(file)
		req := c.request(w, file, "QUERY_STRING=1")
		req.Confine, req.Timeout.Total = c.r, 200*time.Millisecond
		a := s.do(t.Context(), req)
		assert.ErrorIs(t, a.err, cgi.ErrTimeout)
		assert.Equal(t, []string{cgi.ReasonTotal, "SIGKILL"}, []string{a.exit.Killed, a.exit.Signal})
	})
}

// A worker's code can write to the control socket that somebody else is a worker.
func TestAWarmParentThatLiesHasNobodyElseKilled(t *testing.T) {
	needsRoot(t)
	s := openSite(t)
	victim := exec.Command("sleep", "60")
	victim.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, victim.Start())
	pid := victim.Process.Pid
	c := confined{s, confine.New(stranger, confine.Limits{}), settings(cgi.ModeWarm)}
	file := s.write("a.pl", "#!/usr/bin/perl\nif ($ENV{QUERY_STRING}) { open my $c, '>&=', 3; syswrite $c, \"forked $ENV{QUERY_STRING}\\n\" }\n"+body)
	c.until(file)
	c.do(file, "QUERY_STRING="+strconv.Itoa(pid))
	req := c.request(c.w, file)
	req.Confine = c.r
	p := s.poolOf(req)
	s.eventually("it was named", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.gen != nil && p.gen.workers[pid] != nil
	})
	p.mu.Lock()
	g := p.gen
	g.workers[pid].state, g.workers[pid].since = leaving, time.Time{} // it is late
	p.mu.Unlock()
	p.tend(time.Now())
	g.killAll()
	time.Sleep(20 * time.Millisecond)
	assert.NoError(t, syscall.Kill(pid, 0))
	var ws syscall.WaitStatus
	got, _ := syscall.Wait4(pid, &ws, syscall.WNOHANG, nil)
	assert.Zero(t, got, "it lives")
	victim.Process.Kill()
	victim.Wait()
	p.mu.Lock()
	delete(g.workers, pid)
	p.mu.Unlock()
}
