package cgi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"warmcgi/internal/cgroup"
)

const (
	// watchAfter is the age at which a process gets a goroutine that waits for its
	// exit and drains its standard error. Most scripts never get that old, and cost
	// no goroutine beside the request's own.
	watchAfter = 50 * time.Millisecond
	// settleTime is how long the end of an answer waits for the exit status behind
	// it: the kernel closes a dying script's descriptors just before it can be
	// waited for, and only the status tells a crash from an end.
	settleTime = 200 * time.Millisecond
	// verdictTime is how long the warm parent of a worker that has ended may take to say
	// how. Until then its answer may be cut short.
	verdictTime = 10 * time.Second
	// lingerTime is how long an answer stays open, in silence, when its script has
	// ended and only a daemon of its making holds standard output.
	lingerTime = 500 * time.Millisecond
	// groupPoll is how often a group that outlived its script is looked at.
	groupPoll = 100 * time.Millisecond
)

// A process is a running script. Its reading side (read, settle, finish) belongs to
// one goroutine at a time: the request's, and after output.Close the one that
// finishes it. Everything else only sets a flag and pokes the reader.
type process struct {
	owner  owner
	req    *Request
	pid    int      // also the id of its process group
	stdout *os.File // of a worker: the connection
	stderr *Stderr
	began  time.Time
	// worker: the process was there before the request, and is waited for by its warm
	// parent; see [Handover]. reused: it will be there after it.
	worker, reused bool
	// group has the script's processes, leaf what one of mode spawn has started.
	group  *cgroup.Group
	leaf   *cgroup.Leaf
	killed int64 // of the group's processes, before

	unwatch func() bool // takes back the context's AfterFunc
	watcher *time.Timer

	lastOut  time.Time    // last output; zero before the first. The reader's.
	asked    time.Time    // when the reader came for more: a slow client is not the script's fault
	fedAfter atomic.Int64 // when the body last moved, as a time since began
	bodyDue  atomic.Bool  // the client is waited for: the script wants more of the body
	gone     atomic.Bool  // the client has left
	taken    atomic.Bool  // nobody reads the answer any more: the client may leave
	bodyErr  atomic.Pointer[error]
	stdin    atomic.Pointer[inlet] // while a body is being fed to it

	watchOnce sync.Once
	exited    chan struct{} // closed when exit is known
	done      chan struct{} // of a worker: closed when it has said that the request is finished

	mu        sync.Mutex
	reaped    bool // exit is known; the pid may be anyone's, its group is still ours
	groupGone bool // nothing is left of the group: its number must not be used again
	kept      bool // the worker has finished the request and waits for another
	exit      Exit
	killTimer *time.Timer
}

// owner is what a process belongs to.
type owner interface {
	// lostExit: somebody else has waited for the process.
	lostExit(req *Request, err error)
	stderrLine(req *Request, line string)
	// forget: nothing is left of the process, or of the request in it.
	forget(p *process)
	// ended: and the request knows it. It comes once behind forget.
	ended()
}

// exec starts the program with its three descriptors.
func (p *process) exec(s *Spawn) error {
	sc := &p.req.Script
	if err := p.join(s.groups); err != nil {
		return err
	}
	path, argv := sc.File, append([]string{sc.File}, sc.Args...)
	if sc.Interpreter != "" {
		path, argv = sc.Interpreter, append([]string{sc.Interpreter, sc.File}, sc.Args...)
	}
	dir := sc.Dir
	if dir == "" {
		dir = filepath.Dir(sc.File)
	}
	var outR, outW, errR, errW int
	if err := pipes(&outR, &outW, &errR, &errW); err != nil {
		return err
	}
	in, err := p.openBody(s.null)
	if err != nil {
		closeAll(outR, outW, errR, errW)
		return err
	}
	pid, err := s.fork(p, path, argv, dir, []uintptr{uintptr(in.child), uintptr(outW), uintptr(errW)})
	closeAll(outW, errW)
	if err != nil {
		in.close()
		closeAll(outR, errR)
		return err
	}
	p.stdout = os.NewFile(uintptr(outR), "standard output")
	p.stderr = NewStderr(errR)
	p.stderr.attach(func(line string) { s.stderrLine(p.req, line) })
	in.start(p)
	p.mu.Lock()
	if p.pid = pid; p.exit.Killed != "" { // before it had started
		p.terminate()
	}
	p.mu.Unlock()
	p.watcher = time.AfterFunc(watchAfter, p.watch)
	return nil
}

