package cgi

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/confine"
)

// stranger is a user whom no system has, so that nothing else runs as it.
var stranger = &confine.User{Name: "stranger", UID: 61234, GID: 61235, Groups: []uint32{61236, 61237}}

// harmless are limits that nothing here comes near, and that make the shim start the script.
var harmless = confine.Limits{CPU: time.Hour}

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

// openDir is a temporary folder that everybody may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	return dir
}

// sh prepares a request for a shell script in a folder that everybody may enter.
func (s *testSpawn) sh(t *testing.T, r *confine.Rules, text string) *call {
	t.Helper()
	file := filepath.Join(openDir(t), "script")
	writeScript(t, file, "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n"+text)
	return s.callFile(file).with(func(c *call) { c.Confine = r })
}

func writeScript(t *testing.T, file, text string) {
	t.Helper()
	// A child that is forked meanwhile would hold the file open for writing: "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	require.NoError(t, os.WriteFile(file, []byte(text), 0o755))
}

// bothWays runs a test with the user alone, and through the shim.
func bothWays(t *testing.T, do func(t *testing.T, r *confine.Rules)) {
	t.Helper()
	needsRoot(t)
	t.Run("user", func(t *testing.T) { do(t, confine.New(stranger, confine.Limits{})) })
	t.Run("user and limits", func(t *testing.T) { do(t, confine.New(stranger, harmless)) })
}

func TestAScriptRunsAsItsUserWithItsGroups(t *testing.T) {
	bothWays(t, func(t *testing.T, r *confine.Rules) {
		c := newSpawn(t).sh(t, r, `id -u; id -ru; id -g; id -rg; id -G; grep -E '^(CapPrm|CapEff|CapAmb|Uid|Gid)' /proc/self/status; echo made > "$0.made"`)
		require.NoError(t, os.Chmod(filepath.Dir(c.Script.File), 0o777))
		none := "0000000000000000"
		assert.Equal(t, "61234\n61234\n61235\n61235\n61235 61236 61237\nUid:\t61234\t61234\t61234\t61234\nGid:\t61235\t61235\t61235\t61235\n"+
			"CapPrm:\t"+none+"\nCapEff:\t"+none+"\nCapAmb:\t"+none+"\n", c.mustAnswer())
		var st syscall.Stat_t
		require.NoError(t, syscall.Stat(c.Script.File+".made", &st))
		assert.Equal(t, []uint32{61234, 61235}, []uint32{st.Uid, st.Gid})
	})
}

func TestAScriptCannotBecomeRootAgain(t *testing.T) {
	bothWays(t, func(t *testing.T, r *confine.Rules) {
		c := newSpawn(t).sh(t, r, `
exec perl -MPOSIX -e '
	print "setuid\n" if POSIX::setuid(0); print "setgid\n" if POSIX::setgid(0);
	$> = 0; $< = 0; $) = "0 0"; $( = 0;
	print "$> $< ", $)+0, " ", $(+0, "\n";
	print "reads\n" if open my $f, "<", "/etc/shadow";
	print "kills\n" if kill 0, getppid'`)
		assert.Equal(t, "61234 61234 61235 61235\n", c.mustAnswer())
	})
}

func TestAScriptInAFolderOfItsUsersRuns(t *testing.T) {
	bothWays(t, func(t *testing.T, r *confine.Rules) {
		c := newSpawn(t).sh(t, r, "pwd; head -n 1 $0")
		dir := filepath.Dir(c.Script.File)
		require.NoError(t, os.Chown(dir, 61234, 61235))
		require.NoError(t, os.Chmod(dir, 0o700))
		require.NoError(t, os.Chown(c.Script.File, 61234, 61235))
		require.NoError(t, os.Chmod(c.Script.File, 0o500))
		assert.Equal(t, dir+"\n#!/bin/sh\n", c.mustAnswer())
	})
}

func TestAScriptThatItsUserMayNotRunIsNotRunByAnyoneElse(t *testing.T) {
	bothWays(t, func(t *testing.T, r *confine.Rules) {
		s := newSpawn(t)
		for name, forbid := range map[string]func(file string){
			"the file":   func(file string) { os.Chmod(file, 0o700) },
			"its folder": func(file string) { os.Chmod(filepath.Dir(file), 0o700) },
		} {
			c := s.sh(t, r, "id -u")
			forbid(c.Script.File)
			body, err := c.answer()
			assert.Empty(t, body, name)
			assert.ErrorIs(t, err, ErrStart, name)
			assert.ErrorIs(t, err, syscall.EACCES, name)
			assert.ErrorContains(t, err, "by user stranger", name)
			assert.False(t, c.wait().Started, name)
		}
	})
}

