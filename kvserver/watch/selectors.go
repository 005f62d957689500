package watch

import (
	"fmt"
	"slices"
	"strings"

	"raftkv/kvserver/kv"
	"raftkv/kvserver/lock"
	"raftkv/kvserver/txn"
)

// Selectors say which keys and locks a watch follows: a key or lock that any of them
// selects.
type Selectors struct {
	Keys     []string
	Prefixes []string // "" selects every key
	Ranges   []Range
	Locks    []string // names of locks
}

// Range selects the keys from From on, in the order of their bytes, up to but not
// including To; without To up to the last.
type Range struct{ From, To string }

func (r Range) holds(key string) bool { return key >= r.From && (r.To == "" || key < r.To) }

// Match reports whether a key is selected.
func (s *Selectors) Match(key string) bool {
	return slices.Contains(s.Keys, key) ||
		slices.ContainsFunc(s.Prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) ||
		slices.ContainsFunc(s.Ranges, func(r Range) bool { return r.holds(key) })
}

// spans returns the keys that are selected as ranges, in order, which have no key in common.
func (s *Selectors) spans() []Range {
	all := slices.Clone(s.Ranges)
	for _, key := range s.Keys {
		all = append(all, Range{key, key + "\x00"})
	}
	for _, prefix := range s.Prefixes {
		all = append(all, Range{prefix, txn.Prefix(prefix).To})
	}
	slices.SortFunc(all, func(a, b Range) int { return strings.Compare(a.From, b.From) })
	joined := all[:0]
	for _, r := range all {
		last := len(joined) - 1
		switch {
		case last < 0 || joined[last].To != "" && joined[last].To < r.From:
			joined = append(joined, r)
		case joined[last].To != "" && (r.To == "" || r.To > joined[last].To):
			joined[last].To = r.To
		}
	}
	return joined
}

// MatchEvent reports whether the key or lock of an event is selected.
func (s *Selectors) MatchEvent(e *kv.Event) bool {
	if e.OfLock() {
		return slices.Contains(s.Locks, e.Key)
	}
	return s.Match(e.Key)
}

// Count returns the number of selectors.
func (s *Selectors) Count() int {
	return len(s.Keys) + len(s.Prefixes) + len(s.Ranges) + len(s.Locks)
}

// Bytes returns about how much memory the selectors take.
func (s *Selectors) Bytes() (n int64) {
	for _, text := range s.Keys {
		n += selectorBytes + int64(len(text))
	}
	for _, texts := range [][]string{s.Prefixes, s.Locks} {
		for _, text := range texts {
			n += selectorBytes + int64(len(text))
		}
	}
	for _, r := range s.Ranges {
		n += selectorBytes + int64(len(r.From)+len(r.To))
	}
	return n
}

// selectorBytes is what a selector takes in addition to its text.
const selectorBytes = 64

// Check says what keeps the selectors from being those of a watch with at most limit
// of them. nil: nothing.
func (s *Selectors) Check(limit int) error {
	switch n := s.Count(); {
	case n == 0:
		return fmt.Errorf("it selects nothing; name a key, a lock or a prefix, and the empty prefix for the whole store")
	case n > limit:
		return fmt.Errorf("it has %d selectors; the limit is %d", n, limit)
	}
	for _, key := range s.Keys {
		if len(key) == 0 || len(key) > kv.MaxKeyBytes {
			return fmt.Errorf("a key has %d bytes; it has 1 to %d", len(key), kv.MaxKeyBytes)
		}
	}
	for _, name := range s.Locks {
		if len(name) == 0 || len(name) > lock.MaxNameBytes {
			return fmt.Errorf("the name of a lock has %d bytes; it has 1 to %d", len(name), lock.MaxNameBytes)
		}
	}
	bounds := slices.Clone(s.Prefixes)
	for _, r := range s.Ranges {
		bounds = append(bounds, r.From, r.To)
		if r.To != "" && r.To <= r.From {
			return fmt.Errorf("a range ends at %.40q, which does not stand behind its beginning, %.40q", r.To, r.From)
		}
	}
	for _, bound := range bounds {
		if len(bound) > kv.MaxKeyBytes {
			return fmt.Errorf("a prefix or an end of a range has %d bytes; the longest key may have %d", len(bound), kv.MaxKeyBytes)
		}
	}
	return nil
}
