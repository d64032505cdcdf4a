//go:build linux

package packaging

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readDoc is a page of docs.
func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	require.NoError(t, err)
	return string(text)
}

// block is the code of a page behind a marker: <!-- NAME -->, or what it has been given in place of a block of code.
func block(t *testing.T, text, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "<!-- "+name+" -->\n")
	require.True(t, ok, name)
	m := regexp.MustCompile("(?s)^\n?```[a-z]*\n(.*?)```").FindStringSubmatch(rest)
	require.NotNil(t, m, name)
	return m[1]
}

// commandsOf are those of a block, for root.
func commandsOf(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "apt install", "apt-get install -y"), "sudo ", "")
}

// A script that shows all that it gets, complains, and says who it is.
const showScript = `#!/bin/sh
echo "complaint of $QUERY_STRING" >&2
printf 'Content-Type: text/plain\n\n'
[ "$REQUEST_METHOD" = POST ] && wc -c
printf 'UID=%s\nUMASK=%s\nCWD=%s\nPPID_NAME=%s\n' "$(id -u)" "$(umask)" "$(pwd)" "$(cat /proc/$PPID/comm)"
env | sort
`

func TestTheGuideTakesFcgiwrapsPlaceBehindTheSameNginx(t *testing.T) {
	text := readDoc(t, "from-fcgiwrap.md")
	m := bootMachine(t)
	m.run("apt-get install -y nginx-light fcgiwrap")
	m.write("/usr/lib/cgi-bin/show.sh", showScript, 0o755)
	m.write("/usr/lib/cgi-bin/pair.sh", pairScript, 0o755)
	m.write("/usr/lib/cgi-bin/private.sh", showScript, 0o644)

	// nginx has Debian's own example, as the guide quotes it.
	example := m.read("/usr/share/doc/fcgiwrap/examples/nginx.conf")
	assert.Equal(t, example, block(t, text, "example"))
	m.write("/etc/nginx/fcgiwrap.conf", example, 0o644)
	m.edit("/etc/nginx/sites-available/default", "server_name _;", "server_name _;\n\tinclude fcgiwrap.conf;")
	m.run("systemctl restart nginx")
	nginx := m.run("find /etc/nginx -type f -exec sha256sum {} + | sort; systemctl show -p MainPID nginx; pgrep nginx || cat /run/nginx.pid")

	ask := func(what string) string {
		return m.run("curl -sS -m 20 -H 'X-Test: a' 'http://127.0.0.1/cgi-bin/" + what + "'")
	}
	code := func(what string) string {
		return m.run("curl -sS -m 20 -o /dev/null -w '%{http_code}' 'http://127.0.0.1/cgi-bin/" + what + "'")
	}
	codes := func() string {
		return strings.Join([]string{code("none.sh"), code("private.sh"), code("show.sh/extra")}, " ")
	}
	post := func() string {
		return m.run("curl -sS -m 20 --data-binary @/usr/lib/cgi-bin/show.sh 'http://127.0.0.1/cgi-bin/show.sh?x=1'")
	}
	pair := func() string {
		return m.run("curl -sS -m 20 http://127.0.0.1/cgi-bin/pair.sh > one & curl -sS -m 20 http://127.0.0.1/cgi-bin/pair.sh > two; wait; cat one two")
	}
	before, beforeCodes, beforePost := ask("show.sh?x=1"), codes(), post()
	assert.Equal(t, "alone\nalone\n", pair(), "one process")
	m.await("cat /var/log/nginx/error.log", "complaint of x=1")
	assert.Contains(t, before, "PPID_NAME=fcgiwrap")

	m.bring(must[string](t)(newPackage()))
	m.run(commandsOf(block(t, text, "install")))
	assertEdited(t, m, text)
	m.run(commandsOf(block(t, text, "swap")))

	after := ask("show.sh?x=1")
	assert.Contains(t, after, "PPID_NAME=gateway")
	assert.Equal(t, strings.SplitN(beforePost, "\n", 2)[0], strings.SplitN(post(), "\n", 2)[0])
	assert.Equal(t, nginx, m.run("find /etc/nginx -type f -exec sha256sum {} + | sort; systemctl show -p MainPID nginx; pgrep nginx || cat /run/nginx.pid"), "nginx knows nothing of it")
	assert.Equal(t, block(t, text, "environment"), environmentDiff(before, after))
	assert.Equal(t, "403 403 403", beforeCodes)
	assert.Equal(t, "404 403 200", codes())
	assert.Equal(t, "both\nboth\n", pair())
	m.await("journalctl -u warmcgi --no-pager", "complaint of x=1")

	// Nobody notices that the package is upgraded: the socket is systemd's.
	m.write("/root/ask.sh", `while [ ! -e /root/stop ]; do
	[ "$(curl -sS -m 20 'http://127.0.0.1/cgi-bin/show.sh?n' 2>&1 | grep -c '^QUERY_STRING=n$')" = 1 ] && echo ok || echo failed
done > /root/asked
`, 0o755)
	m.run("systemd-run --unit=ask sh /root/ask.sh")
	for range 3 {
		enough := strings.Count(m.read("/root/asked"), "ok") + 10
		m.await("grep -c ok /root/asked; [ $(grep -c ok /root/asked) -ge "+strconv.Itoa(enough)+" ]", "")
		m.run("apt-get install -y --reinstall ./dist/warmcgi_" + newVersion + "_*.deb")
	}
	m.run("touch /root/stop")
	assert.NotContains(t, m.read("/root/asked"), "failed")

	m.run(commandsOf(block(t, text, "back")))
	assert.Contains(t, ask("show.sh"), "PPID_NAME=fcgiwrap")
	assert.Equal(t, "active", strings.TrimSpace(m.run("systemctl is-active warmcgi")), "its other doors go on")
}

