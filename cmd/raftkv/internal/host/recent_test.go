package host

import (
	"testing"
	"time"
)

// Goal: the slowest hundredth of the last minute is told, a fifth too high at
// most, and what is older is forgotten.
func TestTheSlowestHundredthOfTheLastMinute(t *testing.T) {
	var r recent
	now := time.Unix(1_700_000_000, 0)
	want := func(least, most time.Duration) {
		t.Helper()
		if got := r.p99At(now); got < least || got > most {
			t.Errorf("at %v: %v, want %v to %v", now.Unix(), got, least, most)
		}
	}
	want(0, 0)
	for range 99 {
		r.noteAt(time.Millisecond, now)
	}
	want(time.Millisecond, 1200*time.Microsecond)
	r.noteAt(time.Second, now) // a hundredth may be above
	want(time.Millisecond, 1200*time.Microsecond)
	r.noteAt(time.Second, now)
	want(time.Second, 1200*time.Millisecond)
	now = now.Add(50 * time.Second)
	for range 10_000 {
		r.noteAt(100*time.Microsecond, now)
	}
	want(100*time.Microsecond, 120*time.Microsecond)
	r.noteAt(time.Nanosecond, now)
	r.noteAt(time.Hour, now)
	now = now.Add(recentParts * recentLength)
	want(0, 0)
	r.noteAt(time.Hour, now)
	want(75*time.Second, 90*time.Second) // the last bucket
	now = now.Add(-24 * time.Hour)       // a clock that is set back
	r.noteAt(time.Millisecond, now)
	want(time.Millisecond, 90*time.Second)
}
