package serving

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestASmallHeapMayHoldMoreGarbageForItsSizeThanALargeOne(t *testing.T) {
	for live, want := range map[uint64]int{0: 300, 4 << 20: 300, 8 << 20: 300, 24 << 20: 100, 40 << 20: 60, 48 << 20: 50, 1 << 30: 50} {
		assert.Equal(t, want, garbagePercent(live), "%d octets in use", live)
	}
}

func TestTheCollectorIsPacedByWhatIsInUse(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before) // the pace goes on, in this test's process
	paceCollector()
	paced := func(at string, want ...uint64) {
		t.Helper()
		assert.Eventually(t, func() bool {
			runtime.GC()
			now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
			metrics.Read(now)
			p := now[0].Value.Uint64()
			return p >= want[0] && p <= want[1]
		}, 10*time.Second, 10*time.Millisecond, at)
	}
	paced("with little in use", 225, 300)
	held := make([]byte, 200<<20)
	paced("with 200 MiB in use", 50, 65)
	runtime.KeepAlive(held)
	held = nil
	paced("with little again", 225, 300)
}
