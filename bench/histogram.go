package main

import (
	"math"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// spread is what a histogram got in a measured time.
type spread struct {
	Count     int
	Mean, P95 time.Duration
	Most      time.Duration // the upper bound of the last bucket
}

// spreadSince takes the difference of a native histogram to an earlier look at it (nil: it was
// not there yet).
func spreadSince(before, after *dto.Histogram) spread {
	if after == nil {
		return spread{}
	}
	count, sum := after.GetSampleCount(), after.GetSampleSum()
	buckets, zero := octaves(after, after.GetSchema()), after.GetZeroCount()
	if before != nil && before.GetSampleCount() <= count { // else it was begun anew
		count, sum, zero = count-before.GetSampleCount(), sum-before.GetSampleSum(), zero-before.GetZeroCount()
		for i, n := range octaves(before, after.GetSchema()) {
			buckets[i] -= n
		}
	}
	if count == 0 {
		return spread{}
	}
	at := func(q float64) time.Duration { return seconds(quantile(buckets, zero, count, after.GetSchema(), q)) }
	return spread{Count: int(count), Mean: seconds(sum / float64(count)), P95: at(0.95), Most: at(1)}
}

// octaves are the buckets of a native histogram by their index, in the resolution of a
// schema; a schema that is lower by one has buckets twice as wide.
func octaves(h *dto.Histogram, schema int32) map[int32]int64 {
	n := map[int32]int64{}
	var i int32
	var count int64
	deltas := h.GetPositiveDelta()
	for _, s := range h.GetPositiveSpan() {
		i += s.GetOffset()
		for range s.GetLength() {
			count += deltas[0]
			deltas = deltas[1:]
			at := i
			for range h.GetSchema() - schema {
				at = (at + 1) >> 1
			}
			n[at] += count
			i++
		}
	}
	return n
}

// quantile is the upper bound of the bucket that it falls into, in seconds.
func quantile(buckets map[int32]int64, zero, count uint64, schema int32, q float64) float64 {
	var last int32 = math.MinInt32
	first := int32(math.MaxInt32)
	for i := range buckets {
		first, last = min(first, i), max(last, i)
	}
	rank := int64(math.Ceil(q * float64(count)))
	seen := int64(zero)
	if seen >= rank || len(buckets) == 0 {
		return 0
	}
	for i := first; i <= last; i++ {
		if seen += buckets[i]; seen >= rank {
			last = i
		}
	}
	return math.Exp2(float64(last) * math.Exp2(-float64(schema)))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
