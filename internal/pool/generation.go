package pool

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/puddle/v2"

	"warmcgi/internal/cgi"
	"warmcgi/internal/confine"
	"warmcgi/internal/shim"
)

// A generation is one warm parent of a script, and the workers that it has forked. When
// the script changes a new generation follows; workers of the old one end what they do.
//
// All fields below mu belong to the lock of the pool.
type generation struct {
	p       *Pool
	mode    cgi.Mode // warm or reuse
	began   time.Time
	dir     string   // of the script's socket; nobody else may enter it
	ln      *os.File // the script's socket: net's listeners can't be accepted from by hand
	control *os.File
	cookie  string
	proc    atomic.Pointer[os.Process] // the shim, which becomes the warm parent or makes it
	handed  chan struct{}              // closed when proc is the warm parent for good
	log     *cgi.Stderr
	in, out *os.File // our ends of the warm parent's descriptors 0 and 1, while it loads
	files   *files

	// mu sync.Mutex is p.mu

	unsafe   string // why it may not be forked from, as far as it has said so
	isReady  bool
	readyAt  time.Time
	retired  bool // no request is given to it any more
	dead     bool // the warm parent has ended
	lastLine string
	hints    map[string]string // late modules that it was told to load

	retiredAt time.Time
	movedAt   time.Time // when a worker last became idle
	killedAt  time.Time // when it was told to end at once, with its workers

	workers map[int]*worker
	idlers  *puddle.Pool[*worker]
	idle    int         // workers in idlers that are not acquired
	pending []time.Time // when the workers were ordered that have not come yet
	busy    int         // workers with a request, or on their way back from one
	pss     int64       // of the warm parent, as last measured
	left    chan struct{}
}

// start makes the shim and sends it its orders. The rest is told by the control socket.
func (p *Pool) newGeneration(mode cgi.Mode, hints map[string]string) (*generation, error) {
	g := &generation{
		p: p, mode: mode, began: time.Now(), cookie: rand.Text(), hints: hints,
		workers: map[int]*worker{}, left: make(chan struct{}), handed: make(chan struct{}), files: newFiles(p.script.File),
	}
	var err error
	g.idlers, err = puddle.NewPool(&puddle.Config[*worker]{
		// Workers come by themselves, see arrive.
		Constructor: workerOf,
		Destructor:  func(*worker) {},
		MaxSize:     maxWorkers,
	})
	if err != nil {
		return nil, err
	}
	if g.dir, err = os.MkdirTemp(p.set.dir, "s"); err != nil {
		return nil, err
	}
	if g.ln, err = p.listen(g.dir); err != nil {
		os.RemoveAll(g.dir)
		return nil, err
	}
	if err := g.exec(); err != nil {
		g.ln.Close()
		os.RemoveAll(g.dir)
		return nil, err
	}
	return g, nil
}

// exec starts the shim. Descriptor 0 holds an octet that must stay there, and
// descriptor 1 must stay empty: that is how loading is seen to touch neither.
func (g *generation) exec() (err error) {
	pair, err := socketpair()
	if err != nil {
		return err
	}
	g.control = os.NewFile(uintptr(pair[0]), "control socket")
	theirs := os.NewFile(uintptr(pair[1]), "control socket")
	defer theirs.Close()
	inR, inW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, g.control.Close())
	}
	inW.Write([]byte{'x'})
	inW.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, g.control.Close(), inR.Close())
	}
	defer outW.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, g.control.Close(), inR.Close(), outR.Close())
	}
	defer errW.Close()
	g.in, g.out = inR, outR
	cmd := exec.Command(g.p.set.c.Shim[0], g.p.set.c.Shim[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, errW
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = []string{} // that of the script comes with the order
	cmd.SysProcAttr = shimAttr()
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("shim: %w", err), g.control.Close(), inR.Close(), outR.Close(), errR.Close())
	}
	g.proc.Store(cmd.Process)
	g.log = cgi.NewStderr(dupNonblocking(errR))
	errR.Close()
	g.log.Follow(g.stderrLine)
	return g.order()
}

