//go:build linux

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A trial is a gateway with all doors, modes and backends at once, under load, with faults: the soak of
// docs/reliability.md.
type trial struct {
	*reloaded
	hostDir  string // of the script host's scripts
	front    string // nginx, before the FastCGI door
	host     *gateway
	fpm      *fpm
	backends []backend

	upgraded int // the process before this one, when there was one

	mu     sync.RWMutex // held for reading by whoever needs the gateway to be one process
	load   *trialLoad
	faults *faultLog
}

// A backend is one script in one mode, or what is in its place.
type backend struct {
	path   string
	folder string // that its processes work in, or
	title  string // what they have in their command line
}

// trialTime is how long the load goes on: as long as WARMCGI_SOAK_TIME says, as in 10m.
func trialTime(t *testing.T) time.Duration {
	if s := os.Getenv("WARMCGI_SOAK_TIME"); s != "" {
		d, err := time.ParseDuration(s)
		require.NoError(t, err)
		return d
	}
	return 20 * time.Second
}

// trialScripts answer with the query, a space, the body and the end of a line.
var trialScripts = map[string]string{
	".pl": soakScripts["soak.pl"],
	".py": soakScripts["soak.py"],
	".rb": soakScripts["soak.rb"],
	".sh": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s ' \"$QUERY_STRING\"\nexec cat\n",
}

const trialPHP = "<?php header('Content-Type: text/plain'); echo $_SERVER['QUERY_STRING'], ' ', file_get_contents('php://input'), \"\\n\";\n"

const trialProgram = `#include <fcgi_stdio.h>
#include <stdlib.h>
int main(void)
{
	static char body[1 << 16];
	size_t n;
	while (FCGI_Accept() >= 0) {
		printf("Content-Type: text/plain\n\n%s ", getenv("QUERY_STRING"));
		while ((n = fread(body, 1, sizeof body, stdin)) > 0)
			fwrite(body, 1, n, stdout);
		printf("\n");
	}
	return 0;
}
`

// badScripts do what no script should, and what each is answered with.
var badScripts = map[string]struct {
	text   string
	status int
}{
	"silent.sh": {"#!/bin/sh\nexit 3\n", 502},
	"head.sh":   {"#!/bin/sh\necho no head\necho\n", 502},
	"hangs.sh":  {"#!/bin/sh\nexec sleep 60\n", 504},
	"dies.pl":   {"#!/usr/bin/perl\nkill 9, $$;\n", 502},
	"floods.pl": {"#!/usr/bin/perl\nprint STDERR 'x' x 20, \"\\n\" for 1 .. 200; print \"Status: 404\\n\\n\";\n", 404},
}

func startTrial(t *testing.T, built func() (string, error)) *trial {
	t.Helper()
	needs(t, "perl", "CGI.pm", "python3", "ruby", "gcc", "php-fpm", "nginx", "openssl")
	dir := tempDir(t)
	tr := &trial{hostDir: tempDir(t), load: newTrialLoad(), faults: newFaultLog()}
	binary, err := built()
	require.NoError(t, err)
	tr.reloaded = &reloaded{gateway: &gateway{dir: dir}, binary: binary, file: filepath.Join(dir, "gateway.yaml")}
	for mode, extensions := range map[string][]string{"spawn": {".sh", ".pl"}, "warm": {".pl", ".py", ".rb"}, "reuse": {".pl", ".py", ".rb"}, "auto": {".pl", ".py"}, "host": {".pl", ".py"}} {
		for _, ext := range extensions {
			root := dir
			if mode == "host" {
				root = tr.hostDir
			}
			path := "/" + mode + "/" + strings.TrimPrefix(ext, ".") + "/script" + ext
			writeFile(t, filepath.Join(root, path), trialScripts[ext], 0o755)
			tr.backends = append(tr.backends, backend{path: path, folder: filepath.Dir(filepath.Join(root, path))})
		}
	}
	for name, bad := range badScripts {
		writeFile(t, filepath.Join(dir, "bad", name), bad.text, 0o755)
	}
	writeFile(t, filepath.Join(dir, "php", "fpm.php"), trialPHP, 0o644)
	source := writeFile(t, filepath.Join(dir, "program.c"), trialProgram, 0o644)
	out, err := exec.Command("gcc", "-O", "-o", filepath.Join(dir, "program"), source, "-lfcgi").CombinedOutput()
	require.NoError(t, err, "%s", out)
	tr.backends = append(tr.backends, backend{path: "/php/fpm.php", title: "php-fpm: pool www"}, backend{path: "/program", title: filepath.Join(dir, "program")})
	newAuthority(t, dir, "site")

	tr.fpm = startFPM(t, dir, "pm.max_children = 4\npm.max_requests = 500")
	tr.host = startHost(t, tr.hostDir, filepath.Join(tr.hostDir, "host"), "--listen", "tcp:127.0.0.1:0", "--mode", "warm")
	tr.write(t, 0)
	tr.gateway = startServing(t, "gateway", dir, []string{tr.binary, "serve", "--config", tr.file, "--wait", "20s"}, nil)
	t.Cleanup(func() { tr.host.stop(t) }) // first: its scripts know the gateway's folder
	tr.front = startNginx(t, filepath.Join(dir, "nginx"), func(port string) string {
		return `
upstream gateway { server unix:` + filepath.Join(dir, "fcgi.sock") + `; keepalive 8; keepalive_timeout 1s; }
server {
	listen 127.0.0.1:` + port + `;
	client_max_body_size 0;
	location / {
		include /etc/nginx/fastcgi_params;
		fastcgi_keep_conn on;
		fastcgi_pass gateway;
	}
}
`
	})
	return tr
}

