//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// binDir holds what is built once for all tests.
var binDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "warmcgi-bin-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // servers that run as www-data run programs in it
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(binDir)
		os.Exit(code)
	}))
}

var (
	// raceGateway is the program with the race detector in it, which most tests run.
	raceGateway = sync.OnceValues(func() (string, error) { return build("gateway-race", "gateway", "-race") })
	raceShim    = sync.OnceValues(func() (string, error) { return build("shim-race", "shim", "-race") })
	// plainGateway is for measuring: the race detector takes memory of its own.
	plainGateway = sync.OnceValues(func() (string, error) { return build("gateway", "gateway") })
	plainShim    = sync.OnceValues(func() (string, error) { return build("shim", "shim") })
)

// build builds a command under a name.
func build(name, command string, flags ...string) (string, error) {
	out := filepath.Join(binDir, name)
	args := append(append([]string{"build"}, flags...), "-o", out, "warmcgi/cmd/"+command)
	if text, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, text)
	}
	return out, nil
}

var compiled sync.Map // source -> func() (string, error)

// compile builds a C program of testdata, once.
func compile(t *testing.T, source string) string {
	t.Helper()
	needs(t, "gcc")
	f, _ := compiled.LoadOrStore(source, sync.OnceValues(func() (string, error) {
		out := filepath.Join(binDir, strings.TrimSuffix(source, ".c"))
		text, err := exec.Command("gcc", "-O2", "-Wall", "-Werror", "-o", out, filepath.Join("testdata", "c", source)).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("gcc %s: %w\n%s", source, err, text)
		}
		return out, err
	}))
	out, err := f.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return out
}
