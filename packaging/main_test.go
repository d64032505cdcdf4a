//go:build linux

package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what has to come.
const patience = time.Minute

// scratch holds what all tests share: the packages and the clean root. It is removed at the end.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "warmcgi-packages-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		if err := os.Chmod(scratch, 0o755); err != nil { // www-data of a machine goes through it
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

const (
	oldVersion = "0.0.9"
	newVersion = "0.2.0"
)

var (
	oldPackage = sync.OnceValues(func() (string, error) { return buildPackage("..", "old", oldVersion) })
	newPackage = sync.OnceValues(func() (string, error) { return buildPackage("..", "new", newVersion) })
)

// buildPackage builds the sources in a folder, and returns the package's file.
func buildPackage(sources, name, version string) (string, error) {
	dir := filepath.Join(scratch, name)
	cmd := exec.Command(filepath.Join(sources, "packaging", "deb"), dir)
	cmd.Env = append(os.Environ(), "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("packaging/deb: %w\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "warmcgi_"+version+"_*.deb"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("packaging/deb made no package, or several: %v %v", found, err)
	}
	return found[0], nil
}

// needs fails, or without CI skips, where a program is missing.
func needs(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	missing(t, program+" is missing: apt-get install "+pkg)
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// output runs a command here and returns what it writes.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		require.NoError(t, err)
		return v
	}
}
