//go:build linux

package packaging

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUnderSystemdAReloadOrAnUpgradeOfThePackageLosesNoRequest(t *testing.T) {
	m := machineWithScripts(t)
	m.write("/root/ask.sh", `while [ ! -e /root/stop ]; do
	[ "$(curl -sS -m 20 'http://127.0.0.1:8080/cgi-bin/who.pl?n' 2>&1)" = "www-data n" ] && echo ok || echo failed
done > /root/asked
`, 0o755)
	m.run("systemd-run --unit=ask sh /root/ask.sh")
	more := func() {
		t.Helper()
		m.await("[ $(grep -c ok /root/asked) -ge "+strconv.Itoa(strings.Count(m.read("/root/asked"), "ok")+20)+" ]", "")
	}
	more()
	for i, mode := range []string{"spawn", "warm"} {
		m.edit("/etc/warmcgi/gateway.yaml", "    symlinks: follow ", "    mode: "+mode+"\n    symlinks: follow ")
		m.run("systemctl reload warmcgi")
		m.await("gateway status --json", `"reloads":`+strconv.Itoa(i+1)+`,`)
		more()
		m.edit("/etc/warmcgi/gateway.yaml", "    mode: "+mode+"\n", "")
	}
	for range 3 {
		pid := m.run("systemctl show -p MainPID --value warmcgi")
		m.run("apt-get install -y --reinstall ./dist/warmcgi_" + newVersion + "_*.deb")
		assert.NotEqual(t, pid, m.run("systemctl show -p MainPID --value warmcgi"))
		m.await("ls -d /proc/"+strings.TrimSpace(pid)+" || echo gone", "gone")
		more()
	}
	m.run("touch /root/stop")
	assert.NotContains(t, m.read("/root/asked"), "failed")
	assert.Equal(t, "0\n", m.run("systemctl show -p NRestarts --value warmcgi"))
	assert.Contains(t, m.run("systemctl status --no-pager warmcgi"), "active (running)")
	assert.Contains(t, m.run("journalctl --no-pager -u warmcgi"), "has taken over")
}