// assertEdited does to the configuration what the guide says, and looks whether what the guide shows is there then.
func assertEdited(t *testing.T, m *machine, text string) {
	t.Helper()
	doors := block(t, text, "doors")
	file := m.read("/etc/warmcgi/gateway.yaml")
	for line := range strings.Lines(doors) {
		require.Contains(t, file, "\n#"+line, "the line is in the configuration, behind a #")
		file = strings.Replace(file, "\n#"+line, "\n"+line, 1)
	}
	m.write("/etc/warmcgi/gateway.yaml", file, 0o644)
}

// A script that says whether another one runs at the same time.
const pairScript = `#!/bin/sh
mine=$(mktemp /tmp/pair.XXXXXX)
seen=alone
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	[ "$(ls /tmp/pair.* | wc -l)" -ge 2 ] && seen=both && sleep 0.5 && break
	sleep 0.1
done
rm "$mine"
printf 'Content-Type: text/plain\n\n%s\n' $seen
`

// environmentDiff is what a script gets otherwise: - before, + after.
func environmentDiff(before, after string) string {
	b, a := variables(before), variables(after)
	names := map[string]bool{}
	for n := range b {
		names[n] = true
	}
	for n := range a {
		names[n] = true
	}
	var out strings.Builder
	for _, n := range slices.Sorted(maps.Keys(names)) {
		switch n {
		case "PPID_NAME", "REMOTE_PORT", "REQUEST_ID", "UNIQUE_ID", "_", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "LISTEN_PID", "PWD", "OLDPWD":
			continue // differ with each request or start, or are the shell's own
		}
		vb, inB := b[n]
		va, inA := a[n]
		if inB && (!inA || va != vb) {
			out.WriteString("- " + n + "=" + vb + "\n")
		}
		if inA && (!inB || va != vb) {
			out.WriteString("+ " + n + "=" + va + "\n")
		}
	}
	return out.String()
}

func variables(text string) map[string]string {
	v := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			v[name] = value
		}
	}
	return v
}
