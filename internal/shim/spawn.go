package shim

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"

	"warmcgi/internal/confine"
)

// Spawn is the mode of an order to execute a script itself, confined: what fork and exec
// of the gateway's own do for one that is not. The control socket then carries an error,
// or nothing: exec closes it.
const Spawn = "spawn"

// spawn becomes the script. It returns where it got stuck, "" for exec, and why.
func spawn(o *Order) (step string, err error) {
	if err := o.Confine.Become(); err != nil {
		return "confine", err
	}
	if err := syscall.Chdir(o.Dir); err != nil {
		return "", err // as from the fork of the gateway's own
	}
	if err := closeRest(); err != nil {
		return "descriptors", err
	}
	if err := confine.DieWith(o.Gateway, syscall.SIGKILL); err != nil {
		return "gateway", err
	}
	if err := bound(o, o.Argv); err != nil {
		return "limits", err
	}
	return "", syscall.Exec(o.Argv[0], o.Argv, o.Env)
}

// failedToSpawn is the error as it goes over the control socket.
func failedToSpawn(step string, err error) string {
	var errno syscall.Errno
	errors.As(err, &errno)
	if step == "" {
		return strconv.Itoa(int(errno)) + "\n"
	}
	return strconv.Itoa(int(errno)) + " " + err.Error() + "\n"
}

// Spawned reads what became of an order of mode [Spawn]: nil when the script runs.
func Spawned(control io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(control, 4<<10))
	if err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	line := strings.TrimSuffix(string(b), "\n")
	if line == "" {
		return nil
	}
	number, text, said := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("shim: %s", line)
	}
	if said {
		return &stepError{text, syscall.Errno(n)}
	}
	return syscall.Errno(n)
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

// bound sets the limits, the last thing before exec. What exec allocates has to be there
// by then, as this process is larger than a limit of memory may be.
func bound(o *Order, argv []string) error {
	if o.Confine.Limited() && o.Confine.Limits.Memory > 0 {
		reserve(argv, o.Env)
	}
	return o.Confine.Bound()
}
