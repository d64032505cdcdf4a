package cgi

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spliceChunk is how much one splice may move.
const spliceChunk = 1 << 20

// CanSplice reports whether the rest of the body can be moved by Splice: its length
// was announced, nothing of it is in a buffer of ours, and it comes through a pipe: a
// worker's comes through a socket, which splice(2) does not move to another.
func (o *output) CanSplice() bool {
	return !o.p.worker && o.left > 0 && len(o.ahead) == 0 && o.err == nil
}

// Splice moves the rest of the body to a socket, within the kernel. stall is called
// before each wait for the socket, to set its deadline. The error is as that of Read,
// or wraps [ErrGone] where the socket is to blame.
func (o *output) Splice(dst syscall.RawConn, stall func()) (int64, error) {
	src, err := o.p.stdout.SyscallConn()
	if err != nil {
		return 0, err
	}
	var total int64
	for o.left > 0 {
		n, err := o.spliceOnce(src, dst)
		switch {
		case n > 0:
			total += n
			o.left -= n
		case errors.Is(err, syscall.EAGAIN):
			// Either end may be the one that is not ready. The script's is waited for
			// first, with its time-outs; where there is output, it was the client's.
			if _, err := o.p.await(time.Time{}, func() (int, error) { return 1, src.Read(readable) }); err != nil {
				return total, o.end(err)
			}
			stall()
			if err := dst.Write(writable); err != nil {
				return total, fmt.Errorf("%w: %w", ErrGone, err)
			}
		case err != nil:
			return total, fmt.Errorf("%w: %w", ErrGone, err)
		default:
			return total, o.end(io.EOF)
		}
	}
	return total, nil
}

// spliceOnce moves what is there now.
func (o *output) spliceOnce(src, dst syscall.RawConn) (n int64, err error) {
	cerr := dst.Control(func(d uintptr) {
		serr := src.Control(func(s uintptr) {
			for {
				moved, serr := unix.Splice(int(s), nil, int(d), nil, int(min(o.left, spliceChunk)), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
				if serr != syscall.EINTR {
					n, err = int64(moved), serr // an int where an int has 32 bits, too
					return
				}
			}
		})
		if serr != nil {
			err = serr
		}
	})
	if cerr != nil {
		err = cerr
	}
	return n, err
}

func readable(fd uintptr) bool { return ready(fd, unix.POLLIN) }
func writable(fd uintptr) bool { return ready(fd, unix.POLLOUT) }

// ready asks the kernel: the poller's own edge may have gone by.
func ready(fd uintptr, event int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: event}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}
