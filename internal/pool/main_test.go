//go:build linux

package pool

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"warmcgi/internal/census"
	"warmcgi/internal/cgi"
	"warmcgi/internal/shim"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// TestMain: this program is the shim, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "shim" {
		os.Exit(shim.Main())
	}
	census.Isolate()
	os.Exit(m.Run())
}

// site is a set of pools, and what it has logged.
type site struct {
	*Set
	t     testing.TB
	dir   string
	log   *lockedBuffer
	clock int
}

// newSite makes a set whose end is checked.
func newSite(t testing.TB, set func(*Config)) *site {
	t.Helper()
	s, end := openedSite(t, set)
	t.Cleanup(end)
	return s
}

// openedSite makes a set, and what ends it and checks that no process, descriptor or goroutine is left.
func openedSite(t testing.TB, set func(*Config)) (s *site, end func()) {
	t.Helper()
	before := openDescriptors(t)
	leaks := goleak.IgnoreCurrent()
	s = &site{t: t, dir: t.TempDir(), log: &lockedBuffer{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	spawn, err := cgi.NewSpawn(cgi.SpawnConfig{Log: log})
	require.NoError(t, err)
	c := Config{Spawn: spawn, Shim: []string{os.Args[0], "shim"}, Processors: 2, Log: log}
	if set != nil {
		set(&c)
	}
	s.Set, err = New(c)
	require.NoError(t, err)
	return s, func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, s.Close(ctx))
		assert.NoError(t, spawn.Close(ctx))
		if t.Failed() {
			t.Log(s.log.String())
		}
		s.eventually("children are left", func() bool { return len(children(t)) == 0 })
		s.eventually("descriptors are left", func() bool { return openDescriptors(t) <= before })
		goleak.VerifyNone(t, leaks)
	}
}

// write writes a file; each change of it has a time of its own.
func (s *site) write(name, text string) string {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	// A child that is forked meanwhile would hold the file open for writing: "text file busy".
	syscall.ForkLock.RLock()
	os.Remove(file)
	err := os.WriteFile(file, []byte(text), 0o755)
	syscall.ForkLock.RUnlock()
	require.NoError(s.t, err)
	s.clock++
	// In the past: a file that is written while it is loaded is loaded once more.
	when := time.Now().Add(time.Duration(s.clock)*time.Second - time.Hour)
	require.NoError(s.t, os.Chtimes(file, when, when))
	return file
}

// settings are those of a route.
func settings(mode cgi.Mode) *cgi.Workers {
	return &cgi.Workers{Mode: mode, Max: 8, Spare: 1, Idle: time.Minute}
}

// request is one for a script.
func (s *site) request(w *cgi.Workers, file string, vars ...string) *cgi.Request {
	s.t.Helper()
	name := "/" + filepath.Base(file)
	return &cgi.Request{
		ID: "id", Script: cgi.Script{Name: name, File: file, Dir: filepath.Dir(file)},
		Vars:    append([]string{"REQUEST_METHOD=GET", "GATEWAY_INTERFACE=CGI/1.1", "SCRIPT_NAME=" + name}, vars...),
		Env:     []string{"PATH=" + os.Getenv("PATH")},
		Workers: w, Timeout: cgi.Timeouts{Grace: 100 * time.Millisecond}, Queue: cgi.QueueLimits{Running: 8, Length: 100, Wait: patience},
	}
}

// answer is what became of a request.
type answer struct {
	body string
	mode cgi.Mode
	exit cgi.Exit
	err  error
}

// do has a request answered, and waits for its end.
func (s *site) do(ctx context.Context, req *cgi.Request) answer { return s.doBy(ctx, s, req) }

func (s *site) doBy(ctx context.Context, by cgi.Backend, req *cgi.Request) answer {
	ended := make(chan cgi.Exit, 1)
	req.AtEnd(func(e cgi.Exit) { ended <- e })
	var a answer
	res, err := by.RoundTrip(ctx, req)
	a.err = err
	if err == nil {
		b, err := io.ReadAll(res.Body)
		a.body, a.err = string(b), err
		res.Body.Close()
	}
	select {
	case a.exit = <-ended:
	case <-time.After(patience):
		a.err = fmt.Errorf("the request does not end: %w", a.err)
	}
	a.mode = req.Mode
	return a
}

// ask asks a script, which must answer.
func (s *site) ask(w *cgi.Workers, file string, vars ...string) answer {
	s.t.Helper()
	a := s.do(context.Background(), s.request(w, file, vars...))
	require.NoError(s.t, a.err)
	return a
}

// until asks a script until it answers in a mode.
func (s *site) until(mode cgi.Mode, w *cgi.Workers, file string, vars ...string) answer {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if a := s.do(context.Background(), s.request(w, file, vars...)); a.mode == mode {
			return a
		}
	}
	require.Fail(s.t, "not answered in mode "+string(mode), "%+v\n%s", s.Status(), s.log)
	return answer{}
}

// status is that of the only script.
func (s *site) status() Status {
	s.t.Helper()
	all := s.Status()
	require.Len(s.t, all, 1)
	return all[0]
}

// reaches waits for a state of the only script.
func (s *site) reaches(state State) Status {
	s.t.Helper()
	s.eventually("state "+string(state), func() bool { return s.status().State == state })
	return s.status()
}

func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.Fail(s.t, what, "%+v\n%s", s.Status(), s.log)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) count(s string) int { return strings.Count(l.String(), s) }