// watch starts waiting for the exit, and draining standard error, beside the reader.
func (p *process) watch() {
	p.watchOnce.Do(func() {
		p.stderr.drain()
		if p.worker {
			return
		}
		go func() { // ends with the process
			waitExit(p.pid, p.tryReap)
			p.poke()
		}()
	})
}

// look is what the watcher of a worker does, also a moment after its end: whoever reads
// waits for the end of the output, but a daemon may hold that open.
func (p *process) look() {
	p.watch()
	if p.hasExited() {
		p.poke()
	}
}

// unwatchAll: from here on nobody begins to drain what may be the next request's.
func (p *process) unwatchAll() {
	p.watcher.Stop()
	p.watchOnce.Do(func() {}) // waits for one that has begun
}

// tryReap takes the exit status if there is one yet.
func (p *process) tryReap() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped || p.worker {
		return p.reaped
	}
	var ws syscall.WaitStatus
	var ru syscall.Rusage
	pid, err := waitNow(p.pid, &ws, &ru)
	if err == nil && pid == 0 {
		return false
	}
	p.reaped = true
	p.exit.Started, p.exit.Code = true, -1
	if err == nil {
		p.exit.User, p.exit.System = time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano())
		if ws.Signaled() {
			p.exit.Signal = SignalName(ws.Signal())
		} else {
			p.exit.Code = ws.ExitStatus()
		}
		p.limited()
	} else {
		// Somebody else has waited for our child: a bug, but not one to hang on.
		p.owner.lostExit(p.req, err)
	}
	close(p.exited)
	return true
}

func (p *process) is(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid == pid
}

// hasExited reports whether the script's own process has ended.
func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// saidDone: a worker has finished the request, and is on its way to its end.
func (p *process) saidDone() bool {
	select {
	case <-p.done: // nil, which is never ready, where it is no worker
		return true
	default:
		return false
	}
}

// waitFor waits up to d for the exit.
func (p *process) waitFor(d time.Duration) bool {
	if p.tryReap() {
		return true
	}
	if !p.worker {
		p.watch()
	}
	return p.waitOn(p.exited, nil, d)
}

// waitVerdict waits up to d for what says how the request ended: the exit, or a
// worker's word, which comes before the end of its output.
func (p *process) waitVerdict(d time.Duration) bool {
	if !p.worker {
		return p.waitFor(d)
	}
	return p.waitOn(p.exited, p.done, d)
}

// verdict waits for one once the output has ended: a moment, and longer when only the word
// of a worker's parent is missing.
func (p *process) verdict() bool {
	return p.waitVerdict(settleTime) || p.worker && HasEnded(p.pid) && p.waitVerdict(verdictTime)
}

func (p *process) waitOn(a, b <-chan struct{}, d time.Duration) bool {
	select {
	case <-a:
		return true
	case <-b:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-a:
		return true
	case <-b:
		return true
	case <-t.C:
		return false
	}
}

// kill ends the process group: TERM now, KILL after the grace. The first reason
// stays.
func (p *process) kill(reason string) {
	p.mu.Lock()
	if p.exit.Killed == "" && !p.groupGone {
		p.exit.Killed = reason
		if p.pid != 0 {
			p.terminate()
		}
	}
	started := p.pid != 0
	p.mu.Unlock()
	if started {
		p.watch()
		p.poke()
	}
}

// terminate signals the group. The caller must hold p.mu.
func (p *process) terminate() {
	if !p.signal(syscall.SIGTERM) || p.killTimer != nil {
		return
	}
	p.killTimer = time.AfterFunc(p.req.Timeout.Grace, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.signal(syscall.SIGKILL)
	})
}

