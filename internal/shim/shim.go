package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"warmcgi/internal/confine"
	"warmcgi/internal/runner"
)

// Main is the shim. It returns only when it has failed, with the exit status.
func Main() int {
	// Who the script is belongs to a thread until exec.
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // a short life
	var st unix.Stat_t
	if err := unix.Fstat(Control, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		fmt.Fprintln(os.Stderr, "shim: there is no control socket: a shim without arguments is started by a gateway. To host scripts see `shim serve --help`")
		return 2
	}
	control := os.NewFile(Control, "control socket")
	o, err := readOrder(control)
	if err == nil && o.Mode == Spawn {
		if err := spawn(o, control); err != nil {
			io.WriteString(control, failedToSpawn(err))
		}
		leave(control)
		return 0
	}
	if err == nil {
		err = run(o, control)
	}
	if err == nil { // another process is the warm parent
		leave(control)
		return 0
	}
	fmt.Fprintln(os.Stderr, "shim:", err)
	io.WriteString(control, "failed "+Escape(err.Error())+"\n")
	return 1
}

// run becomes a warm parent, or makes one that has limits. Everything that the script names
// is read as its user.
func run(o *Order, control *os.File) error {
	if err := enter(o); err != nil {
		return err
	}
	be := o.Confine.Become
	if o.Confine.Limited() {
		be = o.Confine.Assume
	}
	if err := be(); err != nil {
		return err
	}
	if err := executable(o); err != nil {
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
	argv, fd, err := prepare(o, text)
	if err != nil {
		return err
	}
	if o.Confine.Limited() {
		err = o.Confine.Fork(confine.Program{Argv: argv, Env: o.Env, Death: deathSignal, Parent: o.Gateway, Keep: map[int]int{Control: Control, runnerFD: fd}}, announce(control))
	} else if err = errors.Join(place(fd), confine.DieWith(o.Gateway, deathSignal)); err == nil {
		err = syscall.Exec(argv[0], argv, o.Env)
	}
	if errors.Is(err, syscall.EAGAIN) && o.Confine.Limited() && o.Confine.Limits.Processes > 0 {
		err = fmt.Errorf("%w (its user has as many as the limit allows: %s)", err, o.Confine.Describe(confine.Processes))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.executes(), err)
	}
	return nil
}

// enter goes into the order's sandbox, where there is one. The shim needs root for that, if the script has another user.
func enter(o *Order) error {
	if !o.Confine.Sandboxed() {
		return nil
	}
	p := confine.Place{Read: []string{o.Dir, o.Runner}}
	if root := o.Confine.Root(); root != "" {
		p.Read = []string{root} // the order's own paths are those inside
		return o.Confine.Sandbox.Enter(p)
	}
	if o.Socket != "" {
		p.Connect = filepath.Dir(o.Socket)
	}
	if o.Script != "" {
		p.Read = append(p.Read, filepath.Dir(o.Script))
		// Landlock goes by the folders that a file is really in.
		if real, err := filepath.EvalSymlinks(o.Script); err == nil {
			p.Read = append(p.Read, filepath.Dir(real))
		}
	}
	if len(o.Argv) > 0 {
		p.Read = append(p.Read, o.Argv[0])
	}
	return o.Confine.Sandbox.Enter(p)
}

// runnerFD is where the interpreter finds the runner's text, on Linux.
const runnerFD = 4

// deathSignal: a warm parent that is told so ends its workers first.
const deathSignal = syscall.SIGTERM

// executable: an interpreter would read what the user may not execute, and plain CGI does not run.
func executable(o *Order) error {
	if !o.Executable {
		return nil
	}
	err := unix.Faccessat(unix.AT_FDCWD, o.Script, unix.X_OK, unix.AT_EACCESS)
	if err == unix.EACCES && o.Confine.RunsAs() != nil {
		return fmt.Errorf("user %s may not execute script %s: %w", o.Confine.User.Name, o.Script, err)
	}
	if err == unix.EACCES {
		return fmt.Errorf("script %s may not be executed: %w", o.Script, err)
	}
	return nil // what else is wrong shows as it is read
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

// Unescape reads a word of a line.
func Unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