// What is said of a script that can't be started does not depend on how it is started.
func TestErrorsOfTheStartAreTheSameThroughTheShim(t *testing.T) {
	s := newSpawn(t)
	dir := openDir(t)
	script := func(name, text string, mode os.FileMode) Script {
		file := filepath.Join(dir, name)
		writeScript(t, file, text)
		require.NoError(t, os.Chmod(file, mode))
		return Script{Name: "/x", File: file}
	}
	for name, sc := range map[string]Script{
		"no such file":     {Name: "/x", File: filepath.Join(dir, "none")},
		"no interpreter":   script("interpreter", "#!/no/such/interpreter\n", 0o755),
		"CRLF":             script("crlf", "#!/bin/sh\r\n", 0o755),
		"no execute bit":   script("plain", "#!/bin/sh\n", 0o644),
		"no #! line":       script("text", "echo\n", 0o755),
		"no such folder":   {Name: "/x", File: "/bin/true", Dir: "/no/such/folder"},
		"a folder":         {Name: "/x", File: dir},
		"no program":       {Name: "/x", File: "/bin/true", Interpreter: "/no/such"},
		"too long":         {Name: "/x", File: "/bin/true", Args: []string{strings.Repeat("x", 1<<20)}},
		"a name of octets": {Name: "/x", File: filepath.Join(dir, "\xff\xfe")},
	} {
		var got []string
		for _, l := range []confine.Limits{{}, harmless} {
			c := s.callFile("")
			c.Script, c.Confine = sc, confine.New(nil, l)
			_, err := c.try()
			require.ErrorIs(t, err, ErrStart, name)
			assert.False(t, c.wait().Started, name)
			got = append(got, err.Error())
		}
		assert.Equal(t, got[0], got[1], name)
	}
}

var numbers = regexp.MustCompile(`[0-9]+`)

// The same script, through the shim: what else could it see?
func TestAScriptCannotTellThatTheShimWasThere(t *testing.T) {
	s := newSpawn(t)
	var got [][]string
	for _, l := range []confine.Limits{{}, {CPU: time.Hour, Memory: 1 << 40}} {
		c := s.call(hello, "env", "args")
		c.Env = append(c.Env, "BYTES=\xff\x80\x01 \u00e9", "GODEBUG=x=1", "PATH=/bin")
		c.Script.Args = []string{"a b", "\xfe", ""}
		c.Confine = confine.New(nil, l)
		got = append(got, []string{c.mustAnswer(), s.call(hello, "state").with(func(c *call) { c.Confine = confine.New(nil, l) }).mustAnswer()})
	}
	assert.Equal(t, got[0][0], got[1][0])
	pids := func(s string) string { return numbers.ReplaceAllString(s, "N") }
	assert.Equal(t, pids(got[0][1]), pids(got[1][1]))
}

func TestLimitsHoldFromTheFirstInstruction(t *testing.T) {
	r := confine.New(nil, confine.Limits{Memory: 512 << 20, CPU: 30 * time.Second, Processes: 1 << 15, Files: 256, FileSize: 1 << 30, Core: confine.Core{Set: true}})
	c := newSpawn(t).sh(t, r, "cat /proc/self/limits")
	c.Script.Interpreter = ""
	limits := c.mustAnswer()
	for name, want := range map[string][2]string{
		"Max address space":  {"536870912", "536870912"},
		"Max cpu time":       {"30", "31"}, // first SIGXCPU, then SIGKILL
		"Max processes":      {"32768", "32768"},
		"Max open files":     {"256", "256"},
		"Max file size":      {"1073741824", "1073741824"},
		"Max core file size": {"0", "0"},
	} {
		assert.Regexp(t, fmt.Sprintf(`(?m)^%s +%s +%s `, name, want[0], want[1]), limits)
	}
}

// Go raises its own limit of open files. A script must not have that, limits or not.
func TestWithoutALimitOfFilesTheGatewaysOwnIsLeft(t *testing.T) {
	s := newSpawn(t)
	ask := func(l confine.Limits) string {
		return s.sh(t, confine.New(nil, l), "ulimit -Sn; ulimit -Hn; ulimit -v").mustAnswer()
	}
	assert.Equal(t, ask(confine.Limits{}), ask(harmless))
}

