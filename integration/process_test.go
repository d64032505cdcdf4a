//go:build linux

package integration

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long the tests wait for what should happen at once: the machine
// may be busy.
const patience = 20 * time.Second

// bounded is a context for what has to end by itself.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A server is a program that runs for the length of a test.
type server struct {
	name string
	cmd  *exec.Cmd
	pid  int
	out  *lastOutput // standard output and standard error

	hard bool          // it does not end by itself: fcgiwrap
	gone chan struct{} // closed when it has ended
	err  error         // how; valid after gone
}

// startServer starts a program in a process group of its own, and has it ended with
// the test, whatever becomes of it.
func startServer(t *testing.T, name string, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{name: name, cmd: cmd, out: &lastOutput{}, gone: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = s.out
	}
	cmd.Stderr = s.out
	// The last resort: a test binary that times out runs no cleanups.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	require.NoError(t, cmd.Start(), name)
	s.pid = cmd.Process.Pid
	go func() { // ends with the program
		s.err = cmd.Wait()
		close(s.gone)
	}()
	t.Cleanup(func() {
		s.stop(t)
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, s.out)
		}
	})
	return s
}

// stop asks the program to end, and ends it if it does not.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if s.hard {
		s.kill()
		return
	}
	syscall.Kill(s.pid, syscall.SIGTERM)
	select {
	case <-s.gone:
	case <-time.After(patience):
		t.Errorf("%s did not end on SIGTERM", s.name)
		s.kill()
	}
}

// kill ends it without a chance, and what it has started in its own group too.
func (s *server) kill() {
	if !s.hasEnded() {
		syscall.Kill(-s.pid, syscall.SIGKILL)
	}
	<-s.gone
}

func (s *server) hasEnded() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

// awaitDial waits until somebody listens.
func (s *server) awaitDial(t *testing.T, network, addr string) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := net.Dial(network, addr)
		if err == nil {
			c.Close()
		}
		return err == nil || s.hasEnded()
	}, patience, 10*time.Millisecond, "%s does not listen at %s", s.name, addr)
	require.False(t, s.hasEnded(), "%s ended at its start", s.name)
}

// lastOutput keeps the end of what a program writes.
type lastOutput struct {
	mu sync.Mutex
	b  []byte
}

const lastOutputMax = 256 << 10

func (o *lastOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, b...)
	if over := len(o.b) - lastOutputMax; over > 0 {
		o.b = append(o.b[:0], o.b[over:]...)
	}
	return len(b), nil
}

// reset forgets what was written.
func (o *lastOutput) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = nil
}

func (o *lastOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b)
}

// tempDir is a folder with a short name, so that a socket in it has one too, and that
// servers which run as another user may enter.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wcgi-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// freePort is a port that nobody listens at. It is not one of those that the kernel
// hands out by itself, so that it is still free a moment later.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + int(time.Now().UnixNano()/1000)%10000
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no free port found")
	return 0
}

// What follows looks into /proc.

// scriptsIn are the processes that were started as CGI programs and have dir in their
// environment: those of the gateway, and of servers, of one test.
func scriptsIn(dir string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(env, []byte("GATEWAY_INTERFACE=")) || !bytes.Contains(env, []byte(dir)) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		found = append(found, filepath.Base(filepath.Dir(f))+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
	}
	return found
}

// requireNoScripts waits until none is left.
func requireNoScripts(t *testing.T, dir string, within time.Duration) {
	t.Helper()
	var left []string
	require.Eventually(t, func() bool {
		left = scriptsIn(dir)
		return len(left) == 0
	}, within, 20*time.Millisecond, "processes are left")
}

// children are the children of a process, zombies included.
func children(pid int) []string {
	var all []string
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}

// descendants are all processes below a process.
func descendants(pid int) (all []int) {
	for _, c := range children(pid) {
		if n, err := strconv.Atoi(c); err == nil {
			all = append(append(all, n), descendants(n)...)
		}
	}
	return all
}

// descriptors is the number of files a process has open.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	return len(entries)
}

// memory is a figure of /proc/PID/status in octets: VmRSS is what a process has in
// memory now, VmHWM the most it ever had.
func memory(t *testing.T, pid int, name string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			require.NoError(t, err)
			return n << 10
		}
	}
	t.Fatalf("no %s in /proc/%d/status", name, pid)
	return 0
}

// forgetPeak makes VmHWM count from now on.
func forgetPeak(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0))
}

// cpuTime is what a process has used, itself and in the kernel.
func cpuTime(t *testing.T, pid int) (user, system time.Duration) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	tick := func(s string) time.Duration {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return time.Duration(n) * time.Second / 100
	}
	return tick(f[11]), tick(f[12])
}
