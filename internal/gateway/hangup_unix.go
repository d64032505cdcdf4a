//go:build unix

package gateway

import "golang.org/x/sys/unix"

// hungUp reports whether a socket is dead in both directions: a client that has
// only shut its sending side leaves POLLHUP and POLLERR unset.
func hungUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}
