package fcgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

// testProgram is a Program of this test binary, see TestMain.
type testProgram struct {
	*Program
	t   *testing.T
	log *logBuffer
}

func newTestProgram(t *testing.T, what string, set ...func(*ProgramConfig)) *testProgram {
	t.Helper()
	log := &logBuffer{}
	c := ProgramConfig{
		File: os.Args[0], Dir: t.TempDir(), Env: []string{"FCGI_TEST=" + what, "GORACE=atexit_sleep_ms=0"}, Processes: 2, Grace: time.Second,
		Log: slog.New(slog.NewTextHandler(log, nil)), Stderr: func(*cgi.Request, string) {},
	}
	for _, f := range set {
		f(&c)
	}
	p, err := NewProgram(c)
	require.NoError(t, err)
	s := &testProgram{Program: p, t: t, log: log}
	t.Cleanup(func() {
		if !s.closed() {
			s.Close(context.Background())
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return s
}

// program is a process of a testProgram: it serves FastCGI on descriptor 0, and does what
// a request's A says.
func program(what string) {
	if what == "dies" {
		fmt.Fprintln(os.Stderr, "no such library")
		os.Exit(3)
	}
	var connected sync.Mutex
	if what == "finishes" { // the connection that it has, as libfcgi does
		ending := make(chan os.Signal, 1)
		signal.Notify(ending, syscall.SIGTERM)
		go func() { // ends with the process
			<-ending
			connected.Lock()
			os.Exit(0)
		}()
	}
	for {
		fd, _, err := syscall.Accept(0)
		if err != nil {
			os.Exit(1)
		}
		connected.Lock()
		c := newFakeConn(fd)
		for {
			q, ok := c.request()
			if !ok {
				break
			}
			switch q.vars["A"] {
			case "die":
				os.Exit(4)
			case "die once":
				if syscall.Mkdir(os.Getenv("FCGI_ONCE"), 0o755) == nil {
					os.Exit(4)
				}
			case "slow":
				time.Sleep(100 * time.Millisecond)
			}
			c.answer(fmt.Sprint(os.Getpid(), " ", q.vars["A"]))
		}
		c.Close()
		connected.Unlock()
	}
}

func (s *testProgram) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

func (s *testProgram) ask(a string, opts ...requestOption) (string, error) {
	req := aRequest(append(opts, withVars("A="+a))...)
	req.Queue.Wait = patience
	res, err := s.RoundTrip(context.Background(), req)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	pid, _, _ := strings.Cut(string(b), " ")
	return pid, err
}

func TestAProcessThatIsReplacedNeedNotWaitOnItsKeptConnection(t *testing.T) {
	s := newTestProgram(t, "finishes", func(c *ProgramConfig) { c.Processes, c.Requests, c.Grace = 1, 1, 2*patience })
	pids := map[string]bool{}
	for range 3 {
		pid, err := s.ask("x")
		require.NoError(t, err)
		pids[pid] = true
	}
	assert.Len(t, pids, 3)
}

func TestEachProcessOfAProgramHasOneRequestAtATime(t *testing.T) {
	s := newTestProgram(t, "serves")
	var mu sync.Mutex
	pids := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			pid, err := s.ask("slow")
			assert.NoError(t, err)
			mu.Lock()
			pids[pid]++
			mu.Unlock()
		})
	}
	wg.Wait()
	assert.Len(t, pids, 2)
}

func TestAProcessThatDiesCostsItsRequestOnlyAndIsReplaced(t *testing.T) {
	s := newTestProgram(t, "serves", func(c *ProgramConfig) { c.Processes = 1 })
	first, err := s.ask("x")
	require.NoError(t, err)
	_, err = s.ask("die", withBody(strings.NewReader("x"), 1))
	assert.ErrorIs(t, err, cgi.ErrNoOutput)
	assert.Eventually(t, func() bool { pid, err := s.ask("x"); return err == nil && pid != first }, patience, 10*time.Millisecond)
}

func TestASafeRequestWhoseProcessDiedGoesToAnotherOne(t *testing.T) {
	s := newTestProgram(t, "serves", func(c *ProgramConfig) { c.Env = append(c.Env, "FCGI_ONCE="+filepath.Join(t.TempDir(), "once")) })
	_, err := s.ask("die once")
	assert.NoError(t, err)
}

func TestProcessesThatHaveAnsweredAreStartedAgainAtOnceHoweverYoungTheyWere(t *testing.T) {
	s := newTestProgram(t, "serves", func(c *ProgramConfig) { c.Processes = 1 })
	for range 5 {
		_, err := s.ask("x")
		require.NoError(t, err, "it waits for the new process")
		_, err = s.ask("die", withBody(strings.NewReader("x"), 1))
		assert.ErrorIs(t, err, cgi.ErrNoOutput)
	}
	assert.NotContains(t, s.log.String(), "does not last")
}

func TestAProgramThatDoesNotLastSaysWhyAtOnce(t *testing.T) {
	s := newTestProgram(t, "dies")
	var err error
	assert.Eventually(t, func() bool { _, err = s.ask("x"); return errors.Is(err, cgi.ErrUnreachable) }, patience, 10*time.Millisecond)
	require.Error(t, err)
	assert.Contains(t, err.Error(), "exit status 3")
	assert.Contains(t, s.log.String(), "no such library")
	assert.LessOrEqual(t, strings.Count(s.log.String(), "does not last"), 20, "it is not started all the time")
}

func TestAProcessIsReplacedAfterItsRequestsAndItsTime(t *testing.T) {
	for name, set := range map[string]func(*ProgramConfig){
		"requests": func(c *ProgramConfig) { c.Requests = 5 },
		"age":      func(c *ProgramConfig) { c.Age = 50 * time.Millisecond },
		"memory":   func(c *ProgramConfig) { c.Memory = 1; c.Age = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "memory" && testing.Short() {
				t.Skip("takes ten seconds")
			}
			s := newTestProgram(t, "serves", set)
			pids, want := map[string]bool{}, 3
			if name == "memory" {
				want = 2 // it is looked at every ten seconds
			}
			for deadline := time.Now().Add(patience); len(pids) < want && time.Now().Before(deadline); {
				pid, err := s.ask("x")
				require.NoError(t, err, "no request is lost")
				pids[pid] = true
			}
			assert.Len(t, pids, want)
			assert.NotContains(t, s.log.String(), "does not last")
		})
	}
}

func TestNothingIsLeftOfAProgram(t *testing.T) {
	s := newTestProgram(t, "serves")
	_, err := s.ask("x")
	require.NoError(t, err)
	s.mu.Lock()
	var pids []int
	for _, sl := range s.slots {
		pids = append(pids, sl.proc.pid)
	}
	s.mu.Unlock()
	require.Len(t, pids, 2)
	assert.True(t, s.Owns(pids[0]))
	s.Close(context.Background())
	for _, pid := range pids {
		assert.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	}
	_, err = os.Stat(filepath.Dir(s.slots[0].transport.c.Address))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
