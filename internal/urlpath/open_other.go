//go:build !linux

package urlpath

import (
	"os"
	"syscall"
)

// openFlags: a pipe in the place of a file would keep who opens it waiting.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

func openIn(root, rel string) (*os.File, error) { return openByRoot(root, rel) }
