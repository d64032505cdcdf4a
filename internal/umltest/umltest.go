// Package umltest starts user-mode Linux (Debian's package user-mode-linux) for tests that
// want a kernel of their own. It needs gcc.
package umltest

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed testdata/registers.c
var registers []byte

// Command is a machine of 512 MiB whose root is a folder of this one, and whose console is the
// command's output. options are the kernel's; those like NAME=VALUE that it doesn't know are
// the environment of its first program. dir is a folder for what the command needs.
func Command(ctx context.Context, dir, root string, options ...string) (*exec.Cmd, error) {
	source, library := filepath.Join(dir, "registers.c"), filepath.Join(dir, "registers.so")
	if err := os.WriteFile(source, registers, 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "gcc", "-shared", "-fPIC", "-O", "-Wall", "-Werror", "-o", library, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("gcc %s: %w: %s", source, err, out)
	}
	options = append([]string{"mem=512M", "root=/dev/root", "rootfstype=hostfs", "rootflags=" + root, "con=null", "con0=null,fd:1"}, options...)
	cmd := exec.CommandContext(ctx, "linux.uml", options...)
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+library)
	return cmd, nil
}
