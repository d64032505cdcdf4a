package cgi

import (
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"warmcgi/internal/rawio"
)

const (
	// maxStderrLine is the longest line of standard error that is logged whole.
	maxStderrLine = 4 << 10
	// maxStderr is what one request may log; the rest is read and counted.
	maxStderr = 256 << 10
	// stderrLinger is how long the end of a script waits for a standard error that
	// somebody else still holds open.
	stderrLinger = 50 * time.Millisecond
	// maxPipe is the most that a pipe holds: what a script can make of it with
	// F_SETPIPE_SZ.
	maxPipe = 1 << 20
)

// Stderr turns a script's standard error into lines. Until it is drained it costs
// nothing but the pipe: what a short script wrote is read when it has ended.
type Stderr struct {
	log Lines

	mu   sync.Mutex
	fd   int           // -1 after close
	file *os.File      // after the first drain, which owns fd from then on
	done chan struct{} // closed when the draining goroutine has ended; nil: none runs
}

// NewStderr takes over the reading end of a script's standard error: a pipe, or a
// worker's error channel. It must not block.
func NewStderr(fd int) *Stderr { return &Stderr{fd: fd} }

// StderrOf is NewStderr for a pipe's reading end that stays the caller's.
func StderrOf(f *os.File) (*Stderr, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	syscall.SetNonblock(fd, true)
	return NewStderr(fd), nil
}

// LogStderr is what becomes of a script's lines where nobody wants them otherwise.
func LogStderr(log *slog.Logger) func(req *Request, line string) {
	return func(req *Request, line string) {
		log.Warn("script wrote to standard error", "id", req.ID, "script", req.Script.Name, "line", line)
	}
}

// Close is for one that no request has.
func (s *Stderr) Close() {
	if s.log.line == nil {
		s.attach(func(string) {})
	}
	s.close()
}

// Follow reads lines until the end of the file or Close, for a process that no request has.
func (s *Stderr) Follow(line func(string)) {
	s.attach(line)
	s.drain()
}

// attach has the lines that come from now on go to a request.
func (s *Stderr) attach(line func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = Lines{line: line}
}

// drain reads in a goroutine, until the pipe's end, detach or close.
func (s *Stderr) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 || s.done != nil {
		return
	}
	if s.file == nil {
		s.file = os.NewFile(uintptr(s.fd), "standard error")
	}
	s.file.SetReadDeadline(time.Time{})
	done := make(chan struct{})
	s.done = done
	go func() {
		defer close(done)
		b := make([]byte, 4<<10)
		for {
			n, err := s.file.Read(b)
			s.log.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
}

// close logs what is left. The script has ended.
func (s *Stderr) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return
	}
	s.rest(stderrLinger)
	if s.file != nil {
		s.file.Close()
	} else {
		closeFD(s.fd)
	}
	s.fd = -1
}

// detach logs what was written up to now: the end of a request, but not of the process.
func (s *Stderr) detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		s.rest(0)
	}
}

// rest ends the draining, and takes what is in the pipe in any case, but not for ever
// what somebody else still writes. The caller must hold s.mu.
func (s *Stderr) rest(linger time.Duration) {
	if s.done != nil {
		s.file.SetReadDeadline(time.Now().Add(linger))
		<-s.done
		s.done = nil
	}
	var b [4 << 10]byte
	for left := maxPipe; left > 0; {
		n, _ := rawio.Read(uintptr(s.fd), b[:])
		if n <= 0 { // its end, or EAGAIN: somebody else holds it open
			break
		}
		s.log.Write(b[:n])
		left -= n
	}
	s.log.End()
}
