//go:build !linux

package serving

import (
	"log/slog"
	"syscall"
)

// CleanProcess takes away the descriptors that the process may have inherited and its
// scripts must not.
func CleanProcess() error {
	for fd := 3; fd < 256; fd++ {
		syscall.CloseOnExec(fd)
	}
	return nil
}

// ReapOrphans: only Linux makes a process the parent of its children's orphans.
func ReapOrphans(*slog.Logger, func(pid int) bool) (end func(spare int)) { return func(int) {} }
