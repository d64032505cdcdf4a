// Package monotonic has moments that fit into an atomic integer and that no setting of the machine's clock moves.
//
// A [time.Time] is compared by the monotonic clock as long as it is one. Its UnixNano is not: who keeps that takes an
// hour by which the clock is set on for an hour that has gone.
package monotonic

import "time"

// An Instant is a moment, in nanoseconds since the program has begun. Zero is before any other.
type Instant = int64

// origin never changes. It lies before any time that a program can ask for.
var origin = time.Now().Add(-time.Nanosecond)

// Now is the moment.
func Now() Instant { return At(time.Now()) }

// At is the moment of a time, which must come from [time.Now].
func At(t time.Time) Instant { return int64(t.Sub(origin)) }

// Time is the time of a moment.
func Time(i Instant) time.Time { return origin.Add(time.Duration(i)) }
