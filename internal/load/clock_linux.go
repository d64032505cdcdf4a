package load

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// clock wakes at a moment. [time.Sleep] may wake a millisecond late, as the runtime waits for timers in epoll_wait,
// which counts in milliseconds; that would be more than many answers take. The kernel's own sleep is 20 to 60 us late.
type clock struct{}

func newClock() clock {
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return clock{}
}

func (clock) stop() {
	unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // 0 is the thread's default
	runtime.UnlockOSThread()
}

// longest is how long it does not look whether it is to end.
const longest = 20 * time.Millisecond

func (clock) sleepUntil(at time.Time, end <-chan struct{}) bool {
	for {
		select {
		case <-end:
			return false
		default:
		}
		left := time.Until(at)
		if left <= 0 {
			return true
		}
		t := unix.NsecToTimespec(int64(min(left, longest)))
		unix.Nanosleep(&t, nil) // a signal ends it early
	}
}
