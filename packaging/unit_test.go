//go:build linux

package packaging

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A script that says what it may do.
const mayScript = `#!/bin/sh
printf 'Content-Type: text/plain\n\n'
may() { what=$1; shift; if "$@" >/dev/null 2>&1; then echo "$what: yes"; else echo "$what: no"; fi; }
may 'write /var/lib/app' touch /var/lib/app/x
may 'a group for a folder (git init --shared)' chmod g+s /var/lib/app/folder
may 'write /tmp' touch /tmp/of-a-script
may 'write /usr' touch /usr/share/gitweb/x
may 'write /etc' touch /etc/app/x
may 'read /home' cat /home/anna/page
may 'write /home' touch /home/anna/x
may 'read other processes' cat /proc/1/cmdline
may 'make namespaces' unshare -U true
may 'setgid programs' sh -c '/usr/local/bin/who-am-i | grep -q egid'
`

// machineWithScripts is one with the package and some scripts.
func machineWithScripts(t *testing.T) *machine {
	t.Helper()
	m := bootMachine(t)
	m.bring(must[string](t)(newPackage()))
	m.run("apt-get install -y ./dist/warmcgi_*.deb gitweb logrotate man-db python3 ruby procps")
	m.write("/usr/lib/cgi-bin/may.sh", mayScript, 0o755)
	m.write("/usr/lib/cgi-bin/who.pl", "#!/usr/bin/perl\nuse POSIX;\nprint \"Content-Type: text/plain\\n\\n\", join(' ', scalar getpwuid($>), $ENV{QUERY_STRING}), \"\\n\";\n", 0o755)
	m.write("/usr/lib/cgi-bin/who.py", "#!/usr/bin/python3\nimport os, pwd\nprint('Content-Type: text/plain\\n\\n' + pwd.getpwuid(os.geteuid())[0], os.environ['QUERY_STRING'])\n", 0o755)
	m.write("/usr/lib/cgi-bin/who.rb", "#!/usr/bin/ruby\nrequire 'etc'\nputs \"Content-Type: text/plain\\n\\n#{Etc.getpwuid(Process.euid).name} #{ENV['QUERY_STRING']}\"\n", 0o755)
	m.run("useradd -m anna; echo a > /home/anna/page; chmod 755 /home/anna; chown www-data /home/anna/page; chmod 777 /home/anna; " +
		"install -d -o www-data /var/lib/app /var/lib/app/folder /etc/app; cp /usr/bin/id /usr/local/bin/who-am-i; chgrp mail /usr/local/bin/who-am-i; chmod 2755 /usr/local/bin/who-am-i")
	return m
}

func (m *machine) get(url string) string {
	m.t.Helper()
	return m.run("curl -sS -m 30 '" + url + "'")
}

