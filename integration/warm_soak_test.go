//go:build linux

package integration

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// soakScripts answer with the token of their request, from the query and from the body.
var soakScripts = map[string]string{
	"soak.pl": `#!/usr/bin/perl
use strict; use warnings; use CGI;
my $q = CGI->new; local $/;
print "Content-Type: text/plain\n\n", $ENV{QUERY_STRING}, ' ', $q->param('POSTDATA') // '', "\n";
`,
	"soak.py": `#!/usr/bin/python3
import os, sys, json
body = sys.stdin.read()
print("Content-Type: text/plain\n")
print(os.environ["QUERY_STRING"], body)
`,
	"soak.rb": `#!/usr/bin/ruby
require 'cgi'
body = $stdin.read.to_s
print "Content-Type: text/plain\n\n", ENV['QUERY_STRING'], ' ', body, "\n"
`,
}

// soak is what is asked of the gateway, and what came of it.
type soak struct {
	g      *gateway
	dir    string
	wrong  atomic.Int64 // answers that are not this request's, or cut short but whole to look at
	failed atomic.Int64 // 5xx: a worker was killed under it
	right  atomic.Int64
	gone   atomic.Int64 // requests whose client left
	kills  atomic.Int64

	mu    sync.Mutex
	notes []string
}

// soakRequests is how many; the environment variable WARMCGI_SOAK raises it.
func soakRequests(t *testing.T) int {
	if s := os.Getenv("WARMCGI_SOAK"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	return 6000
}

func TestNoAnswerIsLostOrMixedWhileScriptsChangeClientsVanishAndWorkersAreKilled(t *testing.T) {
	needs(t, "perl", "CGI.pm", "python3", "ruby")
	dir := tempDir(t)
	for name, text := range soakScripts {
		writeFile(t, filepath.Join(dir, "cgi", name), text, 0o755)
	}
	var routes strings.Builder
	for _, mode := range []string{"spawn", "warm", "reuse", "auto"} {
		fmt.Fprintf(&routes, "  - {path: /%s/, cgi: {dir: cgi}, mode: %s}\n", mode, mode)
	}
	g := startGatewayAs(t, dir, "listen: [{http: 127.0.0.1:0}]\nlog: {access: {format: \"off\"}}\nroutes:\n"+routes.String(), how{plain: true})
	s := &soak{g: g, dir: dir}
	s.warm(t)
	before := s.census(t)

	n := soakRequests(t)
	ctx, stop := context.WithCancel(t.Context())
	var chaos, work sync.WaitGroup
	pause := time.Second
	if n > 20_000 { // most of a long run is for warm workers, and not for loading
		pause = 5 * time.Second
	}
	chaos.Go(func() { s.edit(ctx, pause) })
	chaos.Go(func() { s.kill(ctx) })
	var next atomic.Int64
	for range 16 {
		work.Go(func() {
			c := newClient(t, g.url())
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				s.ask(c, int(i))
			}
			c.http.CloseIdleConnections()
		})
	}
	work.Wait()
	stop()
	chaos.Wait()

	t.Logf("%d right, %d failed by one of %d kills, %d left alone", s.right.Load(), s.failed.Load(), s.kills.Load(), s.gone.Load())
	assert.Zero(t, s.wrong.Load(), strings.Join(s.notes, "\n"))
	assert.Positive(t, s.kills.Load())
	assert.EqualValues(t, n, s.right.Load()+s.failed.Load()+s.gone.Load())
	// A kill costs the request of the process that was killed, and no other.
	assert.LessOrEqual(t, s.failed.Load(), s.kills.Load(), strings.Join(s.notes, "\n"))
	modes := map[string]int{}
	for _, st := range g.status(t) {
		for mode, n := range st.Answers {
			modes[mode] += n
		}
	}
	for _, mode := range []string{"spawn", "warm", "reuse"} {
		assert.Greater(t, modes[mode], n/40, "%v", modes)
	}
	s.settles(t, before)
}

