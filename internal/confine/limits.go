package confine

import (
	"fmt"
	"strings"
	"time"
)

// Limits are what one process may use. 0 is no limit.
type Limits struct {
	// Memory is its address space, in octets.
	Memory int64
	// CPU is its processor time, in whole seconds.
	CPU time.Duration
	// Processes is how many its user may have, all together.
	Processes int
	// Files is how many descriptors it may have open.
	Files int
	// FileSize is how large a file it may write, in octets.
	FileSize int64
	// Core is how much of it is kept where it crashes (core(5)).
	Core Core
}

// Core is the limit of a core dump.
type Core struct {
	// Set: there is the limit; without it, it is the gateway's own.
	Set bool
	// Size is in octets; 0 is that none is made.
	Size int64
}

// String lists the limits as the configuration has them.
func (l Limits) String() string { return strings.Join(l.words(), ", ") }

func (l Limits) words() []string {
	var w []string
	add := func(set bool, format string, v any) {
		if set {
			w = append(w, fmt.Sprintf(format, v))
		}
	}
	add(l.Memory > 0, "memory %s", octets(l.Memory))
	add(l.CPU > 0, "cpu %s", l.CPU)
	add(l.Processes > 0, "processes %d", l.Processes)
	add(l.Files > 0, "files %d", l.Files)
	add(l.FileSize > 0, "file_size %s", octets(l.FileSize))
	add(l.Core.Set, "core %s", octets(l.Core.Size))
	return w
}

func octets(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	u := 0
	for ; u < len(units)-1 && n >= 1024 && n%1024 == 0; u++ {
		n /= 1024
	}
	return fmt.Sprintf("%d%s", n, units[u])
}
