package cgi

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"warmcgi/internal/cgroup"
	"warmcgi/internal/rawio"
)

// Worker is a process that waits for a request: see docs/worker-protocol.md.
type Worker struct {
	// Pid is the process, and its group.
	Pid int
	// Conn is the request connection; it must not block. A [Handover] closes it.
	Conn int
	// Stderr is the error channel. A [Handover] of a worker that is not reused closes it.
	Stderr *Stderr
	// Reused: the worker serves other requests after this one.
	Reused bool
	// Line gets the lines of its standard error.
	Line func(req *Request, line string)
	// Group is the one that the worker is in, or nil.
	Group *cgroup.Group
	// Free is called when nothing works on the request any more, before [Request.End].
	Free func()
}

// A Handover is a request that a worker was given: what [Spawn] does, but with a process
// that was there before. It has the same guarantees.
//
// Who waits for the worker has to call Done and Exited.
type Handover struct {
	w Worker
	p *process
}

// Hand prepares to give a request to a worker.
func Hand(req *Request, w Worker) *Handover {
	h := &Handover{w: w}
	h.p = &process{
		owner: h, req: req, pid: w.Pid, stderr: w.Stderr, worker: true, reused: w.Reused,
		exited: make(chan struct{}), done: make(chan struct{}), began: time.Now(),
		group: w.Group, killed: w.Group.Killed(),
	}
	h.p.stdout = os.NewFile(uintptr(w.Conn), "request connection")
	w.Stderr.attach(func(line string) { w.Line(req, line) })
	h.p.watcher = time.AfterFunc(watchAfter, h.p.look)
	return h
}

// Request is the one that the worker is given.
func (h *Handover) Request() *Request { return h.p.req }

// Send writes the request to the worker. An error means that the worker has gone
// without reading it: the request can be given to another one, and this handover is over.
func (h *Handover) Send() error {
	p := h.p
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b, from, err := appendRequest((*buf)[:0], p.req)
	if err != nil {
		h.drop()
		return err
	}
	hasBody := p.req.Body != nil && p.req.Length > 0
	var rest io.Reader
	if hasBody {
		if s, ok := p.req.Body.(*Spooled); ok && s.File() == nil {
			b = append(b, s.Bytes()...)
		} else if ok {
			// Another try at the request reads it, too: it has a place of its own in the file.
			rest = io.NewSectionReader(s.File(), 0, p.req.Length)
		} else {
			rest = p.req.Body
		}
	}
	b = b[from:]
	n, err := rawio.Write(uintptr(h.w.Conn), b)
	if err != nil && err != syscall.EAGAIN {
		h.drop()
		return fmt.Errorf("worker %d has gone: %w", p.pid, err)
	}
	if n < len(b) || rest != nil {
		in := &inlet{Writer: p.stdout, close: sync.OnceFunc(h.endBody)}
		p.startFeed(in, append([]byte(nil), b[n:]...), rest)
	} else if hasBody {
		syscall.Shutdown(h.w.Conn, syscall.SHUT_WR)
	}
	return nil
}

// endBody is the script's end of file.
func (h *Handover) endBody() {
	if c, err := h.p.stdout.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	}
}

// drop gives up before anything was sent.
func (h *Handover) drop() {
	h.p.unwatchAll()
	h.p.stdout.Close()
	h.p.stderr.detach()
}

// RoundTrip reads the head of the answer, after Send.
func (h *Handover) RoundTrip(ctx context.Context) (*Response, error) { return h.p.answer(ctx) }

// Done is the worker's word that the request is finished: all that the script wants to
// write was written, and it has ended with this exit status. Only the first word counts.
func (h *Handover) Done(code int) {
	p := h.p
	p.mu.Lock()
	if p.reaped || p.saidDone() {
		p.mu.Unlock()
		return
	}
	p.exit.Started, p.exit.Code = true, code
	// One that was sent a signal for this request may get it while it has the next one: its end is waited for.
	if p.reused && p.exit.Killed == "" {
		// The request has ended, the process has not: from here on it is nobody's to kill.
		p.reaped, p.groupGone, p.kept = true, true, true
		p.watcher.Reset(settleTime)
		close(p.exited)
	}
	close(p.done)
	p.mu.Unlock()
}

// Exited says how the worker ended.
func (h *Handover) Exited(e Exit) {
	p := h.p
	p.mu.Lock()
	if p.reaped {
		p.mu.Unlock()
		return
	}
	killed := p.exit.Killed
	p.reaped, p.exit = true, e
	p.exit.Started, p.exit.Killed = true, killed
	p.limited()
	p.watcher.Reset(settleTime)
	p.mu.Unlock()
	close(p.exited)
	select {
	case <-p.done: // the end of the output comes now, as a rule; see look
	default:
		p.poke()
	}
}

// Kill ends the worker, as for its request.
func (h *Handover) Kill(reason string) { h.p.kill(reason) }

func (h *Handover) lostExit(*Request, error) {} // it is the pool that waits

func (h *Handover) stderrLine(req *Request, line string) { h.w.Line(req, line) }

func (h *Handover) forget(*process) { h.w.Free() }

func (h *Handover) ended() {}

// maxRequestDigits is how long the length of a request can be, written out.
const maxRequestDigits = 10

// appendRequest writes the variables and arguments as the worker protocol has them.
// The request begins at from.
func appendRequest(b []byte, req *Request) (_ []byte, from int, err error) {
	var room [maxRequestDigits + 1]byte
	b = append(b, room[:]...)
	pair := func(name, value string) {
		if strings.IndexByte(name, 0) >= 0 || strings.IndexByte(value, 0) >= 0 {
			err = fmt.Errorf("script %s: %w: NUL in variable %s", req.Script.Name, ErrStart, name)
		}
		b = append(b, name...)
		b = append(b, 0)
		b = append(b, value...)
		b = append(b, 0)
	}
	for _, v := range environ(req) {
		name, value, _ := strings.Cut(v, "=")
		pair(name, value)
	}
	for _, a := range req.Script.Args {
		pair("=arg", a)
	}
	if err != nil {
		return nil, 0, err
	}
	n := len(b) - len(room)
	if n > math.MaxInt32 {
		return nil, 0, fmt.Errorf("script %s: %w: its variables are too large", req.Script.Name, ErrStart)
	}
	prefix := append(strconv.AppendInt(room[:0], int64(n), 10), ':')
	from = len(room) - len(prefix)
	copy(b[from:], prefix)
	return append(b, ','), from, nil
}