func TestAScriptOverALimitIsEndedAndTheLimitIsNamed(t *testing.T) {
	s := newSpawn(t)
	for name, c := range map[string]struct {
		limits confine.Limits
		text   string
		exit   Exit
		says   string
	}{
		"cpu":                  {confine.Limits{CPU: time.Second}, "exec perl -e '1 while 1'", Exit{Code: -1, Signal: "SIGXCPU", Limit: "cpu"}, "over a limit: died of SIGXCPU, as the route has cpu 1s"},
		"cpu, and a deaf ear":  {confine.Limits{CPU: time.Second}, "exec perl -e '$SIG{XCPU}=sub{}; 1 while 1'", Exit{Code: -1, Signal: "SIGKILL", Limit: "cpu"}, "over a limit: died of SIGKILL"},
		"file_size":            {confine.Limits{FileSize: 5000}, `exec perl -e 'open F, ">", "big"; syswrite F, "x" x 4000; syswrite F, "x" x 4000;  syswrite F, "x"'`, Exit{Code: -1, Signal: "SIGXFSZ", Limit: "file_size"}, "over a limit: died of SIGXFSZ, as the route has file_size 5000B"},
		"file_size of a child": {confine.Limits{FileSize: 5000}, `head -c 9000 /dev/zero > big; exit $?`, Exit{Code: 128 + 25, Limit: "file_size"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c1 := s.sh(t, confine.New(nil, c.limits), c.text)
			_, err := c1.answer()
			e := c1.wait()
			assert.Equal(t, c.exit, Exit{Code: e.Code, Signal: e.Signal, Limit: e.Limit})
			if c.says == "" {
				assert.NoError(t, err, "a shell that goes on has answered")
				return
			}
			assert.ErrorIs(t, err, ErrTruncated)
			assert.ErrorIs(t, err, ErrLimit)
			assert.ErrorContains(t, err, c.says)
			// Before the first octet it is another kind of error.
			c2 := s.callFile("/bin/sh", "-c", strings.ReplaceAll(c.text, `"big"`, `"/dev/shm/warmcgi-test-big"`))
			c2.Confine = confine.New(nil, c.limits)
			_, err = c2.answer()
			os.Remove("/dev/shm/warmcgi-test-big")
			assert.ErrorIs(t, err, ErrNoOutput)
			assert.ErrorIs(t, err, ErrLimit)
		})
	}
}

func TestWhatIsOverOtherLimitsFails(t *testing.T) {
	s := newSpawn(t)
	c := s.sh(t, confine.New(nil, confine.Limits{Memory: 64 << 20}), `exec perl -e '$x = "x" x (100 << 20); print "got it"'`)
	body, _ := c.answer()
	assert.Empty(t, body)
	assert.NotZero(t, c.wait().Code)
	assert.Contains(t, strings.Join(s.stderrOf(c), "\n"), "Out of memory")

	c = s.sh(t, confine.New(nil, confine.Limits{Files: 16}), `exec perl -e 'while (open my $f, "<", "/dev/null") { push @f, $f } print scalar(@f), " $!\n"'`)
	assert.Equal(t, "13 Too many open files\n", c.mustAnswer(), "besides 0, 1 and 2")
}

func TestAUserHasNoMoreProcessesThanTheLimit(t *testing.T) {
	needsRoot(t)
	s := newSpawn(t)
	few := confine.New(&confine.User{Name: "few", UID: 61299, GID: 61299}, confine.Limits{Processes: 3})
	first := s.sh(t, few, `exec perl -e '$| = 1; while (defined($p = fork)) { sleep 60, exit if !$p; push @p, $p } print scalar(@p), " $!\n"; <STDIN>'`)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	first.Body, first.Length = r, 1
	res := first.start()
	assert.Equal(t, "2 Resource temporarily unavailable", readLine(t, res.Body))

	second := s.sh(t, few, "echo runs")
	_, err = second.answer()
	assert.ErrorIs(t, err, ErrStart)
	assert.ErrorContains(t, err, "its user has as many as the limit allows: processes 3")
	other := confine.New(&confine.User{Name: "other", UID: 61298, GID: 61299}, confine.Limits{Processes: 3})
	assert.Equal(t, "runs\n", s.sh(t, other, "echo runs").mustAnswer(), "it is another user's")

	w.Close()
	first.Timeout.Grace = 0
	res.Body.Close()
	first.wait()
	assert.Equal(t, "runs\n", s.sh(t, few, "echo runs").mustAnswer(), "when they have gone")
}

func TestALimitOfOneProcessIsEnoughForAScriptThatStartsNone(t *testing.T) {
	needsRoot(t)
	one := confine.New(&confine.User{Name: "one", UID: 61297, GID: 61297}, confine.Limits{Processes: 1})
	assert.Equal(t, "runs\n", newSpawn(t).sh(t, one, "echo runs").mustAnswer(), "the shim's threads do not count")
}

func TestWithoutAShimAScriptWithLimitsIsNotRunWithoutThem(t *testing.T) {
	s := newSpawn(t)
	s.shim = nil
	_, err := s.call(helloWorld).with(func(c *call) { c.Confine = confine.New(nil, harmless) }).answer()
	assert.ErrorIs(t, err, ErrStart)
	s.shim = []string{"/no/such/shim"}
	_, err = s.call(helloWorld).with(func(c *call) { c.Confine = confine.New(nil, harmless) }).answer()
	assert.ErrorIs(t, err, ErrStart)
	assert.ErrorContains(t, err, "shim: no such file")
}

func TestATimeOutEndsAScriptOfAnotherUser(t *testing.T) {
	bothWays(t, func(t *testing.T, r *confine.Rules) {
		c := newSpawn(t).sh(t, r, "sleep 60 & sleep 60; wait")
		c.Timeout.Total, c.Timeout.Grace = 300*time.Millisecond, 100*time.Millisecond
		_, err := c.answer()
		assert.ErrorIs(t, err, ErrTimeout)
		assert.Equal(t, ReasonTotal, c.wait().Killed)
	})
}
