package fcgi

import (
	"fmt"
	"io"

	"warmcgi/internal/cgi"
)

// output reads from the connection until there is some of STDOUT. It can be called again
// after a deadline. io.EOF is END_REQUEST; the end of the connection is errEnded.
func (a *answer) output(b []byte) (int, error) {
	n, err := a.records(b)
	if err == io.EOF && !a.over {
		err = errEnded
	}
	return n, err
}

func (a *answer) records(b []byte) (int, error) {
	r := a.l.r
	for {
		for a.rec.length == 0 {
			if a.rec.padding > 0 {
				n, err := r.Discard(a.rec.padding)
				if a.rec.padding -= n; err != nil {
					return 0, err
				}
			}
			h, err := readHeader(r)
			if err != nil {
				return 0, err
			}
			if err := a.accept(h); err != nil {
				return 0, err
			}
		}
		switch a.rec.typ {
		case typeStdout:
			n, err := r.Read(b[:min(len(b), a.rec.length)])
			a.rec.length -= n
			if n > 0 || err != nil {
				return n + a.more(b[n:]), err
			}
		case typeStderr:
			if err := a.stderr(); err != nil {
				return 0, err
			}
		case typeEndRequest:
			return 0, a.endRequest()
		default: // of the connection: nothing that was asked for
			n, err := r.Discard(a.rec.length)
			if a.rec.length -= n; err != nil {
				return 0, err
			}
		}
	}
}

// more adds what is in the reader's memory already: php-fpm's records are of 8 KiB at most,
// and a write for each of them would cost as much as the rest of the way. It stops before
// all that is not STDOUT, and before the end of that.
func (a *answer) more(b []byte) (n int) {
	r := a.l.r
	for n < len(b) {
		if a.rec.length == 0 {
			p, _ := r.Peek(min(a.rec.padding+headerLen, r.Buffered()))
			if len(p) < a.rec.padding+headerLen {
				return n
			}
			h, err := parseHeader(p[a.rec.padding:])
			if err != nil || h.typ != typeStdout || h.id != requestID || h.length == 0 {
				return n
			}
			r.Discard(len(p))
			a.rec = h
		}
		if r.Buffered() == 0 {
			return n
		}
		m, _ := r.Read(b[n:min(len(b), n+a.rec.length)])
		a.rec.length -= m
		n += m
	}
	return n
}

// accept looks at a record's header.
func (a *answer) accept(h header) error {
	switch {
	case h.typ == typeEndRequest && h.length != endLen:
		return protocolError("END_REQUEST of %d octets", h.length)
	case h.typ == typeStdout || h.typ == typeStderr || h.typ == typeEndRequest:
		if h.id != requestID {
			return protocolError("a record of request %d", h.id)
		}
	case h.id != 0:
		return protocolError("a record of type %d", h.typ)
	}
	if a.rec = h; h.typ != typeEndRequest || a.got.Load() {
		a.got.Store(true)
		a.t.app.taken(a)
	}
	return nil
}

// stderr logs some of a record.
func (a *answer) stderr() error {
	if _, err := a.l.r.Peek(1); err != nil {
		return err
	}
	p, _ := a.l.r.Peek(min(a.l.r.Buffered(), a.rec.length))
	if a.log == nil {
		a.log = cgi.NewLines(func(line string) { a.t.c.Stderr(a.req, line) })
	}
	a.log.Write(p)
	a.l.r.Discard(len(p))
	a.rec.length -= len(p)
	return nil
}

// endRequest reads END_REQUEST.
func (a *answer) endRequest() error {
	p, err := a.l.r.Peek(endLen + a.rec.padding)
	if err != nil {
		return err
	}
	var status protocolStatus
	a.code, status, err = parseEnd(p[:endLen])
	a.l.r.Discard(len(p))
	a.rec.length, a.rec.padding = 0, 0
	a.over = true
	if err == nil {
		err = refused(status)
	}
	if err == nil {
		err = io.EOF
	}
	return err
}

// refused is what a protocol status says against the request (spec 5.5), or nil.
func refused(status protocolStatus) error {
	switch status {
	case statusRequestComplete:
		return nil
	case statusOverloaded:
		return cgi.ErrOverloaded
	}
	return fmt.Errorf("%w: it refuses the request (protocol status %d)", ErrProtocol, status)
}
