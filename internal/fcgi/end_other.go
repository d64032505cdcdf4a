//go:build unix && !linux

package fcgi

import "syscall"

func endUnlessMore(fd uintptr) (more bool) {
	var b [1]byte
	if n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT); err == nil && n > 0 {
		return true
	}
	syscall.Shutdown(int(fd), syscall.SHUT_RDWR)
	return false
}
