package serving

import (
	"os"

	"golang.org/x/sys/unix"
)

// terminals are those of the standard descriptors that were terminals at the start.
type terminals []*os.File

func openTerminals() (list terminals) {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if isTerminal(f) {
			list = append(list, f)
		}
	}
	return list
}

// gone reports whether the SIGHUP that has come says that the terminal was closed: then its program is to end, as ever.
func (t terminals) gone() bool {
	for _, f := range t {
		if !isTerminal(f) {
			return true
		}
	}
	return false
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
