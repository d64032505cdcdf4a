package shim

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepare makes the runner's text a file that no folder has: nothing is installed, and
// nobody else can change it. It returns the command, and the descriptor that is to be
// runnerFD in it.
func prepare(o *Order, text []byte) (argv []string, fd int, err error) {
	fd, err = unix.MemfdCreate("runner", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, -1, fmt.Errorf("memfd: %w", err)
	}
	for len(text) > 0 {
		n, err := syscall.Write(fd, text)
		if err != nil {
			return nil, -1, fmt.Errorf("memfd: %w", err)
		}
		text = text[n:]
	}
	// Without an interpreter the text is a program.
	argv = append(append([]string{}, o.Argv...), fmt.Sprintf("/proc/self/fd/%d", runnerFD))
	return argv, fd, closeRest()
}

// place leaves 3 and 4 open over exec: they are the interpreter's.
func place(fd int) (err error) {
	if fd == runnerFD {
		_, err = unix.FcntlInt(runnerFD, unix.F_SETFD, 0)
	} else {
		err = unix.Dup3(fd, runnerFD, 0)
	}
	if err == nil {
		_, err = unix.FcntlInt(Control, unix.F_SETFD, 0)
	}
	return err
}

// leave ends the shim when another process has taken its place; os.Exit may take its time.
func leave(control *os.File) {
	control.Close()
	syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
}

// closeRest has exec close everything from 3 up.
func closeRest() error {
	if err := unix.CloseRange(Control, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	return nil
}
