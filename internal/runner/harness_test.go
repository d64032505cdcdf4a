//go:build linux

package runner

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The gateway's half of docs/worker-protocol.md, as small as it can be.

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// setup is how a warm parent is started. The zero value is mode warm.
type setup struct {
	mode     string
	env      []string // base environment; nil is PATH alone
	preload  []string
	late     []string
	given    []string // what the warm parent has beside env
	captured string
	perl     string // the route's interpreter
}

// request is one request for a script.
type request struct {
	vars []string // NAME=value, on top of the usual ones
	args []string
	body string
}

// answer is what became of a request.
type answer struct {
	out, stderr string
	done        bool
	code        int
	left        string
	late        []string
	pid         int
	status      syscall.WaitStatus
}

type parent struct {
	script string
	setup  setup
	cmd    *exec.Cmd
	ctl    *os.File
	ln     *net.UnixListener
	loaded chan struct{} // closed at ready or failed, or at the end
	log    *lockedBuffer
	stdin  *os.File
	stdout *os.File

	// Of the reader of ctl until loaded is closed.
	files, unsafe, captured []string
	failed                  string
	isReady                 bool

	mu     sync.Mutex
	cond   *sync.Cond
	forked map[int]bool
	exits  map[int]syscall.WaitStatus
	dones  map[int][]string // the words of done, of the running request
	lates  map[int][]string
	ended  bool

	reused *worker // mode reuse: the worker that goes on
}

type worker struct {
	pid int
	err *net.UnixConn
	req *net.UnixConn
	log *lockedBuffer
}

// write puts an executable script into a folder of its own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	// A child that is forked meanwhile would hold the file open for writing: "text file busy".
	syscall.ForkLock.RLock()
	err := os.WriteFile(file, []byte(text), 0o755)
	syscall.ForkLock.RUnlock()
	require.NoError(t, err)
	return file
}

// start runs a script's warm parent, as the shim does.
func start(t *testing.T, script string, s setup) *parent {
	t.Helper()
	if s.mode == "" {
		s.mode = "warm"
	}
	if s.env == nil {
		s.env = []string{"PATH=" + os.Getenv("PATH")}
	}
	if s.captured == "" {
		s.captured = "refuse"
	}
	prog, err := Find(script, s.perl)
	require.NoError(t, err)
	text, err := prog.Language.Text(script, s.mode)
	require.NoError(t, err)
	memfd, err := unix.MemfdCreate("runner", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	mem := os.NewFile(uintptr(memfd), "runner")
	_, err = mem.Write(text)
	require.NoError(t, err)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(pair[0], true)) // so that Close ends a read
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")

	dir, err := os.MkdirTemp("", "w")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	require.NoError(t, err)

	p := &parent{script: script, setup: s, ctl: ours, ln: ln, loaded: make(chan struct{}), log: &lockedBuffer{},
		forked: map[int]bool{}, exits: map[int]syscall.WaitStatus{}, dones: map[int][]string{}, lates: map[int][]string{}}
	p.cond = sync.NewCond(&p.mu)
	inR, inW, err := os.Pipe()
	require.NoError(t, err)
	inW.Write([]byte("x"))
	inW.Close()
	outR, outW, err := os.Pipe()
	require.NoError(t, err)
	p.stdin, p.stdout = inR, outR
	env := slices.Concat(s.env, []string{"GATEWAY_INTERFACE=CGI/1.1"}, s.given)
	p.cmd = &exec.Cmd{
		Path: prog.Argv[0], Args: append(append([]string{}, prog.Argv...), "/proc/self/fd/4"),
		Dir: filepath.Dir(script), Env: env, Stdin: inR, Stdout: outW, Stderr: p.log,
		ExtraFiles: []*os.File{theirs, mem}, WaitDelay: time.Second,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM},
	}
	require.NoError(t, p.cmd.Start())
	theirs.Close()
	mem.Close()
	outW.Close()
	go p.read()
	t.Cleanup(p.stop)

	pairs := []string{"version", "1", "cookie", "co%o kie", "mode", s.mode, "script", script, "socket", ln.Addr().String(), "captured", s.captured, "future", "x"}
	for _, v := range env {
		pairs = append(pairs, "env", v)
	}
	for _, m := range s.preload {
		pairs = append(pairs, "preload", m)
	}
	for _, m := range s.late {
		pairs = append(pairs, "late", m)
	}
	_, err = ours.Write(netstring(pairs))
	require.NoError(t, err)
	return p
}

func netstring(pairs []string) []byte {
	s := strings.Join(pairs, "\x00") + "\x00"
	return []byte(strconv.Itoa(len(s)) + ":" + s + ",")
}

