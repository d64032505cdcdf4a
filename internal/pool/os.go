//go:build unix

package pool

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketpair is a pair of connected stream sockets, ours and the warm parent's.
func socketpair() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return pair, os.NewSyscallError("socketpair", err)
	}
	syscall.CloseOnExec(pair[0])
	syscall.CloseOnExec(pair[1])
	return pair, syscall.SetNonblock(pair[0], true)
}

// buffered is how many octets wait to be read.
func buffered(f *os.File) int {
	n, err := unix.IoctlGetInt(int(f.Fd()), ioctlBuffered)
	if err != nil {
		return 0
	}
	return n
}

// backlog is how many connections may wait to be accepted.
const backlog = 1024

// listen makes a listening Unix socket. Nobody can connect before own is done.
func listen(path string, own func() error) (*os.File, error) {
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err == nil {
		err = own()
	}
	if err == nil {
		err = syscall.Listen(fd, backlog)
	}
	if err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("script's socket %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
