package shim

import (
	"fmt"
	"io"
	"os"
	"strings"

	"warmcgi/internal/runner"
)

// Main is the shim. It returns only when it has failed, with the exit status.
func Main() int {
	control := os.NewFile(Control, "control socket")
	if control == nil {
		fmt.Fprintln(os.Stderr, "shim: there is no control socket: it is the gateway that starts a shim")
		return 2
	}
	err := run(control)
	fmt.Fprintln(os.Stderr, "shim:", err)
	io.WriteString(control, "failed "+Escape(err.Error())+"\n")
	return 1
}

func run(control *os.File) error {
	o, err := readOrder(control)
	if err != nil {
		return err
	}
	text, err := textOf(o)
	if err != nil {
		return fmt.Errorf("script %s: %w", o.Script, err)
	}
	if err := os.Chdir(o.Dir); err != nil {
		return err
	}
	return execute(o, text)
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
