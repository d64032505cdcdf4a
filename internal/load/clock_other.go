//go:build !linux

package load

import "time"

type clock struct{}

func newClock() clock { return clock{} }
func (clock) stop()   {}

func (clock) sleepUntil(at time.Time, end <-chan struct{}) bool {
	select {
	case <-end:
		return false
	default:
	}
	select {
	case <-end:
		return false
	case <-time.After(time.Until(at)):
		return true
	}
}