// order tells the shim what to execute, and the runner what to load.
func (g *generation) order() error {
	p := g.p
	o := shim.Order{
		Version: shim.Version, Script: p.script.File, Dir: p.script.Dir, Mode: string(g.mode),
		Argv: p.program.Argv, Runner: p.settings.Runner, Env: p.env,
		Confine: p.confine, Gateway: os.Getpid(), Socket: filepath.Join(g.dir, "s"),
	}
	if p.program.Language != nil {
		o.Language = p.program.Language.Name
	}
	first, err := o.Encode()
	if err != nil {
		return err
	}
	captured := "refuse"
	if p.settings.AcceptCaptured {
		captured = "accept"
	}
	words := []string{"version", "1", "cookie", g.cookie, "mode", string(g.mode), "script", p.script.File,
		"socket", o.Socket, "captured", captured}
	if p.confine != nil && p.confine.Limits.Processes > 0 {
		words = append(words, "processes", strconv.Itoa(p.confine.Limits.Processes))
	}
	for _, name := range requestVariables(p.vars, p.env) {
		words = append(words, "variable", name)
	}
	for _, v := range p.env {
		words = append(words, "env", v)
	}
	for _, m := range p.settings.Preload {
		words = append(words, "preload", m)
	}
	for name, file := range g.hints {
		words = append(words, "late", name+"="+file)
	}
	go func() { // ends when the shim has read it, or has gone
		g.control.Write(append(first, shim.Netstring(shim.Pairs(words...))...))
	}()
	return nil
}

// runnersFile is what an interpreter takes for the name of its program.
const runnersFile = "/proc/self/fd/4"

func (g *generation) stderrLine(s string) {
	s = strings.ReplaceAll(s, runnersFile, g.p.script.File)
	g.p.mu.Lock()
	g.lastLine = s
	g.p.mu.Unlock()
	g.p.set.c.Log.Warn("a warm parent wrote to standard error", "script", g.p.script.Name, "line", s)
}

// run follows the warm parent to its end, and that of its workers.
func (g *generation) run() {
	go g.acceptAll() // ends with the listener
	ended := make(chan string, 1)
	go func() { // ends with the warm parent
		first := g.process()
		state, err := first.Wait()
		if g.p.confine.Limited() {
			<-g.handed
		}
		if p := g.process(); p != first { // the shim has made it, and is done
			state, err = p.Wait()
		}
		ended <- g.parentEnded(state, err)
	}()
	err := g.read()
	if err != nil {
		g.fail(err.Error())
	}
	g.p.broken(g, <-ended) // unless a line has said why
	g.control.Close()
	g.ln.Close()
	g.log.Close()
	g.in.Close()
	g.out.Close()
	os.RemoveAll(g.dir)
	close(g.left)
}

