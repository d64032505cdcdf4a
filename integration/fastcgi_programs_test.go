//go:build linux

package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fastCGIPrograms answer with their process, the method, the query, the body, and how
// many requests they have had.
var fastCGIPrograms = map[string]string{
	"perl.fcgi": `#!/usr/bin/perl
use CGI::Fast;
my $n = 0;
while (my $q = CGI::Fast->new) {
	print "Content-Type: text/plain\n\n", join(' ', $$, $ENV{REQUEST_METHOD}, $ENV{QUERY_STRING}, scalar($q->param('POSTDATA') // ''), ++$n);
	warn "noted\n" if $ENV{QUERY_STRING} eq 'warn';
	exit 3 if $ENV{QUERY_STRING} eq 'exit';
}
`,
	"c.c": `#include <fcgi_stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
	int n = 0;
	while (FCGI_Accept() >= 0) {
		char *query = getenv("QUERY_STRING"), *length = getenv("CONTENT_LENGTH"), body[1000] = "";
		if (length && *length)
			fread(body, 1, sizeof body - 1, stdin);
		printf("Content-Type: text/plain\n\n%d %s %s %s %d", (int)getpid(), getenv("REQUEST_METHOD"), query, body, ++n);
		if (!strcmp(query, "warn"))
			fprintf(stderr, "noted\n");
		if (!strcmp(query, "exit"))
			FCGI_Finish(), exit(3);
	}
	return 0;
}
`,
	"ruby.fcgi": `#!/usr/bin/ruby
require 'fcgi'
n = 0
FCGI.each do |r|
  query = r.env['QUERY_STRING']
  r.out.print "Content-Type: text/plain\n\n", [$$, r.env['REQUEST_METHOD'], query, r.in.read, n += 1].join(' ')
  r.err.print "noted\n" if query == 'warn'
  r.finish
  exit 3 if query == 'exit'
end
`,
	"php/index.php": `<?php echo getmypid(), ' ', $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['QUERY_STRING'], ' ', file_get_contents('php://input'), ' 1';
if ($_SERVER['QUERY_STRING'] === 'warn') error_log('noted');
if ($_SERVER['QUERY_STRING'] === 'exit') { fastcgi_finish_request(); posix_kill(getmypid(), 9); }`,
}

func TestFastCGIProgramsAreStartedAndKeptRunning(t *testing.T) {
	needs(t, "CGI::Fast", "php-cgi", "gcc", "libfcgi", "ruby-fcgi")
	dir := tempDir(t)
	for name, text := range fastCGIPrograms {
		writeFile(t, filepath.Join(dir, name), text, 0o755)
	}
	out, err := exec.Command("gcc", "-O2", "-Wall", "-Wno-unused-result", "-o", filepath.Join(dir, "c.fcgi"), filepath.Join(dir, "c.c"), "-lfcgi").CombinedOutput()
	require.NoError(t, err, string(out))
	g := startGateway(t, dir, strings.ReplaceAll(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /perl, fastcgi: {program: @DIR@/perl.fcgi, processes: 2}, reuse: {requests: 40}}
  - {path: /ruby, fastcgi: {program: @DIR@/ruby.fcgi, processes: 2}, reuse: {requests: 40}}
  - {path: /c, fastcgi: {program: @DIR@/c.fcgi, processes: 2}, reuse: {requests: 40}}
  - {path: /php, php: {root: @DIR@/php, fastcgi: {program: /usr/bin/php-cgi, processes: 2}}, reuse: {requests: 40}}
`, "@DIR@", dir))
	for _, path := range []string{"/perl", "/ruby", "/c", "/php/"} {
		t.Run(path, func(t *testing.T) {
			c := newClient(t, g.url())
			var mu sync.Mutex
			pids := map[string]bool{}
			var wg sync.WaitGroup
			for k := range 4 {
				wg.Go(func() {
					c := newClient(t, g.url())
					defer c.http.CloseIdleConnections()
					for i := range 50 {
						query, body := fmt.Sprint("q", k, ".", i), fmt.Sprint("b", k, ".", i)
						a, err := c.try(request{method: "POST", path: path + "?" + query, body: body, header: map[string]string{"Content-Type": "text/plain"}})
						f := strings.Fields(a.body)
						if !assert.NoError(t, err) || !assert.Equal(t, 200, a.status) || !assert.Len(t, f, 5) {
							return
						}
						assert.Equal(t, []string{"POST", query, body}, f[1:4])
						mu.Lock()
						pids[f[0]] = true
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			assert.GreaterOrEqual(t, len(pids), 5, "200 requests of at most 40 each")
			c.get(t, path+"?warn")
			assert.Eventually(t, func() bool {
				return strings.Contains(g.out.String(), `line=noted`) || strings.Contains(g.out.String(), `: noted"`)
			}, patience, 10*time.Millisecond)
			c.try(request{path: path + "?exit"})
			assert.Eventually(t, func() bool { a, err := c.try(request{path: path + "?after"}); return err == nil && a.status == 200 }, patience, 10*time.Millisecond)
		})
	}
	// Nothing of them outlives the gateway.
	g.owed = true
	require.NoError(t, syscall.Kill(g.pid, syscall.SIGKILL))
	requireNoScripts(t, dir, 2*time.Second)
}

// libfcgi looks for a signal between two connections only, or after two seconds.
func TestALibfcgiProgramIsReplacedAtOnce(t *testing.T) {
	needs(t, "gcc", "libfcgi")
	dir := tempDir(t)
	source, program := writeFile(t, filepath.Join(dir, "c.c"), fastCGIPrograms["c.c"], 0o644), filepath.Join(dir, "c.fcgi")
	out, err := exec.Command("gcc", "-O2", "-Wall", "-Wno-unused-result", "-o", program, source, "-lfcgi").CombinedOutput()
	require.NoError(t, err, string(out))
	g := startGateway(t, dir, `
listen: [{http: 127.0.0.1:0}]
routes: [{path: /c, fastcgi: {program: `+program+`}, reuse: {requests: 10}, queue: {wait: 1s}}]
`)
	pids := map[string]bool{}
	c := newClient(t, g.url())
	for range 50 {
		a := c.get(t, "/c?q")
		require.Equal(t, 200, a.status, "it has waited for the queue's time")
		pids[strings.Fields(a.body)[0]] = true
	}
	assert.GreaterOrEqual(t, len(pids), 4)
}
