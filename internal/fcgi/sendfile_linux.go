package fcgi

import (
	"cmp"
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendsFiles reports whether sendFile works.
func (w *wire) sendsFiles() bool { return w.way != nil }

// sendFile writes head, and then n octets of a file from where it is.
func (w *wire) sendFile(head []byte, f *os.File, n int) (sent int, err error) {
	file, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	if err = w.writeAhead(head); err != nil {
		return 0, err
	}
	unable := false
	for sent < n && !unable {
		m := 0
		err := w.whenWritable(func(fd uintptr) (err error) {
			cerr := file.Control(func(from uintptr) { m, err = unix.Sendfile(int(fd), int(from), nil, n-sent) })
			return cmp.Or(cerr, err)
		})
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EINVAL): // not from such a file
			unable = true
		case err == nil && m == 0:
			return sent, errShortFile
		case err != nil:
			return sent, err
		}
		sent += max(m, 0)
	}
	if unable {
		m, err := io.CopyN(struct{ io.Writer }{w}, f, int64(n-sent))
		if err == io.EOF {
			err = errShortFile
		}
		return sent + int(m), err
	}
	return sent, nil
}

// writeAhead writes what more follows.
func (w *wire) writeAhead(b []byte) error {
	for len(b) > 0 {
		if err := w.whenWritable(func(fd uintptr) error {
			m, err := unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			b = b[max(m, 0):]
			return err
		}); err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
	return nil
}
