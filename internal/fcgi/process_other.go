//go:build !linux

package fcgi

import "syscall"

// processAttr: a group of its own.
func processAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
