package gather

import (
	"errors"
	"slices"
	"strings"
	"time"

	"raftkv/kvserver/explain"
	"raftkv/kvserver/recorder"
)

// errBetween says how a span is written.
var errBetween = errors.New("give two moments, the earlier one first, as in 10:02..10:05 or 2026-12-01T10:02:00Z..2026-12-01T10:05:00Z")

// Between reads a span of two moments: times of today, in now's time zone, or with their
// days.
func Between(text string, now time.Time) (explain.Span, error) {
	first, second, both := strings.Cut(text, "..")
	from, known := moment(first, now)
	to, alsoKnown := moment(second, now)
	if !both || !known || !alsoKnown || !from.Before(to) {
		return explain.Span{}, errBetween
	}
	return explain.Span{From: from.UnixMilli(), To: to.UnixMilli()}, nil
}

// moment reads a moment.
func moment(text string, now time.Time) (time.Time, bool) {
	for _, form := range []string{"15:04", "15:04:05", "2006-01-02 15:04", "2006-01-02 15:04:05", time.RFC3339} {
		at, err := time.ParseInLocation(form, text, now.Location())
		if err != nil {
			continue
		}
		if at.Year() == 0 {
			year, month, day := now.Date()
			at = time.Date(year, month, day, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), now.Location())
		}
		return at, true
	}
	return time.Time{}, false
}

// OfGroup returns the events of a group of Raft, and those that are of none; 0 means all.
func OfGroup(rings []recorder.Ring, group uint32) (all []recorder.Ring) {
	if group == 0 {
		return rings
	}
	for _, r := range rings {
		r.Events = slices.DeleteFunc(slices.Clone(r.Events), func(e recorder.Event) bool { return e.Group != group && e.Group != 0 })
		all = append(all, r)
	}
	return all
}

// Told is what was told of a cluster that is followed. The zero value is ready.
type Told struct{ stories []explain.Story }

const (
	// settled is how long a story that is not certain must be over to be told: until then
	// more may become known of it.
	settled = 20_000
	// sameStory is by how much the beginning of a story may move, in milliseconds, as more
	// is known of the clocks.
	sameStory = 2_000
)

// New returns the stories that are to be told and were not: those that are certain, and
// others that are over for a while. to is when the stories were made, in Unix milliseconds.
func (t *Told) New(stories []explain.Story, to int64) (fresh []explain.Story) {
	for _, s := range stories {
		if s.Kind == explain.Quiet || s.Certainty != explain.Certain && s.To > to-settled {
			continue
		}
		if !slices.ContainsFunc(t.stories, func(o explain.Story) bool {
			moved := s.From - o.From
			return s.Kind == o.Kind && slices.Equal(s.Culprits, o.Culprits) && max(moved, -moved) <= sameStory
		}) {
			t.stories = append(t.stories, s)
			fresh = append(fresh, s)
		}
	}
	t.stories = slices.DeleteFunc(t.stories, func(o explain.Story) bool { return o.To < to-24*3_600_000 })
	return fresh
}
