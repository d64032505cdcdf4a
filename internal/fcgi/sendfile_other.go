//go:build !linux

package fcgi

import (
	"errors"
	"os"
)

// sendsFiles: files are copied.
func (w *wire) sendsFiles() bool { return false }

func (w *wire) sendFile([]byte, *os.File, int) (int, error) { return 0, errors.ErrUnsupported }
