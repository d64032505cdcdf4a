//go:build linux

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A reloaded gateway has scripts of all modes, php-fpm, a FastCGI program and files; its configuration changes with each
// version, in another way.
type reloaded struct {
	*gateway
	binary string
	file   string
	socket string // of its FastCGI door
	fpm    string
}

// echoes are scripts that answer with the query and the body of the request.
var echoes = map[string]string{
	"spawn.sh": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s ' \"$QUERY_STRING\"\ncat\n",
	"warm.pl":  "#!/usr/bin/perl\nuse CGI; local $/; my $b = $ENV{CONTENT_LENGTH} ? <STDIN> : '';\nprint \"Content-Type: text/plain\\n\\n$ENV{QUERY_STRING} $b\";\n",
	"reuse.py": "#!/usr/bin/python3\nimport os, sys, json\nsys.stdout.write('Content-Type: text/plain\\n\\n' + os.environ['QUERY_STRING'] + ' ' + sys.stdin.read())\n",
	"fpm.php":  "<?php header('Content-Type: text/plain'); echo $_SERVER['QUERY_STRING'], ' ', file_get_contents('php://input');\n",
	"prog.c":   fastCGIEcho,
	"page.txt": "a file",
}

const fastCGIEcho = `#include <fcgi_stdio.h>
#include <stdlib.h>
int main(void)
{
	while (FCGI_Accept() >= 0) {
		char body[1000] = "", *length = getenv("CONTENT_LENGTH");
		if (length && *length)
			fread(body, 1, sizeof body - 1, stdin);
		printf("Content-Type: text/plain\n\n%s %s", getenv("QUERY_STRING"), body);
	}
	return 0;
}
`

// reloadPaths are what is asked for. All but the file echo.
var reloadPaths = []string{"/cgi-bin/spawn.sh", "/cgi-bin/warm.pl", "/reuse", "/php/fpm.php", "/prog", "/page.txt"}

// version is the configuration number n.
func (r *reloaded) version(n int) string {
	more := ""
	switch n % 5 {
	case 1: // a door and a route that come and go
		more = "  - {path: /more/, cgi: {dir: " + r.dir + "}}\n"
	case 2: // a new warm program
		more = "  - {path: /new, mode: warm, cgi: {program: " + r.dir + "/warm.pl}}\n"
	case 3: // another line to php-fpm, and other processes of the program
		more = "  - {path: /more, files: {root: " + r.dir + "}}\n"
	}
	door := ""
	if n%5 == 1 {
		door = "  - http: unix:" + r.dir + "/more.sock\n"
	}
	return fmt.Sprintf(`
listen:
  - http: 127.0.0.1:0
  - fastcgi: unix:%[1]s/fcgi.sock
    scripts: [%[1]s]
%[2]sadmin: 127.0.0.1:0
log: {access: {format: "off"}}
defaults: {mode: spawn, workers: {max: %[3]d}, timeout: {grace: 1s}}
routes:
  - path: /cgi-bin/
    cgi: {dir: %[1]s}
    mode: auto
    env: {VERSION: "%[4]d"}
  - path: /reuse
    cgi: {program: %[1]s/reuse.py}
    mode: reuse
    env: {VERSION: "%[5]d"}
  - path: /php/
    php: {root: %[1]s, fastcgi: {servers: ["unix:%[6]s"], max_conns: %[7]d}}
  - path: /prog
    fastcgi: {program: %[1]s/prog, processes: %[8]d}
  - path: /
    files: {root: %[1]s}
%[9]s`, r.dir, door, 30+n%3, n/2, n/3, r.fpm, 4+n/4%2, 2+n/5%2, more)
}

func (r *reloaded) write(t *testing.T, text string) {
	writeFile(t, r.file, text, 0o644)
}

