package runner

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// One module in several files: python.py is the warm parent, python_main.py the start.
var (
	//go:embed python.py
	pythonParent string
	//go:embed python_ahead.py
	pythonAhead string
	//go:embed python_rehearsal.py
	pythonRehearsal string
	//go:embed python_patterns.py
	pythonPatterns string
	//go:embed python_frames.py
	pythonFrames string
	//go:embed python_worker.py
	pythonWorker string
	//go:embed python_reuse.py
	pythonReuse string
	//go:embed python_main.py
	pythonMain string
	//go:embed python_old.py
	pythonOld string
)

var python = Language{
	Name:     "python",
	Text:     pythonText,
	Switch:   pythonSwitch,
	Argument: "cmJWX",
}

func pythonText(_, mode string) ([]byte, error) {
	parts := []string{pythonParent, pythonAhead, pythonRehearsal, pythonPatterns, pythonFrames, pythonWorker}
	if mode == "reuse" {
		parts = append(parts, pythonReuse)
	}
	// Who shows a traceback with the runner in it opens its file by name, and descriptor 4 is the script's.
	return fmt.Appendf(nil, "# The runner.\nexec(compile(%q if __import__('sys').version_info >= (3, 8) else %q, '<warmcgi>', 'exec'))\n",
		strings.Join(append(parts, pythonMain), "\n\n"), pythonOld), nil
}

// pythonX are the -X options that mean the same to the runner as to the script.
var pythonX = []string{"dev", "utf8", "faulthandler", "no_debug_ranges", "int_max_str_digits", "frozen_modules", "pycache_prefix",
	"warn_default_encoding", "tracemalloc", "gil", "cpu_count", "thread_inherit_context", "context_aware_warnings"}

// pythonSwitch: x skips the first line, which is a comment in the script as in the runner.
func pythonSwitch(letter byte, arg string) bool {
	switch letter {
	case 'W':
		return arg != ""
	case 'X':
		name, _, _ := strings.Cut(arg, "=")
		return slices.Contains(pythonX, name)
	}
	return strings.IndexByte("bBdEIOPqRsStux", letter) >= 0
}
