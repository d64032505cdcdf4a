package serving

import (
	"os"
	"runtime"
)

// TuneRuntime sets what suits a program that forks a lot, unless the environment says
// otherwise.
func TuneRuntime() {
	// A fork holds one of the scheduler's processors until the child has called exec, and
	// forks take turns: with one more than the machine has, all of the machine is used.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1 + runtime.GOMAXPROCS(0))
	}
	if os.Getenv("GOGC") == "" {
		paceCollector()
	}
}

// Self is a command that runs this program again. On Linux that is the one that runs,
// also when its file has been replaced by another version since.
func Self(args ...string) []string {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return append([]string{self}, args...)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil
	}
	return append([]string{exe}, args...)
}
