//go:build unix && !linux

package shim

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// execute becomes the interpreter. There is no memfd here: the text is a temporary file
// that the runner's start leaves behind in the system's folder for such.
func execute(o *Order, text []byte) error {
	f, err := os.CreateTemp("", "warmcgi-runner-")
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o700), f.Close()); err != nil {
		return err
	}
	argv := append(append([]string{}, o.Argv...), f.Name())
	if err := bound(o, argv); err != nil {
		return err
	}
	if err := syscall.Exec(argv[0], argv, o.Env); err != nil {
		return fmt.Errorf("%s: %w", o.executes(), err)
	}
	return nil
}

// closeRest has exec close the control socket; all else is closed by it anyhow.
func closeRest() error {
	syscall.CloseOnExec(Control)
	return nil
}
