package host

import (
	"math"
	"sync"
	"time"
)

// recent counts the durations of the last minute, so that a status can show a p99 where
// no Prometheus collects them.
type recent struct {
	mu    sync.Mutex // guards parts
	parts [recentParts]recentPart
}

// recentPart counts the durations that were noted in ten seconds.
type recentPart struct {
	number  int64 // of these ten seconds since the epoch
	buckets [recentBuckets]uint32
}

// A minute is six parts. Since the last of them is not over, one more is counted.
// Buckets grow by a fifth from 10 µs to 90 s.
const (
	recentParts   = 7
	recentLength  = 10 * time.Second
	recentBuckets = 88
	recentMin     = 10 * time.Microsecond
	recentGrowth  = 1.2
)

// note adds a duration.
func (r *recent) note(took time.Duration) { r.noteAt(took, time.Now()) }

func (r *recent) noteAt(took time.Duration, now time.Time) {
	bucket := 0
	if took > recentMin {
		bucket = min(int(math.Ceil(math.Log(float64(took)/float64(recentMin))/math.Log(recentGrowth))), recentBuckets-1)
	}
	number := now.UnixNano() / int64(recentLength)
	r.mu.Lock()
	defer r.mu.Unlock()
	part := &r.parts[number%recentParts]
	if part.number != number {
		*part = recentPart{number: number}
	}
	part.buckets[bucket]++
}

// p99 returns the duration below which all but a hundredth were, rounded up by a fifth
// at most; 0 if there were none.
func (r *recent) p99() time.Duration { return r.p99At(time.Now()) }

func (r *recent) p99At(now time.Time) time.Duration {
	number := now.UnixNano() / int64(recentLength)
	var sums [recentBuckets]uint64
	total := uint64(0)
	r.mu.Lock()
	for i := range r.parts {
		if number-r.parts[i].number >= recentParts {
			continue
		}
		for bucket, count := range r.parts[i].buckets {
			sums[bucket] += uint64(count)
			total += uint64(count)
		}
	}
	r.mu.Unlock()
	if total == 0 {
		return 0
	}
	left := total / 100 // that may be above
	bucket := recentBuckets - 1
	for ; bucket > 0 && sums[bucket] <= left; bucket-- {
		left -= sums[bucket]
	}
	return time.Duration(float64(recentMin) * math.Pow(recentGrowth, float64(bucket)))
}