// read takes the lines of the warm parent and its workers. It ends with the last of them.
func (p *parent) read() {
	r := bufio.NewReader(p.ctl)
	said := false
	once := sync.OnceFunc(func() { close(p.loaded) })
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			once()
			p.mu.Lock()
			p.ended = true
			p.cond.Broadcast()
			p.mu.Unlock()
			return
		}
		w := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		for i := range w {
			w[i], err = url.PathUnescape(w[i])
			if err != nil {
				panic(fmt.Sprintf("bad line %q", line))
			}
		}
		if !said && (w[0] != "hello" || len(w) != 5 || w[1] != "1" || w[2] != "co%o kie") && w[0] != "failed" {
			panic(fmt.Sprintf("first line %q", line))
		}
		said = true
		p.mu.Lock()
		switch w[0] {
		case "hello":
		case "file":
			p.files = append(p.files, w[1])
		case "unsafe":
			p.unsafe = append(p.unsafe, w[1])
		case "captured":
			p.captured = append(p.captured, w[1])
		case "failed":
			p.failed = w[1]
			once()
		case "ready":
			p.isReady = true
			once()
		case "forked":
			p.forked[atoi(w[1])] = true
		case "exit":
			p.exits[atoi(w[1])] = syscall.WaitStatus(atoi(w[2]))
			_, _ = atoi(w[3]), atoi(w[4])
		case "done":
			p.dones[atoi(w[1])] = w[2:4]
		case "late":
			p.lates[atoi(w[1])] = append(p.lates[atoi(w[1])], w[2]+"="+w[3])
		default:
			panic(fmt.Sprintf("unknown line %q", line))
		}
		p.cond.Broadcast()
		p.mu.Unlock()
	}
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// outcome waits until the script is loaded, or could not be.
func (p *parent) outcome(t *testing.T) {
	t.Helper()
	select {
	case <-p.loaded:
	case <-time.After(patience):
		t.Fatalf("neither ready nor failed; standard error: %s", p.stderr())
	}
}

func (p *parent) ready(t *testing.T) {
	t.Helper()
	p.outcome(t)
	require.True(t, p.isReady, "failed: %s; captured: %v; standard error: %s", p.failed, p.captured, p.stderr())
}

// written is what loading wrote to descriptor 1 so far.
func (p *parent) written() string {
	b := make([]byte, 4096)
	p.stdout.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, _ := p.stdout.Read(b)
	return string(b[:n])
}

// consumed reports whether loading has read standard input.
func (p *parent) consumed(t *testing.T) bool {
	n, err := unix.IoctlGetInt(int(p.stdin.Fd()), unix.TIOCINQ)
	require.NoError(t, err)
	return n == 0
}

// stderr is what the warm parent has written to its standard error.
func (p *parent) stderr() string { return p.log.String() }

// wait waits for a condition; the caller gets p.mu locked in ok, and must not keep it.
func (p *parent) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timer := time.AfterFunc(patience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = true
		p.cond.Broadcast()
	})
	defer timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !ok() {
		if p.ended {
			t.Fatalf("the warm parent is gone, or it takes too long: %s; standard error: %s", what, p.log.String())
		}
		p.cond.Wait()
	}
}

func (p *parent) accept(t *testing.T) (*net.UnixConn, int) {
	t.Helper()
	p.ln.SetDeadline(time.Now().Add(patience))
	c, err := p.ln.AcceptUnix()
	require.NoError(t, err, "a worker's connection; standard error: %s", p.log.String())
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	var cred *unix.Ucred
	raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	require.NoError(t, err)
	return c, int(cred.Pid)
}

// worker gets an idle worker: a new one, or in mode reuse the one that came back.
func (p *parent) worker(t *testing.T) *worker {
	t.Helper()
	if w := p.reused; w != nil {
		return w
	}
	_, err := p.ctl.WriteString("fork 1\n")
	require.NoError(t, err)
	w := &worker{log: &lockedBuffer{}}
	w.err, w.pid = p.accept(t)
	go w.log.follow(w.err) // ends with the worker and what it has started
	var pid int
	w.req, pid = p.accept(t)
	require.Equal(t, w.pid, pid)
	p.wait(t, "forked", func() bool { return p.forked[pid] })
	return w
}

func environment(script string, base []string, r request) []string {
	env := []string{"GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "SERVER_NAME=localhost", "SERVER_PORT=80",
		"SCRIPT_NAME=/cgi-bin/" + filepath.Base(script), "SCRIPT_FILENAME=" + script, "REMOTE_ADDR=127.0.0.1", "QUERY_STRING="}
	if r.body == "" {
		env = append(env, "REQUEST_METHOD=GET")
	} else {
		env = append(env, "REQUEST_METHOD=POST", "CONTENT_LENGTH="+strconv.Itoa(len(r.body)), "CONTENT_TYPE=application/x-www-form-urlencoded")
	}
	all := append(append(append([]string{}, base...), env...), r.vars...)
	var once []string
	for i, v := range all { // the last one of a name counts
		name := v[:strings.IndexByte(v, '=')+1]
		later := false
		for _, w := range all[i+1:] {
			later = later || strings.HasPrefix(w, name)
		}
		if !later {
			once = append(once, v)
		}
	}
	return once
}

