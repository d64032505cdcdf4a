package gateway

import "syscall"

// leave ends a script at once: with -race, os.Exit takes a second.
func leave(code int) {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(code), 0, 0)
	}
}