// write writes version n of the configuration.
func (tr *trial) write(t *testing.T, n int) {
	var b strings.Builder
	fmt.Fprintf(&b, `
listen:
  - http: 127.0.0.1:0
  - https: 127.0.0.1:0
    tls: {cert: site.pem, key: site.key}
  - http: unix:%[1]s/http.sock
  - fastcgi: unix:%[1]s/fcgi.sock
admin: 127.0.0.1:0
log: {access: {format: "off"}}
defaults: {timeout: {total: 1m, grace: 1s}, queue: {wait: 1m}, workers: {idle: 2s}}
routes:
`, tr.dir)
	// Spooled, as cat and the program answer while they read: nginx stops sending a body once the answer has begun.
	for _, mode := range []string{"spawn", "warm", "reuse", "auto"} {
		fmt.Fprintf(&b, "  - {path: /%s/, cgi: {dir: %s/%s}, mode: %s, env: {VERSION: \"%d\"}, body: {buffer: spool}}\n", mode, tr.dir, mode, mode, n)
	}
	fmt.Fprintf(&b, `  - {path: /bad/, cgi: {dir: %[1]s/bad}, mode: spawn, timeout: {first_byte: 1s}}
  - {path: /php/, php: {root: %[1]s/php, fastcgi: {servers: ["unix:%[2]s"]}}}
  - {path: /program, fastcgi: {program: %[1]s/program, processes: 3}, body: {buffer: spool}}
  - {path: /host, fastcgi: {servers: ["%[3]s"]}}
`, tr.dir, tr.fpm.socket, tr.host.url())
	writeFile(t, tr.file, b.String(), 0o644)
}

func TestNoAnswerIsLostOrWrongThroughAllDoorsModesAndBackendsWhileFaultsHappen(t *testing.T) {
	d := trialTime(t)
	built, growth := raceGateway, int64(256<<20) // the race detector keeps some octets for each of the gateway's
	if d > time.Minute {                         // a long one is for the figures
		built, growth = plainGateway, 32<<20
	}
	tr := startTrial(t, built)
	tr.under(t, d/10, false)
	before := tr.settledIdle(t)
	began := time.Now()
	tr.load = newTrialLoad()
	tr.under(t, d, true)
	took := time.Since(began)
	after := tr.settledIdle(t)

	lost := tr.faults.unexplained(tr.load.failures)
	report := tr.report(took, before, after, len(lost))
	t.Log("\n" + report)
	for _, f := range lost {
		assert.Fail(t, "an answer is lost that no fault has hit", "%s", f)
	}
	assert.Empty(t, tr.load.wrong)
	for _, b := range tr.backends {
		assert.Positive(t, tr.load.right[b.path], "%s was asked for", b.path)
	}
	for door, n := range tr.load.doors {
		assert.Positive(t, *n, door)
	}
	for _, f := range faultKinds {
		assert.True(t, tr.faults.count(f) > 0 || f == faultRefused, "%s happened", f)
	}
	// What is left by each fault would be many times that. nginx keeps more connections or fewer, and a process that was
	// upgraded to has some goroutines more.
	const some = 8
	assert.Less(t, after.descriptors, before.descriptors+some, "descriptors")
	assert.Less(t, after.goroutines, before.goroutines+some, "goroutines")
	assert.LessOrEqual(t, after.processes, before.processes, "processes")
	assert.Less(t, after.memory-before.memory, growth, "memory")
	if file := os.Getenv("WARMCGI_SOAK_DOC"); file != "" {
		writeSoak(t, file, report)
	}
}

// under has the load, and the faults, for some time.
func (tr *trial) under(t *testing.T, d time.Duration, faults bool) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range tr.clients() {
		wg.Go(func() { c.run(ctx, tr) })
	}
	if faults {
		for _, f := range tr.injectors(t, d) {
			wg.Go(func() { f(ctx) })
		}
	}
	wg.Wait()
}

// settledIdle waits until idle workers are given up and connections are closed.
func (tr *trial) settledIdle(t *testing.T) leftovers {
	t.Helper()
	tr.load.close()
	return tr.settled(t, 12*time.Second)
}

// report is the figures as docs/reliability.md has them.
func (tr *trial) report(took time.Duration, before, after leftovers, lost int) string {
	var b strings.Builder
	row := func(what string, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "| | in %s |\n|---|---|\n", took.Round(time.Second))
	row("requests", "%d", tr.load.asked.Load())
	for _, door := range tr.load.doorNames() {
		row("– "+door, "%d", *tr.load.doors[door])
	}
	row("whole and right, each with its own token", "%d", tr.load.rights())
	row("of scripts that fail, answered as they should be", "%d", tr.load.bad.Load())
	row("left by their client", "%d", tr.load.left.Load())
	for _, kind := range faultKinds {
		row(kind, "%d", tr.faults.count(kind))
	}
	row("requests that a killed process had", "%d", len(tr.load.failures)-lost)
	row("wrong answers", "%d", len(tr.load.wrong))
	row("lost answers beyond those", "%d", lost)
	row("the gateway's memory, before and after", "%.1f, %.1f MiB", float64(before.memory)/(1<<20), float64(after.memory)/(1<<20))
	row("its descriptors", "%d, %d", before.descriptors, after.descriptors)
	row("its goroutines", "%d, %d", before.goroutines, after.goroutines)
	row("processes below it", "%d, %d", before.processes, after.processes)
	return b.String()
}

// writeSoak puts the report between the marks of a page.
func writeSoak(t *testing.T, file, report string) {
	t.Helper()
	const begin, end = "<!-- soak -->\n", "<!-- /soak -->"
	text := readFile(t, file)
	head, rest, ok := strings.Cut(text, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	require.True(t, ok && ok2, "%s has the marks of the soak", file)
	require.NoError(t, os.WriteFile(file, []byte(head+begin+report+end+tail), 0o644))
}
