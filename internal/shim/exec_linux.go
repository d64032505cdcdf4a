package shim

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// runnerFD is where the interpreter finds the runner's text.
const runnerFD = 4

// execute becomes the interpreter. The text is a file that no folder has: nothing is
// installed, and nobody else can change it.
func execute(o *Order, text []byte) error {
	fd, err := unix.MemfdCreate("runner", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memfd: %w", err)
	}
	for len(text) > 0 {
		n, err := syscall.Write(fd, text)
		if err != nil {
			return fmt.Errorf("memfd: %w", err)
		}
		text = text[n:]
	}
	if err := closeRest(); err != nil {
		return err
	}
	// 3 and 4 are the interpreter's.
	if fd == runnerFD {
		_, err = unix.FcntlInt(runnerFD, unix.F_SETFD, 0)
	} else {
		err = unix.Dup3(fd, runnerFD, 0)
	}
	if err == nil {
		_, err = unix.FcntlInt(Control, unix.F_SETFD, 0)
	}
	if err != nil {
		return err
	}
	argv := append(append([]string{}, o.Argv...), fmt.Sprintf("/proc/self/fd/%d", runnerFD))
	if err := bound(o, argv); err != nil {
		return err
	}
	// Without an interpreter the text is a program.
	if err := syscall.Exec(argv[0], argv, o.Env); err != nil {
		return fmt.Errorf("%s: %w", o.executes(), err)
	}
	return nil
}

// closeRest has exec close everything from 3 up.
func closeRest() error {
	if err := unix.CloseRange(Control, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	return nil
}
