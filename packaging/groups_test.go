//go:build linux

package packaging

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/umltest"
)

const groupsScript = `#!/usr/bin/perl
my $q = $ENV{QUERY_STRING};
my @held;
if ($q eq 'memory') { push @held, 'x' x (1 << 20) for 1 .. 200 }
if ($q =~ /daemon=(\d+)/) { unless (fork) { require POSIX; POSIX::setsid(); close $_ for *STDIN, *STDOUT, *STDERR; exec 'sleep', $1 } }
open my $g, '<', '/proc/self/cgroup';
print "Content-Type: text/plain\n\n", <$g>;
`

// The machines of the other tests have this one's kernel, which may have control groups of version 1 only. This one has
// a kernel of its own: user-mode Linux, in a folder. That the drop-in is what the gateway needs can be seen there.
func TestTheExampleForLimitsOfAScriptsProcessesWorksUnderSystemd(t *testing.T) {
	needs(t, "mmdebstrap", "mmdebstrap")
	needs(t, "linux.uml", "user-mode-linux")
	needs(t, "gcc", "gcc")
	if os.Geteuid() != 0 {
		missing(t, "only root can make a machine")
	}
	base := must[string](t)(cleanRoot())
	root := filepath.Join(scratch, "groups")
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(root)) })
	output(t, "cp", "-a", base, root)
	write := func(name, text string, mode os.FileMode) {
		name = filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), mode))
	}
	write("package.deb", string(must[[]byte](t)(os.ReadFile(must[string](t)(newPackage())))), 0o644)
	output(t, "chroot", root, "sh", "-c", "dpkg -i /package.deb && systemctl enable warmcgi 2>/dev/null; mkdir -p /trial /etc/systemd/system/warmcgi.service.d"+
		" && cp /usr/share/doc/warmcgi/examples/groups.conf /etc/systemd/system/warmcgi.service.d/")
	write("usr/lib/cgi-bin/use.pl", groupsScript, 0o755)
	write("etc/warmcgi/gateway.yaml", `listen: [{http: "127.0.0.1:8080"}]
admin: 127.0.0.1:9180
routes:
  - {path: /cgi-bin/, cgi: {dir: /usr/lib/cgi-bin}, mode: spawn, limits: {script: {memory: 32MiB, processes: 50, processors: 1}}}
`, 0o644)
	// In a folder of another machine only root can write to /tmp.
	write("etc/systemd/system/warmcgi.service.d/tmp.conf", "[Service]\nRuntimeDirectory=warmcgi-tmp\nEnvironment=TMPDIR=/run/warmcgi-tmp\n", 0o644)
	write("trial.sh", string(must[[]byte](t)(os.ReadFile("testdata/groups.sh"))), 0o755)
	write("etc/systemd/system/trial.service", `[Unit]
After=warmcgi.service
[Service]
Type=oneshot
ExecStart=/trial.sh
ExecStopPost=/bin/sh -c 'sync; echo o >/proc/sysrq-trigger'
`, 0o644)
	wants := filepath.Join(root, "etc/systemd/system/multi-user.target.wants")
	require.NoError(t, os.MkdirAll(wants, 0o755))
	require.NoError(t, os.Symlink("/etc/systemd/system/trial.service", filepath.Join(wants, "trial.service")))

	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd, err := umltest.Command(ctx, t.TempDir(), root, "rw", "init=/lib/systemd/systemd")
	require.NoError(t, err)
	out, err := cmd.CombinedOutput()
	of := func(name string) string {
		b, err := os.ReadFile(filepath.Join(root, "trial", name))
		assert.NoError(t, err)
		return strings.TrimSpace(string(b))
	}
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the machine's console:\n%s\nthe journal:\n%s", out, of("journal"))
		}
	})

	const group = `^0::/system.slice/warmcgi.service/warmcgi-\d+/1-use.pl/\d+$`
	for _, name := range []string{"first", "again", "daemon", "reloaded", "upgraded", "restarted", "another"} {
		assert.Equal(t, "200", of(name+".status"), name)
		assert.Regexp(t, group, of(name), name)
	}
	assert.Equal(t, "502", of("memory.status"))
	assert.Contains(t, of("journal"), "script was ended by a limit")
	assert.NotContains(t, of("journal"), "is not kept")
	assert.Equal(t, "1", of("daemons"))
	assert.Contains(t, of("upgrade"), "has taken over")
	assert.Contains(t, of("upgraded"), "/warmcgi-"+of("upgraded-pid")+"/")
	assert.NotContains(t, of("status"), "is not kept")
	assert.Contains(t, of("restarted"), "/warmcgi-"+of("restarted-pid")+"/")
	assert.NotContains(t, of("restarted-tree"), "warmcgi-"+of("upgraded-pid"))
	assert.Equal(t, "0", of("restarted-daemons"))
	assert.Equal(t, "0", of("stopped-daemons"))
	assert.Equal(t, "1", of("stopped-group"), "nothing is left of the service")
}
