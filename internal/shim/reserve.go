package shim

import (
	"os"
	"runtime"
)

// reserve has the runtime get memory that the copies of arguments and environment will fit
// into.
func reserve(lists ...[]string) {
	size := 1 << 20
	for _, l := range lists {
		for _, s := range l {
			size += 2 * (len(s) + 32)
		}
	}
	b := make([]byte, size)
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	runtime.KeepAlive(b)
	runtime.GC()
}
