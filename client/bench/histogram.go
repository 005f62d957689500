package bench

import (
	"math/bits"
	"time"
)

// Histogram counts durations in buckets whose width grows with the duration. Each
// doubling has 128 buckets, so that a value read from it is less than one percent
// too high. It belongs to one goroutine. The zero value is empty.
type Histogram struct {
	counts []uint32 // nil until the first duration
	count  uint64
	sum    time.Duration
	max    time.Duration
}

const (
	subBits   = 7
	subCount  = 1 << subBits
	doublings = 36 // up to two hours; longer durations count as that
	buckets   = (doublings + 1) * subCount
)

// bucketOf returns the bucket of a duration in nanoseconds.
func bucketOf(ns uint64) int {
	if ns < subCount {
		return int(ns)
	}
	shift := bits.Len64(ns) - subBits - 1
	return min((shift+1)*subCount+int(ns>>shift)-subCount, buckets-1)
}

// upperOf returns the greatest duration of a bucket, in nanoseconds.
func upperOf(bucket int) uint64 {
	if bucket < subCount {
		return uint64(bucket)
	}
	shift := bucket/subCount - 1
	return uint64(bucket%subCount+subCount+1)<<shift - 1
}

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	if h.counts == nil {
		h.counts = make([]uint32, buckets)
	}
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

// Merge adds the counts of another histogram.
func (h *Histogram) Merge(other *Histogram) {
	if other.counts == nil {
		return
	}
	if h.counts == nil {
		h.counts = make([]uint32, buckets)
	}
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.count += other.count
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Count returns the number of durations added.
func (h *Histogram) Count() uint64 { return h.count }

// Max returns the longest of them, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns their mean, exactly; 0 if there are none.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}

// Percentile returns the duration that the given percentage of all durations do
// not exceed. It is at most one percent too high, and 0 if there are none.
func (h *Histogram) Percentile(percent float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := max(uint64(percent/100*float64(h.count)+0.999999), 1)
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += uint64(n); seen >= rank {
			return min(time.Duration(upperOf(i)), h.max)
		}
	}
	return h.max
}
