package auth

import (
	"fmt"
	"strings"
)

// Range is what a request would execute: one key, the keys between two bounds, locks,
// or nothing but the system. It is made after the request's defaults are resolved, so
// that the decision is about what is done and not about what was written. The zero
// value is the system.
type Range struct {
	space Space
	one   bool   // exactly the key or lock from
	from  string // the first
	open  bool   // from itself is not in the range; there is no empty key
	end   bound  // nothing at or behind it is
}

// bound is the end of a range: a text, or what follows everything that begins with a
// text. The latter with an empty text is no bound.
type bound struct {
	text   string
	follow bool
}

// following returns the bound behind everything that begins with prefix.
func following(prefix string) bound {
	// What follows "a\xff" is what follows "a": no byte is greater.
	n := len(prefix)
	for n > 0 && prefix[n-1] == 0xff {
		n--
	}
	return bound{text: prefix[:n], follow: true}
}

func (b bound) none() bool { return b.follow && b.text == "" }

// at returns the i-th byte of the bound, as if it were written out.
func (b bound) at(i int) byte {
	if b.follow && i == len(b.text)-1 {
		return b.text[i] + 1 // not 0xff, see following
	}
	return b.text[i]
}

// atMost reports whether b is not behind other.
func (b bound) atMost(other bound) bool {
	switch {
	case other.none():
		return true
	case b.none():
		return false
	}
	// Only the last byte of a text may stand for another one.
	last := min(len(b.text), len(other.text)) - 1
	if x, y := b.text[:last], other.text[:last]; x != y {
		return x < y
	}
	if x, y := b.at(last), other.at(last); x != y {
		return x < y
	}
	return len(b.text) <= len(other.text)
}

// OneKey returns the range of one key.
func OneKey(key string) Range { return Range{space: Keys, one: true, from: key} }

// KeysWith returns the range of the keys that begin with prefix and stand behind after,
// which may be "": what a list of the two executes.
func KeysWith(prefix, after string) Range {
	r := Range{space: Keys, from: prefix, open: prefix == "", end: following(prefix)}
	if after >= prefix && after != "" {
		r.from, r.open = after, true
	}
	return r
}

// KeysBetween returns the range of the keys from one on that are less than to. An empty
// to is no end.
func KeysBetween(from, to string) Range {
	return Range{space: Keys, from: from, open: from == "", end: bound{text: to, follow: to == ""}}
}

// OneLock returns the range of one lock.
func OneLock(name string) Range { return Range{space: Locks, one: true, from: name} }

// LocksWith returns the range of the locks whose names begin with prefix.
func LocksWith(prefix string) Range {
	return Range{space: Locks, from: prefix, end: following(prefix)}
}

// Right returns the right that a request needs on the range: to watch a lock is to observe
// it.
func (r *Range) Right(right Right) Right {
	if right == Watch && r.space == Locks {
		return Observe
	}
	return right
}

// within reports whether all of the range is inside a rule's prefix, or is a rule's one
// key.
func (r *Range) within(rule *Rule) bool {
	if r.one {
		return r.from == rule.Text || !rule.Single && strings.HasPrefix(r.from, rule.Text)
	}
	if rule.Single {
		// The range from a key up to its successor, "key\x00", holds that key alone.
		return !r.end.follow && r.beginsIn(rule.Text) && len(r.end.text) == len(rule.Text)+1 &&
			r.end.text[len(rule.Text)] == 0 && strings.HasPrefix(r.end.text, rule.Text)
	}
	return r.beginsIn(rule.Text) && r.end.atMost(following(rule.Text))
}

// Space returns what the range is a range of.
func (r *Range) Space() Space { return r.space }

// Bounds returns the ends of the range: all from the one on and before the other, where an
// empty one is no end. If one is true, the range is just what from names.
func (r *Range) Bounds() (from, to string, one bool) {
	if r.one {
		return r.from, "", true
	}
	from, to = r.from, r.end.text
	if r.open && from != "" {
		from += "\x00"
	}
	if last := len(to) - 1; r.end.follow && last >= 0 {
		to = to[:last] + string([]byte{r.end.at(last)})
	}
	return from, to, false
}

// Meets reports whether a key that begins with prefix may be in the range.
func (r *Range) Meets(prefix string) bool {
	switch {
	case r.space != Keys:
		return false
	case r.one:
		return strings.HasPrefix(r.from, prefix)
	case prefix == "":
		return true
	}
	begins := r.from == "" || !following(prefix).atMost(bound{text: r.from})
	return begins && (r.end.none() || !r.end.atMost(bound{text: prefix}))
}

// beginsIn reports whether nothing of the range is before text. A range that leaves out
// its first key begins at that key's successor.
func (r *Range) beginsIn(text string) bool {
	if r.from >= text {
		return true
	}
	return r.open && len(text) == len(r.from)+1 && text[len(r.from)] == 0 && strings.HasPrefix(text, r.from)
}

// String describes the range for people. It is cut, so that a long key does not fill
// an answer.
func (r Range) String() string {
	what := "key"
	if r.space == Locks {
		what = "lock"
	}
	switch {
	case r.space == System:
		return "the cluster"
	case r.one:
		return fmt.Sprintf("the %s %s", what, shown(r.from))
	case r.end.none() && r.from == "":
		return "all " + what + "s"
	}
	begin := fmt.Sprintf("the %ss from %s", what, shown(r.from))
	if r.open && r.from != "" {
		begin = fmt.Sprintf("the %ss behind %s", what, shown(r.from))
	}
	switch {
	case r.end.none():
		return begin + " to the end"
	case r.end.follow && !r.open && following(r.from) == r.end:
		return fmt.Sprintf("the %ss that begin with %s", what, shown(r.from))
	case r.end.follow:
		return begin + " that begin with " + shown(r.end.text)
	}
	return begin + " to before " + shown(r.end.text)
}

// shown quotes a text, at most so long.
func shown(text string) string {
	const limit = 80
	if len(text) > limit {
		return fmt.Sprintf("%q… (%d bytes)", text[:limit], len(text))
	}
	return fmt.Sprintf("%q", text)
}
