package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"warmcgi/internal/confine"
	"warmcgi/internal/runner"
)

// Main is the shim. It returns only when it has failed, with the exit status.
func Main() int {
	// Who the script is belongs to a thread until exec.
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // a short life
	control := os.NewFile(Control, "control socket")
	if control == nil {
		fmt.Fprintln(os.Stderr, "shim: there is no control socket: it is the gateway that starts a shim")
		return 2
	}
	o, err := readOrder(control)
	if err == nil && o.Mode == Spawn {
		io.WriteString(control, failedToSpawn(spawn(o)))
		return 1
	}
	if err == nil {
		err = run(o)
	}
	fmt.Fprintln(os.Stderr, "shim:", err)
	io.WriteString(control, "failed "+Escape(err.Error())+"\n")
	return 1
}

// run becomes a warm parent. Everything that the script names is read as its user.
func run(o *Order) error {
	if err := o.Confine.Become(); err != nil {
		return err
	}
	text, err := textOf(o)
	if err != nil {
		return fmt.Errorf("script %s: %w", o.Script, err)
	}
	if err := os.Chdir(o.Dir); err != nil {
		return err
	}
	if err := reachable(o); err != nil {
		return err
	}
	// A warm parent that is told so ends its workers first.
	if err := confine.DieWith(o.Gateway, syscall.SIGTERM); err != nil {
		return err
	}
	return execute(o, text)
}

// reachable: workers will have to connect.
func reachable(o *Order) error {
	if _, err := os.Stat(o.Socket); o.Confine.RunsAs() != nil && errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("user %s may not enter the folder of the gateway's sockets (TMPDIR of the gateway): %w", o.Confine.User.Name, err)
	}
	return nil
}

// textOf is what the interpreter is given in the script's place.
func textOf(o *Order) ([]byte, error) {
	if o.Runner != "" {
		return os.ReadFile(o.Runner)
	}
	return runner.Text(o.Language, o.Script, o.Mode)
}

// Escape writes a word of a line as the worker protocol has it.
func Escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