// ask has one request answered by one worker.
func (p *parent) ask(t *testing.T, r request) answer {
	t.Helper()
	w := p.worker(t)
	p.mu.Lock()
	delete(p.dones, w.pid)
	delete(p.lates, w.pid)
	p.mu.Unlock()
	before := len(w.log.String())
	var pairs []string
	for _, v := range environment(p.script, p.setup.env, r) {
		name, value, _ := strings.Cut(v, "=")
		pairs = append(pairs, name, value)
	}
	for _, a := range r.args {
		pairs = append(pairs, "=arg", a)
	}
	pairs = append(pairs, "=future", "x")
	req := w.req // in mode reuse, w.req is another one when the worker comes back
	go func() {  // ends when the worker takes no more, or has all
		req.Write(append(netstring(pairs), r.body...))
		req.CloseWrite()
	}()
	req.SetReadDeadline(time.Now().Add(patience))
	go func() { // ends with the request. What is left open must not hold the answer.
		p.mu.Lock()
		defer p.mu.Unlock()
		for p.dones[w.pid] == nil && !p.ended {
			if _, gone := p.exits[w.pid]; gone {
				break
			}
			p.cond.Wait()
		}
		req.SetReadDeadline(time.Now().Add(time.Second))
	}()
	out, err := io.ReadAll(req)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) && !(errors.Is(err, os.ErrDeadlineExceeded) && p.finished(w.pid)) {
		t.Fatalf("reading the answer: %v; so far %q; standard error: %s", err, out, w.log.String())
	}
	req.Close()
	a := answer{out: string(out), pid: w.pid}
	p.wait(t, "done or exit", func() bool {
		st, gone := p.exits[w.pid]
		done := p.dones[w.pid]
		if done != nil {
			a.done, a.code, a.left = true, atoi(done[0]), done[1]
		}
		a.status, a.late = st, p.lates[w.pid]
		return gone || (done != nil && p.setup.mode == "reuse")
	})
	p.reused = nil
	if p.setup.mode == "reuse" && p.returns(t, w) {
		p.reused = w
	}
	// What was written before done is in the channel or in the log.
	for deadline := time.Now().Add(patience); w.log.behind(w.err) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	a.stderr = w.log.String()[before:]
	return a
}

func (p *parent) finished(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, gone := p.exits[pid]
	return gone || p.dones[pid] != nil
}

// returns waits until a worker of mode reuse has come back, or ended.
func (p *parent) returns(t *testing.T, w *worker) bool {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		p.ln.SetDeadline(time.Now().Add(20 * time.Millisecond))
		if c, err := p.ln.AcceptUnix(); err == nil {
			w.req = c
			return true
		}
		p.mu.Lock()
		_, gone := p.exits[w.pid]
		p.mu.Unlock()
		if gone {
			return false
		}
		require.True(t, time.Now().Before(deadline), "the worker neither ends nor comes back; standard error: %s", p.log.String())
	}
}

// stop ends the warm parent as a gateway's end does, and waits for it.
func (p *parent) stop() {
	p.ctl.Close()
	p.ln.Close()
	timer := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	p.cmd.Wait()
}

// plain runs the script as plain CGI does.
func plain(t *testing.T, script string, r request, base ...string) answer {
	t.Helper()
	if base == nil {
		base = []string{"PATH=" + os.Getenv("PATH")}
	}
	var out, errs bytes.Buffer
	cmd := &exec.Cmd{Path: script, Args: append([]string{script}, r.args...), Dir: filepath.Dir(script),
		Env: environment(script, base, r), Stdout: &out, Stderr: &errs, WaitDelay: patience,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}}
	if r.body != "" {
		cmd.Stdin = struct{ io.Reader }{strings.NewReader(r.body)} // a pipe
	}
	timer := time.AfterFunc(patience, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) && !errors.Is(err, syscall.EPIPE) {
		t.Fatalf("plain: %v", err)
	}
	return answer{out: out.String(), stderr: errs.String(), pid: cmd.Process.Pid, status: cmd.ProcessState.Sys().(syscall.WaitStatus)}
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

// follow reads a channel to its end.
func (l *lockedBuffer) follow(c *net.UnixConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, 32<<10)
	for n := 1; n > 0 && err == nil; {
		err = raw.Read(func(fd uintptr) bool {
			l.mu.Lock() // no octet is in neither place
			defer l.mu.Unlock()
			var rerr error
			if n, rerr = unix.Read(int(fd), b); rerr == unix.EAGAIN || rerr == unix.EINTR {
				n = 1
				return rerr == unix.EINTR
			}
			l.b.Write(b[:max(n, 0)])
			return true
		})
	}
}

// behind reports whether there is something in a channel that is followed.
func (l *lockedBuffer) behind(c *net.UnixConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n > 0
}
