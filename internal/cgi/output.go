package cgi

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// output is the answer of a process: its head, then a [Body].
type output struct {
	p      *process
	buf    *[]byte // pooled; holds what came with the head
	ahead  []byte  // the part of buf that was not read yet
	left   int64   // of an announced length; -1 is unknown
	err    error   // how the answer ended
	closed bool
}

// fill waits for the first output of an nph- script.
func (o *output) fill() error {
	o.buf = buffers.Get().(*[]byte)
	n, err := o.p.read(*o.buf, time.Time{})
	o.ahead = (*o.buf)[:n]
	if err == io.EOF {
		return o.ended()
	}
	return err
}

// head reads the output until the head is complete, and parses it.
func (o *output) head() (*Response, error) {
	o.buf = buffers.Get().(*[]byte)
	b := *o.buf
	n := 0
	for {
		m, err := o.p.read(b[n:], time.Time{})
		n += m
		res, body, perr := ParseHead(b[:n])
		if perr != nil {
			return nil, perr
		}
		if body > 0 {
			o.ahead, o.left = b[body:n], res.Length
			return res, nil
		}
		if err == io.EOF {
			if n == 0 {
				return nil, o.ended()
			}
			switch serr := o.p.settle(); {
			case serr == ErrGone:
				return nil, serr
			case serr != nil:
				return nil, fmt.Errorf("%w: %w", ErrBadHead, serr)
			}
			return nil, fmt.Errorf("%w: the output ends within it, after %d octets: %q", ErrBadHead, n, clip(string(b[:n])))
		}
		if err != nil {
			return nil, err
		}
		if n == len(b) {
			grown := make([]byte, min(4*len(b), MaxHead))
			copy(grown, b)
			b = grown // the pooled buffer goes back at Close all the same
		}
	}
}

// ended says how a script ended that wrote nothing.
func (o *output) ended() error {
	p := o.p
	known := p.verdict()
	if p.gone.Load() {
		return ErrGone
	}
	if !known {
		return fmt.Errorf("%w: it closed standard output", ErrNoOutput)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.exit.Killed != "":
		return fmt.Errorf("%w: ended by the gateway (%s)", ErrNoOutput, p.exit.Killed)
	case p.exit.Limit != "":
		return fmt.Errorf("%w: %w: %s", ErrNoOutput, ErrLimit, p.overLimit())
	case p.exit.Signal != "":
		return fmt.Errorf("%w: %w", ErrNoOutput, &Died{p.exit.Signal})
	}
	return fmt.Errorf("%w: exit status %d", ErrNoOutput, p.exit.Code)
}

// fail gives up on the script before its answer began.
func (o *output) fail(err error) error {
	err = fmt.Errorf("script %s: %w", o.p.req.Script.Name, err)
	o.err = err
	if errors.Is(err, ErrBadHead) && !o.p.tryReap() {
		o.p.kill(ReasonBadHead)
	}
	o.Close()
	return err
}

// Read implements [Body].
func (o *output) Read(b []byte) (int, error) { return o.read(b, time.Time{}) }

// ClientGone implements [Body].
func (o *output) ClientGone() { o.p.clientGone() }

// ReadWithin implements [Body].
func (o *output) ReadWithin(b []byte, d time.Duration) (int, error) {
	return o.read(b, time.Now().Add(d))
}

func (o *output) read(b []byte, within time.Time) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	if o.left == 0 {
		// As long as announced: complete, whatever the script does from here on.
		o.err = io.EOF
		return 0, o.err
	}
	if len(b) == 0 {
		return 0, nil // os.File would say so too, but it is also how the output's end looks
	}
	if o.left > 0 && int64(len(b)) > o.left {
		b = b[:o.left]
	}
	var n int
	var err error
	if len(o.ahead) > 0 {
		n = copy(b, o.ahead)
		o.ahead = o.ahead[n:]
	} else {
		n, err = o.p.read(b, within)
	}
	if o.left > 0 {
		o.left -= int64(n)
	}
	if err != nil && !isWait(err) {
		err = o.end(err)
	}
	return n, err
}

// end turns the end of the output into the end of the answer.
func (o *output) end(err error) error {
	if err == io.EOF {
		err = o.p.settle()
		if err == nil && o.left > 0 {
			err = fmt.Errorf("%w: %d octets of its Content-Length are missing", ErrTruncated, o.left)
		}
	}
	if err == nil {
		o.err = io.EOF
	} else {
		o.err = fmt.Errorf("script %s: %w", o.p.req.Script.Name, err)
	}
	return o.err
}

// Close gives the process up. One that is not done yet is ended if its answer was
// not taken whole and the request's policy says so; what is left to do goes on
// without the caller.
func (o *output) Close() error {
	if o.closed {
		return nil
	}
	o.closed = true
	p := o.p
	// From here on the client's leaving means nothing: it has its answer, or the script
	// is told now.
	p.taken.Store(true)
	p.unwatch()
	// Of an announced length, nobody has to read up to the EOF.
	whole := o.err == io.EOF || o.left == 0 || p.saidDone()
	if !whole && p.req.Disconnect == Kill && !p.tryReap() {
		p.kill(ReasonDisconnect)
	}
	if o.buf != nil {
		buffers.Put(o.buf)
		o.buf, o.ahead = nil, nil
	}
	if p.tryReap() && !p.groupAlive() {
		p.finish()
	} else {
		go p.finish() // ends with the process group
	}
	return nil
}