func TestTheUnitIsAsNarrowAsTheDocumentationSays(t *testing.T) {
	text := readDoc(t, "packages.md")
	m := machineWithScripts(t)
	assert.Empty(t, m.run("systemd-analyze verify warmcgi.service warmcgi.socket warmcgi-fcgiwrap.socket warmcgi-host@x.service 2>&1"))
	exposure := m.run("systemd-analyze security --no-pager warmcgi.service | tail -1")
	_, exposure, _ = strings.Cut(exposure, "warmcgi.service: ")
	exposure, _, _ = strings.Cut(exposure, " ")
	assert.Contains(t, text, "**"+exposure+"**", "systemd-analyze security")
	assert.Equal(t, block(t, text, "may"), m.get("http://127.0.0.1:8080/cgi-bin/may.sh"))

	whole := m.read("/etc/warmcgi/gateway.yaml")
	m.write("/etc/warmcgi/gateway.yaml", whole+`
  - {path: /sandboxed/, cgi: {dir: /usr/lib/cgi-bin}, mode: spawn, sandbox: {read: [/home/anna/page]}}
`, 0o644)
	m.run("systemctl reload warmcgi; rm /var/lib/app/x") // of a file that is there touch(1) can still set the times
	sandboxed := m.get("http://127.0.0.1:8080/sandboxed/may.sh")
	assert.Contains(t, sandboxed, "write /var/lib/app: no\n")
	assert.Contains(t, sandboxed, "read /home: yes\n")
	m.write("/etc/warmcgi/gateway.yaml", whole, 0o644)
	m.run("systemctl reload warmcgi")
	for _, script := range []string{"who.pl", "who.py", "who.rb"} {
		m.await("curl -sS -m 30 'http://127.0.0.1:8080/cgi-bin/"+script+"?a=b'", "www-data a=b\n")
		m.await("for i in 1 2 3 4 5 6; do curl -sS -m 30 -o /dev/null 'http://127.0.0.1:8080/cgi-bin/"+script+"'; done; gateway status | grep "+script, " warm ")
	}
	assert.NotContains(t, m.run("gateway status"), "unsafe")

	// The examples are drop-ins: each is put in, looked at, and taken away.
	dropIn := func(name string) {
		m.run("mkdir -p /etc/systemd/system/warmcgi.service.d; rm -f /etc/systemd/system/warmcgi.service.d/*; " +
			"cp /usr/share/doc/warmcgi/examples/" + name + " /etc/systemd/system/warmcgi.service.d/; systemctl daemon-reload; systemctl restart warmcgi")
	}
	dropIn("setuid.conf")
	may := m.get("http://127.0.0.1:8080/cgi-bin/may.sh")
	assert.Contains(t, may, "setgid programs: yes")
	assert.Contains(t, may, "write /usr: no")

	dropIn("ports.conf")
	config := m.read("/etc/warmcgi/gateway.yaml")
	m.edit("/etc/warmcgi/gateway.yaml", "  - http: 127.0.0.1:8080 ", "  - http: :80 ")
	m.run("systemctl restart warmcgi")
	assert.Equal(t, "www-data x\n", m.get("http://127.0.0.1/cgi-bin/who.pl?x"))

	dropIn("users.conf")
	config = strings.ReplaceAll(config, "\n    cgi: {dir: /usr/lib/cgi-bin}", "\n    user: www-data\n    cgi: {dir: /usr/lib/cgi-bin}")
	m.write("/etc/warmcgi/gateway.yaml", config+`
  - path: /~anna/
    cgi: {dir: /home/anna/cgi-bin}
    user: anna
    mode: warm
    limits: {memory: 512MiB, processes: 64}
`, 0o644)
	m.run("mkdir /home/anna/cgi-bin; cp /usr/lib/cgi-bin/who.* /home/anna/cgi-bin; chown -R anna: /home/anna; chmod 700 /home/anna/cgi-bin; systemctl restart warmcgi")
	for _, script := range []string{"who.pl", "who.py", "who.rb"} {
		m.await("for i in 1 2 3; do curl -sS -m 30 'http://127.0.0.1:8080/~anna/"+script+"?x'; done", "anna x\nanna x\nanna x\n")
		m.await("for i in 1 2 3; do curl -sS -m 30 -o /dev/null 'http://127.0.0.1:8080/~anna/"+script+"'; done; gateway status | grep anna/"+script, " warm ")
		assert.Equal(t, "www-data y\n", m.get("http://127.0.0.1:8080/cgi-bin/"+script+"?y"))
	}
}

func TestLogsAreRotatedAndAScriptHostIsAUnit(t *testing.T) {
	m := machineWithScripts(t)
	m.get("http://127.0.0.1:8080/cgi-bin/who.pl?first")
	m.await("cat /var/log/warmcgi/access.log", "?first")
	m.run("logrotate --force /etc/logrotate.d/warmcgi")
	m.await("curl -sS -m 30 'http://127.0.0.1:8080/cgi-bin/who.pl?second'; cat /var/log/warmcgi/access.log", "who.pl?second")
	assert.Contains(t, m.read("/var/log/warmcgi/access.log.1"), "who.pl?first")
	assert.NotContains(t, m.read("/var/log/warmcgi/access.log"), "?first")
	assert.Equal(t, "640 www-data\n", m.run("stat -c '%a %U' /var/log/warmcgi/access.log"))

	m.run("cp /usr/share/doc/warmcgi/examples/host.conf /etc/warmcgi/hosts/one.conf; sed -i s/NAME/one/ /etc/warmcgi/hosts/one.conf; systemctl enable --now warmcgi-host@one")
	m.edit("/etc/warmcgi/gateway.yaml", "    cgi: {dir: /usr/lib/cgi-bin}\n    symlinks: follow ", "    fastcgi: {servers: [\"unix:/run/warmcgi-host-one/fcgi.sock\"]}\n    symlinks: follow ")
	m.run("systemctl restart warmcgi")
	assert.Equal(t, "www-data hosted\n", m.get("http://127.0.0.1:8080/cgi-bin/who.pl?hosted"))
	assert.Contains(t, m.run("gateway status --admin 127.0.0.1:9181"), "who.pl")
	m.run("apt-get remove -y warmcgi")
	assert.NotContains(t, m.run("ps axww -o args="), "shim serve")
}
