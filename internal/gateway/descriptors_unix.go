//go:build unix

package gateway

import "golang.org/x/sys/unix"

// readable reports whether there is something to read, or the end of it.
func readable(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// dupCloexec is dup(2) of what no child is to inherit.
func dupCloexec(fd uintptr) (int, error) { return unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }
