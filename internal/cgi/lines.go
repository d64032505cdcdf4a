package cgi

import (
	"bytes"
	"fmt"
)

// Lines makes lines of what a script writes to its standard error, within bounds. It is not
// safe for concurrent use.
type Lines struct {
	line    func(string)
	part    []byte
	logged  int
	dropped int
}

// NewLines passes each line on.
func NewLines(line func(string)) *Lines { return &Lines{line: line} }

// Write takes some more octets.
func (l *Lines) Write(b []byte) {
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
func (l *Lines) add(b []byte) {
	for len(l.part)+len(b) > maxStderrLine {
		n := maxStderrLine - len(l.part)
		l.part = append(l.part, b[:n]...)
		l.flush()
		b = b[n:]
	}
	l.part = append(l.part, b...)
}

func (l *Lines) flush() {
	l.part = bytes.TrimSuffix(l.part, []byte{'\r'})
	if l.logged+len(l.part) > maxStderr {
		l.dropped += len(l.part) + 1
	} else if len(l.part) > 0 {
		l.logged += len(l.part)
		l.line(string(l.part))
	}
	l.part = l.part[:0]
}

// End passes on what has no line end.
func (l *Lines) End() {
	l.flush()
	if l.dropped > 0 {
		l.line(fmt.Sprintf("(%d more octets were not logged: the limit is %d per request)", l.dropped, maxStderr))
	}
}
