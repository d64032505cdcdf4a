package fcgi

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"warmcgi/internal/cgi"
	"warmcgi/internal/confine"
)

// lasting is how long a process must have run to be started again at once.
const lasting = 10 * time.Second

// weighTime is how often the memory of a process is looked at.
const weighTime = 10 * time.Second

// A slot is a place for one process after another. Its socket outlives them, so a request
// that comes between two of them waits in the socket.
type slot struct {
	p         *Program
	socket    *os.File // that listens; it blocks, as programs expect
	transport *Transport
	proc      *process // the lock is the program's
	failures  int      // of the last processes, which have not lasted; likewise
}

func (p *Program) newSlot(path string) (*slot, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	socket := os.NewFile(uintptr(fd), path)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		socket.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		socket.Close()
		return nil, os.NewSyscallError("listen", err)
	}
	t, err := NewTransport(TransportConfig{Network: "unix", Address: path, MaxConns: 1, Keep: time.Hour, Stderr: p.c.Stderr, Authorizer: p.c.Authorizer})
	if err != nil {
		socket.Close()
		return nil, err
	}
	return &slot{p: p, socket: socket, transport: t}, nil
}

// run keeps a process running until Close.
func (s *slot) run() {
	for pause := firstPause; ; {
		began := time.Now()
		proc, err := s.start()
		if err == nil {
			err = proc.wait()
		}
		s.transport.closeIdle(all) // they were its
		select {
		case <-s.p.stop:
			return
		default:
		}
		why, answered := s.p.endOf(proc)
		if why != nil || answered || time.Since(began) > lasting {
			pause = firstPause // it was ended by us, or was of use
			s.setFailing(false, "")
			if why == nil {
				s.p.c.Log.Warn("a process of a FastCGI program has ended and is started again", "program", s.p.c.File, "why", err)
			}
		} else {
			s.setFailing(true, err.Error())
			s.p.c.Log.Error("a FastCGI program does not last", "program", s.p.c.File, "why", err, "again_in", pause)
			s.sleep(100 * time.Millisecond)  // what the process has written is read
			s.transport.breakOff(anyRequest) // and what it has not accepted would wait long
			s.sleep(pause)
			pause = min(2*pause, maxPause)
		}
	}
}

// anyRequest is every request.
func anyRequest(*cgi.Request) bool { return true }

func (s *slot) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.p.stop:
	}
}

// setFailing notes whether the slot's processes do not last.
func (s *slot) setFailing(is bool, why string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if is {
		s.failures++
		s.p.lastFail = why
	} else {
		s.failures = 0
	}
	s.p.changedLocked()
}

// process is one of a program's. What is not set at its start belongs to the program's lock.
type process struct {
	slot   *slot
	cmd    *exec.Cmd
	pid    int
	exited chan struct{}
	stderr *cgi.Stderr
	most   int       // requests, after which it is replaced; 0 is never
	until  time.Time // when it is replaced; zero is never

	busy     bool
	gone     bool
	requests int
	answered bool  // one of them
	why      error // it is to end
}

// start starts a process; it is idle then.
func (s *slot) start() (*process, error) {
	c := s.p.c
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command(c.File, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Stdin, cmd.Stderr = s.socket, w // FCGI_LISTENSOCK_FILENO
	cmd.SysProcAttr = processAttr()
	proc := &process{slot: s, cmd: cmd, exited: make(chan struct{})}
	if c.Requests > 0 {
		proc.most = max(1, cgi.Jitter(c.Requests))
	}
	if c.Age > 0 {
		proc.until = time.Now().Add(time.Duration(cgi.Jitter(int(c.Age))))
	}
	p := s.p
	p.mu.Lock() // whoever waits for orphans asks whose it is
	defer p.mu.Unlock()
	if p.closing {
		return nil, errClosed
	}
	if proc.stderr, err = cgi.StderrOf(r); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		proc.stderr.Close()
		return nil, err
	}
	proc.pid = cmd.Process.Pid
	s.proc = proc
	proc.stderr.Follow(func(line string) {
		c.Log.Warn("a FastCGI program wrote to standard error", "program", c.File, "pid", proc.pid, "line", line)
	})
	p.changedLocked()
	return proc, nil
}

