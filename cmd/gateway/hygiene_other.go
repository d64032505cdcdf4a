//go:build !linux

package main

import (
	"log/slog"
	"syscall"
)

// cleanProcess takes away the descriptors that the gateway may have inherited and its
// scripts must not.
func cleanProcess() error {
	for fd := 3; fd < 256; fd++ {
		syscall.CloseOnExec(fd)
	}
	return nil
}

// reapOrphans: only Linux makes a process the parent of its children's orphans.
func reapOrphans(*slog.Logger, func(pid int) bool) (end func()) { return func() {} }