// command runs the gateway's own command, and returns what it prints.
func (r *reloaded) command(args ...string) (out string, err error) {
	cmd := exec.Command(r.binary, append(args, "--admin", strings.TrimPrefix(r.admin, "http://"))...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// upgrade has it replaced, and follows the process that serves then.
func (r *reloaded) upgrade(t *testing.T) {
	t.Helper()
	before := r.pid
	out, err := r.command("upgrade")
	require.NoError(t, err, out)
	var about struct{ Pid int }
	require.NoError(t, json.Unmarshal([]byte(newClient(t, r.admin).get(t, "/api/v1/about").body), &about))
	require.NotEqual(t, before, about.Pid)
	r.server.pid = about.Pid
	require.Eventually(t, func() bool { return hasGone(before) }, patience, 10*time.Millisecond, "the old process has not ended")
}

// hasGone reports whether a process has ended, waited for or not.
func hasGone(pid int) bool { return syscall.Kill(pid, 0) != nil || zombie(pid) }

// zombie reports whether a process has ended, and nobody has waited for it.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(b, []byte(") Z "))
}

func startReloaded(t *testing.T) *reloaded {
	t.Helper()
	needs(t, "perl", "python3", "gcc", "php-fpm", "nginx")
	dir := tempDir(t)
	for name, text := range echoes {
		writeFile(t, filepath.Join(dir, name), text, 0o755)
	}
	prog := filepath.Join(dir, "prog")
	text, err := exec.Command("gcc", "-o", prog, prog+".c", "-lfcgi").CombinedOutput()
	require.NoError(t, err, "%s", text)
	binary, err := raceGateway()
	require.NoError(t, err)
	r := &reloaded{binary: binary, file: filepath.Join(dir, "gateway.yaml"), socket: filepath.Join(dir, "fcgi.sock")}
	r.fpm = startFPM(t, dir, "pm.max_children = 8").socket
	r.gateway = &gateway{dir: dir}
	r.write(t, r.version(0))
	r.gateway = startServing(t, "gateway", dir, []string{binary, "serve", "--config", r.file, "--wait", "20s"}, nil)
	return r
}

// front is an nginx that keeps its connections to the gateway's FastCGI door.
func (r *reloaded) front(t *testing.T) (url string) {
	return startNginx(t, r.dir, func(port string) string {
		return `
upstream gateway { server unix:` + r.socket + `; keepalive 8; }
server {
	listen 127.0.0.1:` + port + `;
	location / {
		include /etc/nginx/fastcgi_params;
		fastcgi_param SCRIPT_FILENAME ` + r.dir + `$fastcgi_script_name;
		fastcgi_keep_conn on;
		fastcgi_pass gateway;
	}
}
`
	})
}

// A load asks without a pause between two requests, and takes nothing but the right answers.
type load struct {
	asked  atomic.Int64
	failed atomic.Int64

	mu   sync.Mutex
	says []string
}

func (l *load) fail(format string, args ...any) {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.says) < 20 {
		l.says = append(l.says, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// run asks at a base URL for paths in turn, GET and POST, on kept connections or fresh ones. It ends with ctx.
func (l *load) run(ctx context.Context, base string, paths []string, keep bool) {
	tr := &http.Transport{DisableKeepAlives: !keep}
	defer tr.CloseIdleConnections()
	c := http.Client{Transport: tr, Timeout: 30 * time.Second}
	for n := 0; ctx.Err() == nil; n++ {
		path := paths[n%len(paths)]
		method, body := http.MethodGet, ""
		if n/len(paths)%2 == 1 && !strings.HasSuffix(path, ".txt") {
			method, body = http.MethodPost, fmt.Sprintf("body-%d", n)
		}
		want := fmt.Sprintf("n=%d %s", n, body)
		if strings.HasSuffix(path, ".txt") {
			want = echoes["page.txt"]
		}
		r, err := http.NewRequest(method, fmt.Sprintf("%s%s?n=%d", base, path, n), strings.NewReader(body))
		if err != nil {
			l.fail("%v", err)
			return
		}
		r.GetBody = nil // nothing is to be hidden by another try
		l.asked.Add(1)
		res, err := c.Do(r)
		if err != nil {
			l.fail("%s %s keep=%v: %v", method, path, keep, err)
			continue
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || string(got) != want {
			l.fail("%s %s keep=%v: %d %v %.200q, not %q", method, path, keep, res.StatusCode, err, got, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// start begins the whole load, and returns what ends it.
func (l *load) start(t *testing.T, r *reloaded, front string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	go1 := func(base string, paths []string, keep bool) {
		wg.Go(func() { l.run(ctx, base, paths, keep) })
	}
	go1(r.url(), reloadPaths, true)
	go1(r.url(), reloadPaths, true)
	go1(r.url(), reloadPaths, false)
	named := []string{"/spawn.sh", "/warm.pl"}
	go1(front, named, true)
	go1(front, named, false)
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func (l *load) assertNothingLost(t *testing.T) {
	t.Helper()
	assert.Zero(t, l.failed.Load(), "of %d requests: %s", l.asked.Load(), strings.Join(l.says, "\n"))
	assert.Greater(t, l.asked.Load(), int64(100))
}

func TestNoRequestIsLostThroughTwentyReloadsAndThreeUpgrades(t *testing.T) {
	r := startReloaded(t)
	var l load
	stop := l.start(t, r, r.front(t))
	upgradeAfter := map[int]bool{6: true, 13: true, 20: true}
	for n := 1; n <= 20; n++ {
		asked := l.asked.Load()
		if n%7 == 3 { // one that is not taken, in between
			r.write(t, r.version(n)+"  - {path: /wrong, cgi: {program: nowhere, dir: nowhere}}\n")
			out, err := r.command("reload")
			assert.Error(t, err)
			assert.Regexp(t, `gateway.yaml:\d+:\d+: routes\[\d\]`, out)
		}
		r.write(t, r.version(n))
		out, err := r.command("reload")
		require.NoError(t, err, "version %d: %s", n, out)
		if upgradeAfter[n] {
			r.upgrade(t)
		}
		require.Eventually(t, func() bool { return l.asked.Load() > asked+20 }, patience, time.Millisecond, "the load goes on")
	}
	stop()
	l.assertNothingLost(t)
	t.Logf("%d requests", l.asked.Load())
}

// leftovers is what a gateway has, when nothing is asked of it.
type leftovers struct {
	descriptors, goroutines, processes int
	memory                             int64
}

// settled is the least of what there is within some time: workers come and go.
func (g *gateway) settled(t *testing.T, within time.Duration) (least leftovers) {
	t.Helper()
	require.Eventually(t, func() bool { return g.metric(t, "warmcgi_configurations_leaving", "") == 0 }, patience, 10*time.Millisecond)
	for n, until := 0, time.Now().Add(within); n == 0 || time.Now().Before(until); n++ {
		now := leftovers{descriptors(t, g.pid), int(g.metric(t, "go_goroutines", "")), len(descendants(g.pid)), memory(t, g.pid, "VmRSS")}
		if n == 0 {
			least = now
		}
		least = leftovers{min(least.descriptors, now.descriptors), min(least.goroutines, now.goroutines), min(least.processes, now.processes), min(least.memory, now.memory)}
		time.Sleep(50 * time.Millisecond)
	}
	return least
}

func TestReloadsLeaveNothingBehind(t *testing.T) {
	r := startReloaded(t)
	var l load
	front := r.front(t)
	run := func() {
		stop := l.start(t, r, front)
		asked := l.asked.Load()
		require.Eventually(t, func() bool { return l.asked.Load() > asked+60 }, patience, time.Millisecond)
		stop()
	}
	reload := func(n int) {
		r.write(t, r.version(n))
		out, err := r.command("reload")
		require.NoError(t, err, out)
	}
	reload(20)
	run()
	before := r.settled(t, 3*time.Second)
	for n := range 20 {
		reload(n)
		if n%5 == 0 {
			run()
		}
	}
	reload(20)
	run()
	after := r.settled(t, 3*time.Second)
	t.Logf("before %+v, after %+v", before, after)
	// What is left by each reload would be twenty times. A spare worker has two descriptors, and nginx keeps more connections
	// or fewer.
	const some = 8
	assert.Less(t, after.descriptors, before.descriptors+some)
	assert.Less(t, after.goroutines, before.goroutines+some)
	assert.Less(t, after.processes, before.processes+some)
	l.assertNothingLost(t)
}
