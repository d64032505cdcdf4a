//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// whatIHave are programs that say what is in their environment, by name and value.
var whatIHave = map[string]string{
	"a.sh":   "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nexport -p\n",
	"a.pl":   "#!/usr/bin/perl\n# cgi: reuse\nprint \"Content-Type: text/plain\\n\\n\"; print map { \"$_=$ENV{$_}\\n\" } keys %ENV;\n",
	"a.py":   "#!/usr/bin/python3\n# cgi: reuse\nimport os\nprint('Content-Type: text/plain\\n')\nfor k in os.environ: print(k + '=' + os.environ[k])\n",
	"a.rb":   "#!/usr/bin/ruby\n# cgi: reuse\nputs \"Content-Type: text/plain\\n\\n\"\nENV.each { |k, v| puts \"#{k}=#{v}\" }\n",
	"a.fcgi": "#!/usr/bin/perl\nuse CGI::Fast;\nmy %own = %ENV;\nwhile (CGI::Fast->new) { print \"Content-Type: text/plain\\n\\n\"; print map { \"$_=\" . ($ENV{$_} // '') . \"\\n\" } keys %own, keys %ENV; }\n",
	"yes.pl": "#!/usr/bin/perl\nuse CGI::Fast;\nmy $own = join ' ', map { \"$_=$ENV{$_}\" } sort keys %ENV;\nwhile (CGI::Fast->new) { print \"Status: 200\\nVariable-ASKED: $own\\n\\n\" }\n",
}

// What the gateway was started with is its own: the admin door's token, systemd's
// credentials and sockets, what an upgrade hands on. A script that could write to NOTIFY_SOCKET
// would be the gateway to systemd.
func TestNoSecretOfTheGatewaysReachesAScript(t *testing.T) {
	needs(t, "perl", "python3", "ruby", "CGI::Fast")
	secrets := []string{
		"ADMIN_TOKEN=secret-of-the-admin-door-0123456789", "CREDENTIALS_DIRECTORY=/run/credentials/secret-credentials", "NOTIFY_SOCKET=@secret-notify", "LISTEN_FDS=0", "LISTEN_PID=1",
		"LISTEN_FDNAMES=secret-names", "WATCHDOG_USEC=1000000000", "WATCHDOG_PID=1", "INVOCATION_ID=secret-invocation", "JOURNAL_STREAM=8:secret", "AWS_SECRET_ACCESS_KEY=secret-key",
		"HTTP_PROXY=http://secret.proxy/", "PERL5LIB=/secret-lib", "PYTHONPATH=/secret-lib", "RUBYLIB=/secret-lib", "GOCOVERDIR=/tmp/secret-cover",
	}
	in := tempDir(t)
	for name, text := range whatIHave {
		writeFile(t, filepath.Join(in, name), text, 0o755)
	}
	r := upgradable(t, strings.ReplaceAll(`
  - {path: /auto/, cgi: {dir: @IN@}}
  - {path: /spawn/, cgi: {dir: @IN@}, mode: spawn, limits: {files: 200}}
  - {path: /warmed/, cgi: {dir: @IN@}, mode: warm}
  - {path: /reused/, cgi: {dir: @IN@}, mode: reuse, limits: {files: 200}}
  - {path: /kept, fastcgi: {program: @IN@/a.fcgi, processes: 1}}
  - {path: /asked/, cgi: {dir: @IN@}, mode: spawn, authorize: {fastcgi: {program: @IN@/yes.pl, processes: 1}}}
`, "@IN@", in), secrets...)
	for _, when := range []string{"started", "upgraded"} {
		c := newClient(t, r.url())
		ways := map[string]string{"/kept": "", "/asked/a.sh": ""}
		for _, name := range []string{"a.sh", "a.pl", "a.py", "a.rb"} {
			ways["/auto/"+name], ways["/spawn/"+name] = "", ""
			if name != "a.sh" {
				ways["/warmed/"+name], ways["/reused/"+name] = "warm", "reuse"
			}
		}
		for path, mode := range ways {
			var a answer
			require.Eventually(t, func() bool {
				a = c.get(t, path)
				return a.status != 200 || mode == "" || r.mode(t, path) == mode
			}, patience, 10*time.Millisecond, path)
			require.Equal(t, 200, a.status, "%s: %s", path, a.body)
			assert.Contains(t, a.body, "PATH=", path)
			assertNoSecret(t, a.body, path+", "+when)
		}
		for _, pid := range descendants(r.pid) {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
				assertNoSecret(t, string(b), fmt.Sprintf("process %s, %s", line, when))
			}
		}
		if when == "started" {
			r.upgrade(t)
		}
	}
}

func assertNoSecret(t *testing.T, env, whose string) {
	t.Helper()
	assert.NotContains(t, env, "secret", whose)
	for _, name := range []string{"ADMIN_TOKEN", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_", "INVOCATION_ID", "JOURNAL_STREAM", "TABLEFLIP", "GORACE", "HTTP_PROXY", "PERL5LIB", "PYTHONPATH", "RUBYLIB", "HOME=", "USER="} {
		assert.NotContains(t, strings.ReplaceAll(env, "WARMCGI_", ""), name, whose)
	}
}
