package pool

import (
	"bufio"
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