// warm asks until all are in their mode.
func (s *soak) warm(t *testing.T) {
	c := newClient(t, s.g.url())
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		for name := range soakScripts {
			for _, mode := range []string{"spawn", "warm", "reuse", "auto"} {
				require.Equal(t, 200, c.get(t, "/"+mode+"/"+name+"?x").status)
			}
		}
		ready := true
		for _, st := range s.g.status(t) {
			ready = ready && st.State == "ready"
		}
		if ready {
			return
		}
		require.True(t, time.Now().Before(deadline), "%+v", s.g.status(t))
	}
}

// ask makes the request number i, and looks at the answer.
func (s *soak) ask(c *client, i int) {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	modes := []string{"warm", "reuse", "warm", "reuse", "auto", "warm", "reuse", "auto", "warm", "spawn"}
	names := []string{"soak.pl", "soak.py", "soak.rb"}
	mode, name := modes[r.IntN(len(modes))], names[r.IntN(len(names))]
	token := fmt.Sprintf("token-%d-%d", i, r.Uint64())
	body := ""
	method := http.MethodGet
	if r.IntN(3) == 0 {
		method, body = http.MethodPost, strings.Repeat(token, 1+r.IntN(3000))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	vanishes := r.IntN(20) == 0
	if vanishes {
		time.AfterFunc(time.Duration(r.IntN(5000))*time.Microsecond, cancel)
	}
	path := "/" + mode + "/" + name + "?" + token
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		s.note("%v", err)
		return
	}
	req.Header.Set("Content-Type", "text/plain")
	var got []byte
	status := 0
	res, err := c.http.Do(req)
	if err == nil {
		got, err = io.ReadAll(res.Body)
		res.Body.Close()
		status = res.StatusCode
	}
	switch {
	case err == nil && status == 200 && string(got) == token+" "+body+"\n":
		s.right.Add(1)
	case vanishes && ctx.Err() != nil:
		s.gone.Add(1)
	case err != nil || status >= 500:
		s.failed.Add(1)
		s.note("%s %s: %d %v %.80s", method, path, status, err, got)
	default:
		s.wrong.Add(1)
		s.note("WRONG %s %s: %d, %d octets: %.80s", method, path, status, len(got), got)
	}
}

func (s *soak) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notes) < 20 {
		s.notes = append(s.notes, fmt.Sprintf(format, args...))
	}
}

// edit puts a new script of the same effect in the place of each, as a deploy does.
func (s *soak) edit(ctx context.Context, pause time.Duration) {
	for i := 0; ctx.Err() == nil; i++ {
		for name, text := range soakScripts {
			file := filepath.Join(s.dir, "cgi", name)
			if err := replaceScript(file, text+"# "+strconv.Itoa(i)+"\n"); err != nil {
				s.note("%v", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
	}
}

// replaceScript puts another script in the place of one, whole, as a deploy should.
func replaceScript(file, text string) error {
	syscall.ForkLock.RLock() // or a fork has it open for writing as it is executed
	err := os.WriteFile(file+".new", []byte(text), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// kill kills a process of the gateway's at random: a worker, or a warm parent.
func (s *soak) kill(ctx context.Context) {
	for ctx.Err() == nil {
		if all := descendants(s.g.pid); len(all) > 0 {
			s.kills.Add(1)
			syscall.Kill(all[rand.IntN(len(all))], syscall.SIGKILL)
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

type soakCensus struct{ files, goroutines, memory, processes float64 }

func (s *soak) census(t *testing.T) soakCensus {
	return soakCensus{s.g.metric(t, "process_open_fds", ""), s.g.metric(t, "go_goroutines", ""), s.g.metric(t, "process_resident_memory_bytes", ""), float64(len(descendants(s.g.pid)))}
}

// settles waits until descriptors, goroutines and processes are about what they were: idle
// workers are as many as the rate of the last seconds wants, each with two descriptors.
func (s *soak) settles(t *testing.T, before soakCensus) {
	t.Helper()
	var now soakCensus
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if now = s.census(t); now.files <= before.files+40 && now.goroutines <= before.goroutines+40 && now.processes <= before.processes+20 {
			t.Logf("before %+v, now %+v", before, now)
			assert.Less(t, now.memory, before.memory+100e6)
			return
		}
	}
	assert.Fail(t, "something is left", "before %+v, now %+v", before, now)
}
