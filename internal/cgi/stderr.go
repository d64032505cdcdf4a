package cgi

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
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

// stderr turns a script's standard error into lines. Until drain is called it costs
// nothing but the pipe: what a short script wrote is read when it has ended.
type stderr struct {
	log lineLogger

	mu   sync.Mutex
	fd   int           // of the pipe, until drain; -1 after close
	file *os.File      // after drain
	done chan struct{} // closed when the draining goroutine has ended
}

func newStderr(fd int, line func(string)) *stderr {
	return &stderr{fd: fd, log: lineLogger{line: line}}
}

// drain reads in a goroutine, until the pipe's end or close.
func (s *stderr) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 || s.file != nil {
		return
	}
	s.file, s.done = os.NewFile(uintptr(s.fd), "standard error"), make(chan struct{})
	go func() {
		defer close(s.done)
		b := make([]byte, 4<<10)
		for {
			n, err := s.file.Read(b)
			s.log.write(b[:n])
			if err != nil {
				return
			}
		}
	}()
}

// close logs what is left. The script has ended.
func (s *stderr) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		s.file.SetReadDeadline(time.Now().Add(stderrLinger))
		<-s.done
	}
	// What is in the pipe is taken in any case, but not for ever what somebody else
	// still writes.
	var b [4 << 10]byte
	for left := maxPipe; left > 0; {
		n, err := syscall.Read(s.fd, b[:])
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 { // its end, or EAGAIN: somebody else holds it open
			break
		}
		s.log.write(b[:n])
		left -= n
	}
	if s.file != nil {
		s.file.Close()
	} else {
		closeFD(s.fd)
	}
	s.fd = -1
	s.log.end()
}

// lineLogger assembles lines, within bounds.
type lineLogger struct {
	line    func(string)
	part    []byte
	logged  int
	dropped int
}

func (l *lineLogger) write(b []byte) {
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			l.add(b)
			return
		}
		l.add(b[:n])
		l.flush()
		b = b[n+1:]
	}
}

// add puts octets to the line; one that grows too long is logged in pieces.
func (l *lineLogger) add(b []byte) {
	for len(l.part)+len(b) > maxStderrLine {
		n := maxStderrLine - len(l.part)
		l.part = append(l.part, b[:n]...)
		l.flush()
		b = b[n:]
	}
	l.part = append(l.part, b...)
}

func (l *lineLogger) flush() {
	l.part = bytes.TrimSuffix(l.part, []byte{'\r'})
	if l.logged+len(l.part) > maxStderr {
		l.dropped += len(l.part) + 1
	} else if len(l.part) > 0 {
		l.logged += len(l.part)
		l.line(string(l.part))
	}
	l.part = l.part[:0]
}

func (l *lineLogger) end() {
	l.flush()
	if l.dropped > 0 {
		l.line(fmt.Sprintf("(%d more octets were not logged: the limit is %d per request)", l.dropped, maxStderr))
	}
}
