package pool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"warmcgi/internal/confine"
)

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
	g.group.Release()
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
		g.greets()
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
