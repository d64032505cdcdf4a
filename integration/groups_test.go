//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	serving "warmcgi/internal/gateway"
	"warmcgi/internal/umltest"
)

// useScript takes what it is told to: ?memory=MIB, fork=PROCESSES, busy=SECONDS, sleep=SECONDS, daemon=SECONDS, lift.
const useScript = `#!/usr/bin/perl
my %q = map { split /=/, $_ . '=', 2 } split /&/, $ENV{QUERY_STRING};
my ($n, @held) = 0;
push @held, 'x' x (1 << 20) for 1 .. $q{memory};
for (1 .. $q{fork}) { my $pid = fork; last unless defined $pid; if (!$pid) { sleep 1; exit } $n++ }
if ($q{busy}) { 1 while (times)[0] < $q{busy} / 10 }
if ($q{daemon}) { unless (fork) { require POSIX; POSIX::setsid(); close $_ for *STDIN, *STDOUT, *STDERR; exec 'sleep', $q{daemon} + 0 } }
sleep $q{sleep} if $q{sleep};
open my $g, '<', '/proc/self/cgroup';
my ($group) = <$g> =~ /^0::(.*)/;
my $lifted = '';
if (exists $q{lift}) {
	my $script = $group =~ s!/\d+$!!r;
	$lifted = join ' ', '', map { open(my $f, '>', "/sys/fs/cgroup$script/$_") ? "$_ is open" : $! } 'memory.max', 'cgroup.procs';
}
print "Content-Type: text/plain\n\n$n$lifted 0::$group\n";
`

const groupsYAML = `
listen: [{http: "127.0.0.1:8080"}]
admin: 127.0.0.1:8081
log: {access: {format: "off"}}
routes:
  - {path: /spawn/, cgi: {dir: cgi}, mode: spawn, timeout: {total: 10s, grace: 1s}, limits: {script: {memory: 32MiB, processes: 12, processors: 0.5}}}
  - {path: /one/, cgi: {dir: cgi}, mode: spawn, limits: {script: {processes: 1}}}
  - {path: /nobody/, cgi: {dir: cgi}, mode: spawn, user: nobody, limits: {script: {memory: 32MiB}}}
  - {path: /warm/, cgi: {dir: cgi}, mode: warm, limits: {script: {memory: 48MiB, processes: 12}}}
  - {path: /reuse/, cgi: {dir: cgi}, mode: reuse, limits: {script: {memory: 48MiB, processes: 12}}}
`