// signal sends to the group, and reports whether anything is left of it. While one
// process is in it, or its leader is not reaped, the kernel gives its number to
// nobody else. The caller must hold p.mu.
func (p *process) signal(sig syscall.Signal) bool {
	if p.groupGone {
		return false
	}
	err := p.killGroup(sig)
	if p.reaped {
		if err == nil && reapGroup(p.pid) {
			err = kill(-p.pid, 0)
		}
		p.groupGone = err == syscall.ESRCH
	}
	return !p.groupGone
}

// groupAlive reports whether processes of the group have outlived the script.
func (p *process) groupAlive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signal(0)
}

// clientGone is what the end of the request's context does.
func (p *process) clientGone() {
	if p.taken.Load() {
		return
	}
	p.gone.Store(true)
	if p.req.Disconnect == Kill {
		p.kill(ReasonDisconnect)
	}
	p.poke()
}

// poke wakes the reader, to look at the flags.
func (p *process) poke() { p.stdout.SetReadDeadline(time.Unix(1, 0)) }

// limit is the time-out that comes first, and why it is one. Zero is none.
func (p *process) limit() (at time.Time, reason string) {
	to := &p.req.Timeout
	earlier := func(t time.Time, d time.Duration, r string) {
		if d > 0 && (at.IsZero() || t.Add(d).Before(at)) {
			at, reason = t.Add(d), r
		}
	}
	earlier(p.began, to.Total, ReasonTotal)
	var fed time.Time
	if p.bodyDue.Load() {
		fed = time.Now() // a slow client is not the script's fault here either
	} else {
		fed = p.began.Add(time.Duration(p.fedAfter.Load()))
	}
	if p.lastOut.IsZero() {
		earlier(fed, to.FirstByte, ReasonFirstByte)
	} else if fed.After(p.asked) {
		earlier(fed, to.Idle, ReasonIdle)
	} else {
		earlier(p.asked, to.Idle, ReasonIdle)
	}
	return at, reason
}

// read waits for output and reads it; see await.
func (p *process) read(b []byte, within time.Time) (int, error) {
	return p.await(within, func() (int, error) { return p.stdout.Read(b) })
}

// await calls op, which waits for standard output, until within (zero: for ever), the
// script's time-outs, its end, or the client's. It returns what op does, or
//
//	io.EOF                   the output has ended (see settle for how)
//	os.ErrDeadlineExceeded   nothing came within
//	ErrTimeout, ErrGone, …   the answer is lost; the script has been dealt with
func (p *process) await(within time.Time, op func() (int, error)) (int, error) {
	p.asked = time.Now()
	for {
		limit, _ := p.limit()
		wake := earliest(limit, within)
		exited := p.hasExited()
		if exited {
			wake = earliest(wake, time.Now().Add(groupPoll))
		}
		p.stdout.SetReadDeadline(wake)
		// The flags are looked at after the deadline is set: who sets one pokes after.
		if err := p.flagged(exited); err != nil {
			return 0, err
		}
		n, err := op()
		if n > 0 && err == nil {
			p.lastOut = time.Now()
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == nil || errors.Is(err, io.EOF) || (p.worker && errors.Is(err, syscall.ECONNRESET)) {
				return 0, io.EOF // a reset is the end with a part of the body unread
			}
			return 0, fmt.Errorf("reading its output: %w", err)
		}
		now := time.Now()
		limit, reason := p.limit() // the body may have moved since
		switch {
		case !limit.IsZero() && !now.Before(limit):
			p.kill(reason)
			return 0, fmt.Errorf("%w (%s)", ErrTimeout, reason)
		case !within.IsZero() && !now.Before(within):
			return 0, os.ErrDeadlineExceeded
		case exited && !p.groupAlive() && now.Sub(p.quietSince()) >= lingerTime:
			return 0, io.EOF // whoever holds standard output now is not the script
		}
	}
}

// flagged is the error that a flag stands for. exited is what the caller knew of
// the exit: when there is news, the read has to be set up again.
func (p *process) flagged(exited bool) error {
	if err := p.bodyErr.Load(); err != nil {
		p.kill(ReasonBody)
		return *err
	}
	if p.gone.Load() {
		return ErrGone
	}
	if !exited && p.hasExited() {
		p.poke()
	}
	return nil
}

