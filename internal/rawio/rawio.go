//go:build unix

// Package rawio reads and writes descriptors that do not block, pipes and sockets, without
// telling Go's scheduler: on loopback, where the receiver's share of the work is done within
// the system call, the scheduler would hand our processor to another thread just as we come
// back for it.
package rawio

import (
	"syscall"
	"unsafe"
)

// Read is read(2).
func Read(fd uintptr, b []byte) (int, error) { return one(syscall.SYS_READ, fd, b) }

// Write is write(2).
func Write(fd uintptr, b []byte) (int, error) { return one(syscall.SYS_WRITE, fd, b) }

func one(call, fd uintptr, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return again(call, fd, unsafe.Pointer(&b[0]), len(b))
}

// WriteBoth writes what is left of both after the first skip octets, which is something, as
// Write does.
func WriteBoth(fd uintptr, first, second []byte, skip int) (int, error) {
	var v [2]syscall.Iovec
	n := 0
	for _, b := range [][]byte{first, second} {
		cut := min(skip, len(b))
		if skip -= cut; cut < len(b) {
			v[n].Base = &b[cut]
			v[n].SetLen(len(b) - cut)
			n++
		}
	}
	return again(syscall.SYS_WRITEV, fd, unsafe.Pointer(&v[0]), n)
}

// again makes a system call until no signal interrupts it.
func again(call, fd uintptr, p unsafe.Pointer, size int) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(p), uintptr(size))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