// The machine that the tests run on may have no control groups of version 2, or not hand them over. So one is booted that does: user-mode
// Linux, with this machine's files.
func TestTheProcessesOfAScriptAreHeldToLimitsTogether(t *testing.T) {
	needsRoot(t)
	needs(t, "perl", "curl", "ip", "gcc", "linux.uml")
	dir := tempDir(t)
	binary, err := plainGateway()
	require.NoError(t, err)
	writeFile(t, filepath.Join(dir, "gateway"), readFile(t, binary), 0o755)
	writeFile(t, filepath.Join(dir, "cgi", "use.pl"), useScript, 0o755)
	writeFile(t, filepath.Join(dir, "gateway.yaml"), groupsYAML, 0o644)
	init, err := filepath.Abs("testdata/groups.sh")
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd, err := umltest.Command(ctx, t.TempDir(), "/", "ro", "init="+init, "DIR="+dir, "quiet")
	require.NoError(t, err)
	out, err := cmd.CombinedOutput()
	t.Logf("the machine:\n%s", out)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, log := range []string{"none", "crowded", "main", "again"} {
				t.Logf("%s.log:\n%s", log, readFile(t, filepath.Join(dir, log+".log")))
			}
		}
	})

	of := func(name string) string { return strings.TrimSpace(readFile(t, filepath.Join(dir, name))) }
	statusOf := func(name string) (s serving.Status) {
		require.NoError(t, json.Unmarshal([]byte(of(name)), &s))
		return s
	}
	answers := func(t *testing.T, name, pattern string) {
		t.Helper()
		assert.Equal(t, "200", of(name+".status"), name)
		assert.Regexp(t, pattern, of(name))
	}
	log := of("main.log")

	t.Run("where nothing is handed over", func(t *testing.T) {
		answers(t, "none-asked", `^0 0::/service$`)
		s := statusOf("none-status").Groups
		require.NotNil(t, s)
		assert.Empty(t, s.Folder)
		for _, limit := range []string{"script.memory", "script.processes", "script.processors"} {
			assert.Regexp(t, `/sys/fs/cgroup/service has no (memory|pids|cpu) controller`, s.NotKept[limit], limit)
		}
		assert.Regexp(t, `routes\[0\]\.limits\.script\.memory: is not kept: .* has no memory controller`, of("none.log"))
		assert.Regexp(t, `(?m)^the limit script\.memory is not kept: .* has no memory controller`, of("none-text"))
	})
	t.Run("where somebody else is in the group", func(t *testing.T) {
		answers(t, "crowded-asked", `^0 0::/service$`)
		assert.Equal(t, "0::/service", of("crowded-own"), "the gateway is where it was")
		assert.Contains(t, statusOf("crowded-status").Groups.NotKept["script.memory"], "other processes are in the gateway's group")
		assert.Regexp(t, `a limit is not kept" route=/spawn/ limit=script.memory why=.*other processes`, of("crowded.log"))
	})
	t.Run("mode spawn", func(t *testing.T) {
		answers(t, "spawn", `^0 0::/service/warmcgi-\d+/1-use.pl/\d+$`)
		assert.Equal(t, "502", of("spawn-memory.status"))
		answers(t, "spawn-again", `^0 `)
		assert.Regexp(t, `script was ended by a limit" .*script=/spawn/use.pl mode=spawn .*limit=script.memory signal=SIGKILL`, log)
		assert.Regexp(t, `why=limit .*/spawn/.*over a limit: died of SIGKILL, as the route has script.memory 32MiB`, log)
		answers(t, "spawn-fork", `^11 `)
		assert.Regexp(t, `the processes of a script have met a limit" .*script=/spawn/use.pl limit="script.processes 12"`, log)
		answers(t, "spawn-busy", `^0 `)
		cpu := of("spawn-cpu")
		assert.Regexp(t, `^50000 100000\n`, cpu)
		assert.NotRegexp(t, `nr_throttled 0\n`, cpu)
		assert.Equal(t, "504", of("spawn-late.status"))
		assert.Equal(t, "0", of("spawn-late-daemons"), "a request that is ended takes its daemons with it")
		answers(t, "spawn-daemon", `^0 `)
		assert.Equal(t, "1", of("spawn-daemons"), "one that has ended by itself leaves them")
	})
	t.Run("a process that would be too many", func(t *testing.T) {
		answers(t, "one-first", `^0 `)
		assert.Equal(t, "502", of("one-second.status"))
		answers(t, "one-third", `^0 `)
		assert.Regexp(t, `why=limit .*/one/use.pl.*over a limit: .*as many processes as the limit allows: script.processes 1\b`, log)
	})
	t.Run("another user can't lift them", func(t *testing.T) {
		answers(t, "nobody", `^0 Permission denied Permission denied 0::/service/warmcgi-\d+/\d+-use.pl/\d+$`)
		assert.Equal(t, "502", of("nobody-memory.status"))
	})
	for _, mode := range []string{"warm", "reuse"} {
		t.Run("mode "+mode, func(t *testing.T) {
			answers(t, mode, `^0 0::/service/warmcgi-\d+/\d+-use.pl$`)
			assert.Equal(t, "502", of(mode+"-memory.status"))
			answers(t, mode+"-again", `^0 .*use.pl$`)
			assert.Regexp(t, `script was ended by a limit" .*script=/`+mode+`/use.pl mode=`+mode+` .*limit=script.memory signal=SIGKILL`, log)
			answers(t, mode+"-fork", `^[1-9] `)
			assert.Regexp(t, `met a limit" .*script=/`+mode+`/use.pl limit="script.processes 12"`, log)
			before, after := statusOf(mode+"-status"), statusOf(mode+"-status-again")
			assert.Equal(t, parentOf(t, before, mode), parentOf(t, after, mode), "the warm parent goes on")
			for _, g := range after.Groups.Groups {
				if strings.Contains(g.Limits, "48MiB") && g.Killed > 0 {
					assert.Positive(t, g.Memory)
					assert.Positive(t, g.Processes)
				}
			}
		})
	}
	t.Run("what is counted and told", func(t *testing.T) {
		for _, route := range []string{"spawn", "nobody", "warm", "reuse"} {
			assert.Regexp(t, `warmcgi_limit_ends_total\{limit="script.memory",route="/`+route+`/"\} 1\b`, of("main-metrics"))
		}
		assert.Regexp(t, `warmcgi_limit_ends_total\{limit="script.processes",route="/spawn/"\} [1-9]`, of("main-metrics"))
		assert.Regexp(t, `(?m)^/.*/use.pl has met its limits \(script.memory 32MiB, script.processes 12, script.processors 0.5\): 1 ended for want of memory, [1-9]\d* not started$`, of("main-text"))
	})
	t.Run("a reload, an upgrade, a crash and an end", func(t *testing.T) {
		assert.Equal(t, "67108864", of("reloaded-memory"))
		answers(t, "upgraded", `^0 0::/service/warmcgi-`+of("upgraded-pid")+`/\d+-use.pl$`)
		others := regexp.MustCompile(`(?m)^\./warmcgi-(\d+)$`)
		for name, pid := range map[string]string{"upgraded-tree": of("upgraded-pid"), "again-tree": of("again-pid")} {
			for _, m := range others.FindAllStringSubmatch(of(name), -1) {
				assert.Equal(t, pid, m[1], "%s has nothing of others", name)
			}
		}
		assert.Equal(t, "1", of("killed-daemons"))
		assert.Equal(t, "0", of("again-daemons"), "the next gateway ends what one that was killed has left")
		answers(t, "again-asked", `^0 0::/service/warmcgi-`+of("again-pid")+`/`)
		assert.Equal(t, "0", of("end-daemons"))
		assert.Equal(t, "./warmcgi", of("end-tree"))
		assert.NotContains(t, of("end-processes"), "use.pl")
	})
}

func parentOf(t *testing.T, s serving.Status, mode string) int {
	t.Helper()
	for _, script := range s.Scripts {
		if script.Script == "/"+mode+"/use.pl" {
			return script.Parent
		}
	}
	require.Fail(t, "the script is not there", mode)
	return 0
}
