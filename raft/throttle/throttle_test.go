package throttle

import (
	"testing"
	"time"
)

// Goal: of each key, as many events pass in an interval as may, and the next one
// that passes tells how many did not. Method: events at made-up times, around the
// end of an interval.
func TestAllow(t *testing.T) {
	const interval = 10 * time.Second
	start := time.Now()
	type step struct {
		key     string
		after   time.Duration
		ok      bool
		dropped int
	}
	for name, c := range map[string]struct {
		limit int
		steps []step
	}{
		"one in each interval": {1, []step{
			{"a", 0, true, 0}, {"a", 0, false, 0}, {"a", interval - 1, false, 0}, {"b", interval - 1, true, 0},
			{"a", interval, true, 2}, {"a", interval, false, 0}, {"a", 2*interval - 1, false, 0}, {"a", 2 * interval, true, 2},
			{"b", 3 * interval, true, 0},
		}},
		"several in each interval": {3, []step{
			{"a", 0, true, 0}, {"a", 1, true, 0}, {"a", 2, true, 0}, {"a", 3, false, 0}, {"b", 4, true, 0},
			{"a", interval, true, 1}, {"a", interval, true, 0}, {"a", interval + 5, true, 0}, {"a", interval + 6, false, 0},
		}},
		"an interval begins with an event": {1, []step{
			{"a", 0, true, 0}, {"a", 3 * interval / 2, true, 0}, {"a", 2 * interval, false, 0}, {"a", 5 * interval / 2, true, 1},
		}},
	} {
		th := New(c.limit, interval)
		for i, s := range c.steps {
			if ok, dropped := th.Allow(s.key, start.Add(s.after)); ok != s.ok || dropped != s.dropped {
				t.Errorf("%s, step %d: %v, %d dropped; want %v, %d", name, i, ok, dropped, s.ok, s.dropped)
			}
		}
	}
}
