//go:build linux

package packaging

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readmeCommands are those of the README's section on the package.
func readmeCommands(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(text), "\n## Install it\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	var commands []string
	for _, m := range regexp.MustCompile(`(?m)^    (\S.*)$`).FindAllStringSubmatch(section, -1) {
		commands = append(commands, m[1])
		if len(commands) == 5 {
			break
		}
	}
	return commands
}

func TestFiveCommandsOfTheReadmeLeadToGitwebInModeWarm(t *testing.T) {
	commands := readmeCommands(t)
	require.Len(t, commands, 5)
	require.Equal(t, "make deb", commands[0])
	m := bootMachine(t)
	m.bring(must[string](t)(newPackage()))
	var last string
	for _, c := range commands[1:] {
		last = m.run(strings.ReplaceAll(strings.Replace(c, "apt install", "apt-get install -y", 1), "sudo ", ""))
	}
	assert.Regexp(t, `(?m)^/gitweb/gitweb\.cgi +warm +auto +ready`, last)
	page := m.run("curl -sS http://127.0.0.1:8080/gitweb/")
	assert.Contains(t, page, "demo.git")
	assert.Contains(t, m.run("curl -sS http://127.0.0.1:8080/cgi-bin/gitweb.cgi"), "demo.git")
	assert.Contains(t, m.run("curl -sS http://127.0.0.1:8080/gitweb/static/gitweb.css"), "body")
	assert.Contains(t, m.run("curl -sS http://127.0.0.1:9180/"), "<html", "the dashboard")
	assert.Contains(t, m.run("curl -sS http://127.0.0.1:9180/status"), `"mode":"warm"`)
	assert.Contains(t, m.read("/var/log/warmcgi/access.log"), "GET /gitweb/")
	assert.Regexp(t, `^gateway `+regexp.QuoteMeta(newVersion)+` \(commit ([0-9a-f]{12}|unknown)`, m.run("gateway --version"))
}

func TestAnUpgradeKeepsTheEditedConfigurationAndPurgeLeavesNothing(t *testing.T) {
	m := bootMachine(t)
	m.run("apt-get install -y gitweb logrotate procps")
	everything := `find / -xdev -not -path '/proc/*' -not -path '/sys/*' -not -path '/run/*' -not -path '/dev/*' -not -path '/var/log/journal*' \
		-not -path '/var/cache/*' -not -path '/var/lib/apt/*' -not -path '/var/lib/dpkg/*' -not -path '/var/log/apt/*' -not -path '/root/*' -not -path '/tmp/*' -not -path '/var/tmp/*' | sort`
	before := m.run(everything)

	m.bring(must[string](t)(oldPackage()))
	m.bring(must[string](t)(newPackage()))
	m.run("apt-get install -y ./dist/warmcgi_" + oldVersion + "_*.deb")
	m.await("curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/gitweb/", "404") // no repository
	m.edit("/etc/warmcgi/gateway.yaml", "127.0.0.1:8080 ", "127.0.0.1:8081 ")
	m.run("apt-get install -y ./dist/warmcgi_" + newVersion + "_*.deb")
	assert.Contains(t, m.run("gateway --version"), "gateway "+newVersion)
	assert.Contains(t, m.read("/etc/warmcgi/gateway.yaml"), "127.0.0.1:8081")
	m.await("curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8081/gitweb/", "404")
	assert.Equal(t, "active", strings.TrimSpace(m.run("systemctl is-active warmcgi")))

	// What the new version can't read leaves the old one serving.
	pid := m.run("systemctl show -p MainPID --value warmcgi")
	m.edit("/etc/warmcgi/gateway.yaml", "routes:", "roots:")
	assert.Contains(t, m.run("apt-get install -y --reinstall ./dist/warmcgi_"+newVersion+"_*.deb"), "roots: unknown key")
	assert.Equal(t, pid, m.run("systemctl show -p MainPID --value warmcgi"))
	m.edit("/etc/warmcgi/gateway.yaml", "roots:", "routes:")

	// What was disabled stays so.
	m.run("systemctl disable --now warmcgi")
	m.run("apt-get install -y --reinstall ./dist/warmcgi_" + newVersion + "_*.deb")
	out, _ := m.try("systemctl is-enabled warmcgi")
	assert.Equal(t, "disabled", strings.TrimSpace(out))
	m.run("systemctl enable --now warmcgi")
	m.await("for i in 1 2 3 4 5 6; do curl -s -o /dev/null http://127.0.0.1:8081/gitweb/; done; gateway status", "warm")

	m.run("apt-get remove -y warmcgi")
	processes := m.run("ps axww -o args=")
	assert.NotContains(t, processes, "gateway")
	assert.NotContains(t, processes, "gitweb")
	assert.Contains(t, m.read("/etc/warmcgi/gateway.yaml"), "8081", "remove keeps the configuration")
	m.run("apt-get purge -y warmcgi")
	assert.Equal(t, before, m.run(everything))
	m.run("systemctl daemon-reload")
	out, _ = m.try("systemctl list-unit-files --no-legend 'warmcgi*'")
	assert.Empty(t, out)
	assert.Equal(t, "running", strings.TrimSpace(m.run("systemctl is-system-running")))
}
