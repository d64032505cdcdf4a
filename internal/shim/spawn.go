package shim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"warmcgi/internal/confine"
)

// Spawn is the mode of an order to execute a script itself, under limits: what fork and
// exec of the gateway's own do for one without. The script is a process of its own,
// another child of the gateway's. The control socket carries its number and an error;
// exec closes it.
const Spawn = "spawn"

// spawn makes the script's process. An error is that of one step, or of exec.
func spawn(o *Order, control *os.File) error {
	if err := enter(o); err != nil {
		return err
	}
	if err := o.Confine.Assume(); err != nil {
		return err
	}
	if err := syscall.Chdir(o.Dir); err != nil {
		return err
	}
	if err := closeRest(); err != nil {
		return err
	}
	return o.Confine.Fork(confine.Program{Argv: o.Argv, Env: o.Env, Death: syscall.SIGKILL, Parent: o.Gateway}, announce(control))
}

// announce tells the gateway of a process.
func announce(control *os.File) func(pid int) error {
	return func(pid int) error {
		_, err := fmt.Fprintf(control, "pid %d\n", pid)
		return err
	}
}

// failedToSpawn is an error as it goes over the control socket.
func failedToSpawn(err error) string {
	var errno syscall.Errno
	errors.As(err, &errno)
	text := err.Error()
	if err == error(errno) {
		text = ""
	}
	return fmt.Sprintf("failed %d %s\n", int(errno), Escape(text))
}

// Spawned reads what became of an order of mode [Spawn]: the process, 0 for none, and why
// it does not run the script.
func Spawned(control io.Reader) (pid int, err error) {
	r := bufio.NewScanner(control)
	for r.Scan() {
		verb, rest, _ := strings.Cut(r.Text(), " ")
		number, text, _ := strings.Cut(rest, " ")
		n, nerr := strconv.Atoi(number)
		switch {
		case verb == "pid" && nerr == nil && n > 1: // others are not one process to wait and kill
			pid = n
		case verb == "failed" && nerr == nil && text == "":
			err = syscall.Errno(n)
		case verb == "failed" && nerr == nil:
			err = &stepError{Unescape(text), syscall.Errno(n)}
		default:
			err = fmt.Errorf("shim: it says %q", r.Text())
		}
	}
	switch {
	case err != nil:
	case r.Err() != nil:
		err = fmt.Errorf("shim: %w", r.Err())
	case pid == 0:
		err = errors.New("shim: it has ended")
	}
	return pid, err
}

// stepError keeps the number of an error beside its text.
type stepError struct {
	text  string
	errno syscall.Errno
}

func (e *stepError) Error() string { return e.text }

// Unwrap is for errors.Is.
func (e *stepError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}