// quietSince is when the silence began that may end in io.EOF.
func (p *process) quietSince() time.Time {
	if p.lastOut.IsZero() {
		return p.began
	}
	return p.lastOut
}

// settle is called when the output has ended. It waits a moment for the exit, and
// says whether the answer may count as complete.
func (p *process) settle() error {
	if !p.verdict() {
		if p.worker && HasEnded(p.pid) {
			return fmt.Errorf("%w: nobody knows how the script has ended", ErrTruncated)
		}
		return nil // it closed standard output and works on: its answer is complete
	}
	if p.gone.Load() {
		return ErrGone // which is why it has ended
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := &p.exit; {
	case e.Killed != "" && e.Killed != ReasonLeftBehind && (e.Signal != "" || e.Code != 0):
		return fmt.Errorf("%w: ended by the gateway (%s)", ErrTruncated, e.Killed)
	case e.Limit != "" && e.Signal != "":
		return fmt.Errorf("%w: %w: %s", ErrTruncated, ErrLimit, p.overLimit())
	case e.Signal != "" && e.Killed == "":
		return fmt.Errorf("%w: the script %w", ErrTruncated, &Died{e.Signal})
	}
	return nil
}

// finish sees the process and its group out, and tells the request. It returns when
// all of it is gone.
func (p *process) finish() {
	to := p.req.Timeout.Total
	if !p.tryReap() {
		if !p.worker { // whose end is near, as a rule: the timer sees to it otherwise
			p.watch()
		}
		p.discard()
		if to > 0 {
			if d := time.Until(p.began.Add(to)); !p.waitFor(max(d, 0)) {
				p.kill(ReasonTotal)
			}
		}
		<-p.exited
	}
	p.unwatchAll()
	if w := p.stdin.Load(); w != nil {
		w.close() // whoever fed the script need not wait for it any more
	}
	p.endGroup()
	p.stdout.Close()
	p.mu.Lock()
	exit, kept := p.exit, p.kept
	if p.killTimer != nil {
		p.killTimer.Stop()
	}
	p.mu.Unlock()
	if kept {
		p.stderr.detach()
	} else {
		p.stderr.close()
	}
	p.leave(&exit)
	p.owner.forget(p)
	p.req.End(exit)
	p.owner.ended()
}

// discard reads what the script still writes, so that it can write on to its end.
func (p *process) discard() {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		var limit time.Time
		if to := p.req.Timeout.Total; to > 0 {
			limit = p.began.Add(to)
		}
		p.stdout.SetReadDeadline(limit)
		if p.hasExited() {
			return
		}
		_, err := p.stdout.Read(*buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if !limit.IsZero() && !time.Now().Before(limit) {
				return
			}
			continue // poked
		}
		if err != nil {
			return
		}
	}
}

// endGroup ends what the script has left behind in its process group. The script
// itself has been reaped.
func (p *process) endGroup() {
	p.letDaemonsLeave()
	p.mu.Lock()
	if !p.signal(0) { // the usual case, and one system call
		p.mu.Unlock()
		return
	}
	if p.exit.Killed == "" {
		p.exit.Killed = ReasonLeftBehind
	}
	p.signal(syscall.SIGTERM)
	p.mu.Unlock()
	deadline := time.Now().Add(p.req.Timeout.Grace)
	for pause := time.Millisecond; ; pause = min(2*pause, groupPoll) {
		time.Sleep(pause)
		p.mu.Lock()
		sig := syscall.Signal(0)
		if time.Now().After(deadline) {
			sig = syscall.SIGKILL
		}
		alive := p.signal(sig)
		p.mu.Unlock()
		if !alive {
			return
		}
	}
}

// letDaemonsLeave gives the group a moment: a daemon's parent has often ended before
// the daemon has called setsid.
func (p *process) letDaemonsLeave() {
	for pause := time.Millisecond; pause < settleTime; pause *= 2 {
		p.mu.Lock()
		over := p.exit.Killed != "" || !p.signal(0)
		p.mu.Unlock()
		if over {
			return
		}
		time.Sleep(pause)
	}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// buffers are for copying; a pointer keeps Put from allocating.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}
