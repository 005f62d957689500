package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Goal: percentiles are never too low and at most one percent too high. Method:
// durations of all sizes, compared with the sorted list.
func TestPercentiles(t *testing.T) {
	for _, spread := range []time.Duration{100, time.Microsecond, time.Millisecond, time.Second, 2 * time.Hour} {
		var h Histogram
		var all []time.Duration
		for range 20_000 {
			d := time.Duration(rand.ExpFloat64() * float64(spread))
			h.Add(d)
			all = append(all, d)
		}
		slices.Sort(all)
		for _, percent := range []float64{0.001, 1, 50, 90, 99, 99.9, 100} {
			rank := max(int(percent/100*float64(len(all))+0.999999), 1)
			want, got := all[rank-1], h.Percentile(percent)
			if got < want && want < 2*time.Hour || got > want+want/100+1 {
				t.Errorf("spread %v: p%v is %v, want %v", spread, percent, got, want)
			}
		}
		if h.Max() != all[len(all)-1] || h.Count() != 20_000 {
			t.Errorf("max %v, count %d", h.Max(), h.Count())
		}
	}
}

// Goal: every duration is in a bucket whose upper bound it does not exceed, and
// buckets are in order.
func TestBuckets(t *testing.T) {
	last := -1
	for ns := uint64(0); ns < 1<<42; ns += ns/300 + 1 {
		b := bucketOf(ns)
		if b < last || b == buckets-1 && ns < uint64(time.Hour) {
			t.Fatalf("%d ns are in bucket %d after %d", ns, b, last)
		}
		last = b
		if b < buckets-1 && upperOf(b) < ns {
			t.Fatalf("%d ns are in bucket %d, which ends at %d", ns, b, upperOf(b))
		}
	}
}

// Goal: two histograms merged are one of both. An empty one says zero.
func TestMerge(t *testing.T) {
	var a, b, both Histogram
	for i := range 1000 {
		d := time.Duration(i) * time.Microsecond
		both.Add(d)
		if i%3 == 0 {
			a.Add(d)
		} else {
			b.Add(d)
		}
	}
	a.Merge(&b)
	a.Merge(new(Histogram))
	if a.Percentile(50) != both.Percentile(50) || a.Mean() != both.Mean() || a.Max() != both.Max() || a.Count() != both.Count() {
		t.Errorf("merged: %v %v %v", a.Percentile(50), a.Mean(), a.Max())
	}
	var none Histogram
	if none.Percentile(99) != 0 || none.Mean() != 0 || none.Max() != 0 {
		t.Error("an empty histogram says something")
	}
}