// wait waits for the end of the process, and ends it when its time has come.
func (proc *process) wait() error {
	done := make(chan error, 1)
	go func() { done <- proc.cmd.Wait() }() // ends with the process
	tick := time.NewTicker(min(weighTime, max(proc.slot.p.c.Age/4, 10*time.Millisecond), time.Second))
	defer tick.Stop()
	weighed := time.Now()
	for {
		select {
		case now := <-tick.C:
			if !proc.until.IsZero() && now.After(proc.until) {
				proc.retire(fmt.Errorf("it is as old as it may be"))
			}
			if most := proc.slot.p.c.Memory; most > 0 && now.Sub(weighed) >= weighTime {
				weighed = now
				if m := confine.MemoryOf(proc.pid); m > most {
					proc.retire(fmt.Errorf("it uses %d MiB", m>>20))
				}
			}
		case err := <-done:
			p := proc.slot.p
			p.mu.Lock()
			proc.gone, proc.slot.proc = true, nil
			p.mu.Unlock()
			close(proc.exited)
			syscall.Kill(-proc.pid, syscall.SIGKILL) // what it has started and left
			proc.stderr.Close()
			if err == nil {
				err = fmt.Errorf("exit status 0")
			}
			return err
		}
	}
}

// endOf tells why a process was to end, and whether it had answered a request; it may be nil.
func (p *Program) endOf(proc *process) (why error, answered bool) {
	if proc == nil {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return proc.why, proc.answered
}

// release makes it idle again, or ends it.
func (proc *process) release(answered bool) {
	p := proc.slot.p
	p.mu.Lock()
	proc.busy, proc.answered = false, proc.answered || answered
	if !proc.gone {
		proc.slot.failures = 0 // it has answered, or so it seems
	}
	if proc.requests++; proc.why == nil && proc.most > 0 && proc.requests >= proc.most {
		proc.why = fmt.Errorf("it has answered %d requests", proc.requests)
	}
	why, gone := proc.why, proc.gone
	p.changedLocked()
	p.mu.Unlock()
	if why != nil && !gone {
		proc.end(why)
	}
}

// dying is how long a process may take to end that has closed its connection.
const dying = 100 * time.Millisecond

// failed makes a process idle again that has not answered. One that has closed the
// connection is about to end, as a rule, and gets no request meanwhile.
func (proc *process) failed(err error) {
	if !errors.Is(err, errUnheard) {
		proc.release(false)
		return
	}
	proc.slot.p.runs.Go(func() { // ends with the process, or soon
		select {
		case <-proc.exited:
		case <-time.After(dying):
		}
		proc.release(false)
	})
}

// retire ends a process once it has no request.
func (proc *process) retire(why error) {
	p := proc.slot.p
	p.mu.Lock()
	first := proc.why == nil
	proc.why = why
	busy := proc.busy
	p.mu.Unlock()
	if first && !busy {
		proc.end(why)
	}
}

// end ends a process and its group: TERM, then KILL.
func (proc *process) end(why error) {
	p := proc.slot.p
	p.mu.Lock()
	proc.why = why
	gone := proc.gone
	p.mu.Unlock()
	if gone {
		return
	}
	p.c.Log.Info("a FastCGI process is ended", "program", p.c.File, "pid", proc.pid, "why", why)
	// libfcgi's processes look for the signal between two connections, or after two seconds.
	proc.slot.transport.closeIdle(all)
	syscall.Kill(-proc.pid, syscall.SIGTERM)
	p.runs.Go(func() { // ends with the process
		select {
		case <-proc.exited:
		case <-time.After(p.c.Grace):
			syscall.Kill(-proc.pid, syscall.SIGKILL)
		}
	})
}
