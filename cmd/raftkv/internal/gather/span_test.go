package gather

import (
	"testing"
	"time"

	"raftkv/kvserver/explain"
)

// Goal (section 5 of the contract): moments are read as people write them, today's or with
// their day; what is no span is refused.
func TestSpansAreReadAsPeopleWriteThem(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.FixedZone("east", 3600))
	for text, want := range map[string]int{
		"10:02..10:05": 180, "10:02:30..10:03": 30, "2026-11-30 23:59..2026-12-01 00:01": 120, "2026-12-01T09:02:00Z..10:05": 180,
		"10:05..10:02": 0, "10:02": 0, "10:02..": 0, "..10:02": 0, "x..y": 0, "10:02..10:02": 0,
	} {
		span, err := Between(text, now)
		if (want == 0) != (err != nil) || span.To-span.From != int64(want)*1000 {
			t.Errorf("%q is a span of %d ms (%v), want %d s", text, span.To-span.From, err, want)
		}
	}
	if span, _ := Between("10:02..10:05", now); span.From != time.Date(2026, 12, 1, 9, 2, 0, 0, time.UTC).UnixMilli() {
		t.Errorf("10:02 of the day is %v", time.UnixMilli(span.From))
	}
}

// Goal: a follower of the stories is told each one once, when it is certain or over, and not that nothing
// happened.
func TestStoriesAreToldOnceTheyAreCertain(t *testing.T) {
	var told Told
	at := func(from int64, c explain.Certainty) []explain.Story {
		return []explain.Story{{Kind: explain.LeaderEnded, Culprits: []string{"n1"}, Certainty: c, From: from, To: from + 1000}, {Kind: explain.Quiet, Certainty: explain.Certain}}
	}
	for i, c := range []struct {
		stories []explain.Story
		to      int64
		fresh   int
	}{
		{at(100_000, explain.Likely), 102_000, 0}, {at(100_000, explain.Certain), 104_000, 1}, {at(100_300, explain.Certain), 106_000, 0},
		{at(200_000, explain.Likely), 202_000, 0}, {at(200_000, explain.Likely), 225_000, 1}, {at(200_000, explain.Certain), 226_000, 0},
	} {
		if fresh := told.New(c.stories, c.to); len(fresh) != c.fresh {
			t.Errorf("round %d: %d stories are new", i, len(fresh))
		}
	}
}
