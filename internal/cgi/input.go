package cgi

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// input is the script's standard input: /dev/null without a body, the spool's own
// file where there is one, and a pipe otherwise.
type input struct {
	child int       // the script's descriptor 0
	owned bool      // close child after the fork
	ours  int       // the writing end, or -1
	small []byte    // all of a body that is in memory
	body  io.Reader // what follows it
}

// openBody prepares descriptor 0.
func (p *process) openBody(null *os.File) (*input, error) {
	in := &input{child: int(null.Fd()), ours: -1}
	switch b := p.req.Body.(type) {
	case nil:
		return in, nil
	case *Spooled:
		if f := b.File(); f != nil {
			// The script may even seek in it. Every start begins at its beginning.
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return nil, err
			}
			in.child = int(f.Fd())
			return in, nil
		}
		in.small = b.Bytes()
	default:
		in.body = p.req.Body
	}
	var fds [2]int
	if err := pipe(&fds); err != nil {
		return nil, os.NewSyscallError("pipe", err)
	}
	in.child, in.owned, in.ours = fds[0], true, fds[1]
	unblock(in.ours)
	return in, nil
}

func (in *input) close() {
	if in.owned {
		closeAll(in.child)
	}
	if in.ours >= 0 {
		closeAll(in.ours)
	}
}

// start sends the body on its way. A small one fits into the pipe and is done with.
func (in *input) start(p *process) {
	if in.owned {
		closeAll(in.child)
	}
	if in.ours < 0 {
		return
	}
	if in.body == nil {
		n, err := syscall.Write(in.ours, in.small)
		if n == len(in.small) || (err != nil && err != syscall.EAGAIN && err != syscall.EINTR) {
			closeAll(in.ours)
			return
		}
		in.small = in.small[max(n, 0):]
	}
	f := os.NewFile(uintptr(in.ours), "standard input")
	p.startFeed(&inlet{Writer: f, close: sync.OnceFunc(func() { f.Close() })}, in.small, in.body)
}

// inlet is where a script's body goes in.
type inlet struct {
	io.Writer
	close func() // the script sees the end of its body; any number of times
}

// startFeed sends a body on its way.
func (p *process) startFeed(w *inlet, small []byte, body io.Reader) {
	p.stdin.Store(w)
	go func() { // ends with the body, with the script, or when finish closes w
		defer w.close()
		p.feed(w, small, body)
	}()
}

// feed copies the body to the script. When the script does not want it any more,
// the rest is still taken from the client: it has to send it before it can read
// the answer.
func (p *process) feed(w *inlet, small []byte, body io.Reader) {
	if len(small) > 0 {
		if _, err := w.Write(small); err != nil {
			return
		}
	}
	if body == nil {
		return
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	wanted := true
	for left := p.req.Length; left > 0; {
		p.bodyDue.Store(wanted)
		n, err := body.Read((*buf)[:min(int64(len(*buf)), left)])
		left -= int64(n)
		if wanted {
			p.fedAfter.Store(int64(time.Since(p.began)))
			p.bodyDue.Store(false)
			if _, werr := w.Write((*buf)[:n]); werr != nil {
				w.close()
				wanted = false
			} else {
				p.fedAfter.Store(int64(time.Since(p.began)))
			}
		}
		if left > 0 && err != nil {
			if wanted { // otherwise nobody misses it
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				err = fmt.Errorf("%w: %d of %d octets are missing: %w", ErrBody, left, p.req.Length, err)
				p.bodyErr.Store(&err)
				p.poke()
			}
			return
		}
	}
}
