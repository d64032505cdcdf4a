package pool

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"warmcgi/internal/cgi"
	"warmcgi/internal/runner"
)

// optsIn reports whether a script asks to be reused: the comment `cgi: reuse` in its
// first ten lines.
func optsIn(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	r := bufio.NewScanner(f)
	for i := 0; i < 10 && r.Scan(); i++ {
		if line := strings.TrimSpace(r.Text()); strings.HasPrefix(line, "#") && strings.TrimSpace(strings.TrimLeft(line, "# \t")) == "cgi: reuse" {
			return true
		}
	}
	return false
}

// eligible finds out how a script would be loaded.
func eligible(sc *cgi.Script, w *cgi.Workers) (*runner.Program, error) {
	if w.Runner != "" {
		return runner.Foreign(w.Runner, sc.File, sc.Interpreter)
	}
	return runner.Find(sc.File, sc.Interpreter)
}

// Explain says how a script would be run: its mode, or spawn and why. Nothing is started, so
// what only loading it can tell is not known.
func Explain(sc *cgi.Script, w *cgi.Workers) string {
	if w == nil || w.Mode == cgi.ModeSpawn {
		return string(cgi.ModeSpawn)
	}
	if _, err := eligible(sc, w); err != nil {
		return fmt.Sprintf("%s, not %s: %v", cgi.ModeSpawn, w.Mode, err)
	}
	if w.Mode == cgi.ModeAuto && optsIn(sc.File) {
		return fmt.Sprintf("%s: %s, as its comment says", w.Mode, cgi.ModeReuse)
	}
	return string(w.Mode)
}
