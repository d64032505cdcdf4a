package serving

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage the heap may hold before it is collected. A heap of a few megabytes may
// hold three times as much: it is collected each few hundred requests then, which saves
// the collector work. That would be hundreds of megabytes with some thousand idle clients.
const (
	garbage    = 24 << 20 // octets, as long as that is between
	garbageMin = 50       // percent of what is in use, and
	garbageMax = 300
)

// garbagePercent is how much garbage a heap may hold of which live octets are in use, in
// percent of these.
func garbagePercent(live uint64) int {
	return int(min(max(garbage*100/max(live, 1), garbageMin), garbageMax))
}

// paceCollector has each collection say how far the next one is, as long as the program runs.
func paceCollector() {
	in := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	percent := garbageMax
	debug.SetGCPercent(percent)
	var collected func(int)
	wait := func() { runtime.AddCleanup(new([4]uint64), collected, 0) } // so large that it is not packed with others
	collected = func(int) {
		metrics.Read(in)
		p := garbagePercent(in[0].Value.Uint64() + in[1].Value.Uint64())
		if step := max(p-percent, percent-p); step > percent/4 { // setting it stops the world
			percent = p
			debug.SetGCPercent(p)
		}
		wait()
	}
	wait()
}