// read takes lines until the warm parent and all its workers have let go of the socket.
func (g *generation) read() error {
	r := bufio.NewReaderSize(g.control, maxLine)
	l, err := g.readLine(r)
	ours := err == nil && l.verb == "pid" && g.p.confine.Limited() // the shim's, of another process that has the limits
	if ours {
		err = g.handOver(l)
	}
	close(g.handed)
	if ours && err == nil {
		l, err = g.readLine(r)
	}
	switch {
	case err != nil:
	case l.verb == "failed":
		g.loadFailed(l.word(0))
	case l.verb != "hello" || l.word(0) != "1" || l.word(1) != g.cookie:
		return fmt.Errorf("it began with %q and not with version 1 and the cookie", clip(l.verb+" "+strings.Join(l.words, " ")))
	default:
		g.p.runs(clip(l.word(2) + " " + l.word(3)))
	}
	for err == nil {
		if l, err = g.readLine(r); err == nil {
			if err := g.take(l); err != nil {
				return err
			}
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (g *generation) readLine(r *bufio.Reader) (line, error) {
	l, err := readLine(r)
	if trace := g.p.set.c.Trace; trace != nil && err == nil {
		trace(false, l.verb+" "+strings.Join(l.words, " "))
	}
	return l, err
}

// take is what each line does.
func (g *generation) take(l line) error {
	switch l.verb {
	case "file":
		g.files.add(l.word(0))
		if n := g.files.count(); n > maxFiles {
			return fmt.Errorf("it names more than %d files", maxFiles)
		}
		return nil
	case "unsafe":
		g.p.unsafe(g, l.word(0))
		return nil
	case "captured":
		g.p.captured(g, l.word(0))
		return nil
	case "failed":
		g.loadFailed(l.word(0))
		return nil
	case "ready":
		g.p.ready(g)
		return nil
	}
	pid, err := l.number(0)
	if err != nil {
		return err
	}
	if pid < 2 { // wait and kill take these for something else; it is what a fork returns that failed
		return fmt.Errorf("line %q: %d is no worker", clip(l.verb), pid)
	}
	switch l.verb {
	case "forked":
		if !g.forked(pid) {
			return fmt.Errorf("it names more than %d workers", maxWorkers)
		}
	case "late":
		g.p.late(g, l.word(1), l.word(2))
	case "done":
		code, err := l.number(1)
		if err != nil {
			return err
		}
		g.done(pid, code, l.word(2))
	case "exit":
		status, err := l.number(1)
		if err != nil {
			return err
		}
		e := exitOf(syscall.WaitStatus(status))
		if user, err := l.number(2); err == nil && user >= 0 {
			e.User = time.Duration(user) * time.Microsecond
		}
		if system, err := l.number(3); err == nil && system >= 0 {
			e.System = time.Duration(system) * time.Microsecond
		}
		g.exited(pid, e)
	default:
		return fmt.Errorf("unknown line %q", clip(l.verb))
	}
	return nil
}

// checkLoaded looks from outside at a warm parent that says it is ready. It returns why
// its children would not be like fresh processes, or "".
func (g *generation) checkLoaded() string {
	if buffered(g.out) > 0 {
		return "writes output while it is loaded"
	}
	if buffered(g.in) == 0 {
		return "reads standard input while it is loaded"
	}
	if g.p.spent(g.pid()) {
		return "takes more than half of its processor time to be loaded (" + g.p.confine.Describe(confine.CPU) + ")"
	}
	var why string
	g.p.confine.Look(func() { why = unsafeToFork(g.pid()) })
	return why
}

// loadFailed: the runner or the shim could not load the script.
func (g *generation) loadFailed(why string) {
	why = strings.ReplaceAll(why, runnersFile, g.p.script.File)
	if last := g.p.lastLineOf(g); last != "" && !strings.Contains(why, last) {
		why += ": " + last
	}
	g.fail(why)
}

// fail gives the generation up.
func (g *generation) fail(why string) {
	g.p.broken(g, why)
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	g.kill()
}

// kill ends the warm parent; it takes its workers with it, see docs/worker-protocol.md.
// The caller must hold p.mu.
func (g *generation) kill() {
	if g.killedAt.IsZero() {
		g.killedAt = time.Now()
	}
	g.process().Signal(syscall.SIGTERM)
}

func (g *generation) process() *os.Process { return g.proc.Load() }

func (g *generation) pid() int { return g.process().Pid }

// handOver: the shim names the process that it has made the warm parent of.
func (g *generation) handOver(l line) error {
	pid, err := l.number(0)
	if err != nil {
		return err
	}
	proc, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	g.proc.Store(proc)
	return nil
}

// parentEnded: without a warm parent nobody waits for its workers but us. It returns how
// the warm parent ended.
func (g *generation) parentEnded(state *os.ProcessState, err error) string {
	how := "its exit status was lost"
	if err == nil {
		how = state.String()
	}
	p := g.p
	p.mu.Lock()
	g.dead = true
	loaded := g.isReady // otherwise its last lines are still to be read
	var orphans []*worker
	for _, w := range g.workers {
		if w.named {
			orphans = append(orphans, w)
		}
	}
	g.endIfEmptyLocked()
	p.mu.Unlock()
	if last := p.lastLineOf(g); last != "" {
		how += ": " + last
	}
	how = "the warm parent has ended: " + how
	if loaded {
		p.broken(g, how)
	}
	for _, w := range orphans {
		go g.adopt(w) // ends with the worker
	}
	return how
}

// adopt waits for a worker whose warm parent has ended. It is our own child then, where
// we are a subreaper; elsewhere nobody can tell how it ended.
func (g *generation) adopt(w *worker) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(w.pid, &ws, syscall.WNOHANG, nil)
		if pid == w.pid {
			g.exited(w.pid, exitOf(ws))
			return
		}
		if err == syscall.ECHILD && syscall.Kill(w.pid, 0) == syscall.ESRCH {
			g.exited(w.pid, cgi.Exit{Started: true, Code: -1})
			return
		}
		time.Sleep(pause)
	}
}

// send gives the warm parent an order. It never waits: one that does not read its
// socket is stuck. The caller must hold p.mu.
func (g *generation) send(s string) {
	if trace := g.p.set.c.Trace; trace != nil {
		trace(true, strings.TrimSuffix(s, "\n"))
	}
	err := error(syscall.EPIPE)
	if c, cerr := g.control.SyscallConn(); cerr == nil {
		c.Write(func(fd uintptr) bool {
			for {
				if _, err = syscall.Write(int(fd), []byte(s)); err != syscall.EINTR {
					return true
				}
			}
		})
	}
	if err != nil && !g.dead {
		g.kill()
	}
}

// exitOf reads a raw exit status.
func exitOf(ws syscall.WaitStatus) cgi.Exit {
	e := cgi.Exit{Started: true, Code: -1}
	if ws.Signaled() {
		e.Signal = cgi.SignalName(ws.Signal())
	} else {
		e.Code = ws.ExitStatus()
	}
	return e
}
