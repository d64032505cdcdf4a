//go:build unix && !linux

package shim

import (
	"errors"
	"os"
	"syscall"
)

// prepare makes a file of the runner's text. There is no memfd here: the text is a temporary file
// that the runner's start leaves behind in the system's folder for such.
func prepare(o *Order, text []byte) (argv []string, fd int, err error) {
	f, err := os.CreateTemp("", "warmcgi-runner-")
	if err != nil {
		return nil, -1, err
	}
	if _, err := f.Write(text); err != nil {
		return nil, -1, err
	}
	if err := errors.Join(f.Chmod(0o700), f.Close()); err != nil {
		return nil, -1, err
	}
	// Without an interpreter the text is a program.
	argv = append(append([]string{}, o.Argv...), f.Name())
	return argv, -1, nil
}

// closeRest has exec close the control socket; all else is closed by it anyhow.
func closeRest() error {
	syscall.CloseOnExec(Control)
	return nil
}

// place has nothing to do: the file has a name.
func place(int) error { return nil }

// leave ends the shim when another process has taken its place.
func leave(*os.File) {}
