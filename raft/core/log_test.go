package core

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// termsLog returns a log of entries with these terms behind base.
func termsLog(base Snapshot, terms ...uint64) *log {
	l := newLog(edition{}, base, entriesOf(base.Index+1, terms...))
	return &l
}

// combinations calls f with every list of n values below limit.
func combinations(n, limit int, f func([]uint64)) {
	list := make([]uint64, n)
	for {
		f(slices.Clone(list))
		i := 0
		for ; i < n; i++ {
			if list[i]++; list[i] < uint64(limit) {
				break
			}
			list[i] = 0
		}
		if i == n {
			return
		}
	}
}

// Goal: terms are found by index, and first and last entries of a term by
// bisection as by a walk, with and without entries forgotten.
// Method: every log of up to five entries of terms 1 to 4, every index and term.
func TestLog_FindsTermsLikeAWalk(t *testing.T) {
	for _, base := range []Snapshot{{}, {Index: 7, Term: 1}} {
		for n := range 6 {
			combinations(n, 4, func(terms []uint64) {
				for i := range terms {
					terms[i]++
				}
				if slices.IsSorted(terms) {
					compareWithWalk(t, base, terms)
				}
			})
		}
	}
}

func compareWithWalk(t *testing.T, base Snapshot, terms []uint64) {
	t.Helper()
	l := termsLog(base, terms...)
	all := append([]uint64{base.Term}, terms...) // all[i] is the term of base.Index+i
	for index := range base.Index + uint64(len(all)) + 2 {
		term, ok := l.term(index)
		want := index >= base.Index && index < base.Index+uint64(len(all))
		if ok != want || ok && term != all[index-base.Index] {
			t.Fatalf("base %v, terms %v: term(%d) is %d, %v", base, terms, index, term, ok)
		}
		if !ok || index == 0 {
			continue
		}
		first := index
		for first > max(base.Index, 1) && all[first-1-base.Index] == term && !(first-1 == base.Index && index > base.Index) {
			first--
		}
		if got := l.firstOfTerm(index); got != first {
			t.Fatalf("base %v, terms %v: firstOfTerm(%d) is %d, want %d", base, terms, index, got, first)
		}
	}
	for term := range uint64(6) {
		last, found := uint64(0), false
		for i, have := range all {
			if index := base.Index + uint64(i); have == term && index > 0 {
				last, found = index, true
			}
		}
		if got, ok := l.lastOfTerm(term); ok != found || ok && got != last {
			t.Fatalf("base %v, terms %v: lastOfTerm(%d) is %d, %v, want %d, %v", base, terms, term, got, ok, last, found)
		}
	}
}

// Goal: a slice handed out never changes, whatever is truncated and appended
// afterwards: disk, peers and state machine read it without a lock.
// Method: random appends, truncations and slices; every slice ever taken is
// compared with its copy at the end.
func TestLog_ASliceHandedOutNeverChanges(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	l := termsLog(Snapshot{})
	var slices_, copies [][]Entry
	for step := range uint64(3000) {
		switch chance.IntN(4) {
		case 0, 1:
			l.append(Entry{Index: l.lastIndex() + 1, Term: step + 1})
		case 2:
			if l.lastIndex() > 0 && chance.IntN(3) == 0 {
				l.truncate(l.lastIndex() - chance.Uint64N(min(l.lastIndex(), 5)))
			}
		default:
			if l.lastIndex() > 0 {
				from := 1 + chance.Uint64N(l.lastIndex())
				s := l.slice(from, l.lastIndex(), 1+chance.IntN(200))
				if cap(s) != len(s) {
					t.Fatal("a slice with room behind it: an append to it would write into the log")
				}
				slices_, copies = append(slices_, s), append(copies, slices.Clone(s))
			}
		}
	}
	for i := range slices_ {
		if !slices.EqualFunc(slices_[i], copies[i], func(a, b Entry) bool { return a.Index == b.Index && a.Term == b.Term }) {
			t.Fatalf("slice %d changed from %v to %v", i, copies[i], slices_[i])
		}
	}
}

// Goal: a slice keeps to its limit in bytes, but has one entry at least; bytes
// counts what is behind an index.
// Method: entries of rising sizes, every range and some limits.
func TestLog_SlicesKeepToTheirLimit(t *testing.T) {
	l := termsLog(Snapshot{})
	for i := range uint64(8) {
		l.append(Entry{Index: i + 1, Term: 1, Data: make([]byte, i*10)})
	}
	for from := uint64(1); from <= 9; from++ {
		total := 0
		for _, e := range l.entries[from-1:] {
			total += e.size()
		}
		if got := l.bytes(from); got != total {
			t.Fatalf("bytes(%d) is %d, want %d", from, got, total)
		}
		for to := uint64(0); to <= 12; to++ {
			for _, limit := range []int{1, 16, 60, 150, unlimited} {
				want := 0
				for size := 0; from+uint64(want) <= min(to, 8); want++ {
					if size += l.entries[from-1+uint64(want)].size(); size > limit && want > 0 {
						break
					}
				}
				got := l.slice(from, to, limit)
				if len(got) != want || want > 0 && got[0].Index != from {
					t.Fatalf("slice(%d, %d, %d) has %d entries, want %d", from, to, limit, len(got), want)
				}
			}
		}
	}
}

// Goal: the size of any part of a log is that of its entries, however the log came to be,
// and of a long one it takes no walk. Method: random appends, truncations and forgetting;
// after each the sizes of random parts against a sum over the entries, and all of check.
func TestLog_KnowsTheSizeOfItsParts(t *testing.T) {
	chance := rand.New(rand.NewPCG(7, 6))
	l := termsLog(Snapshot{})
	for range 2000 {
		switch last := l.lastIndex(); chance.IntN(8) {
		case 0:
			if last > l.base.Index {
				l.truncate(last - chance.Uint64N(min(last-l.base.Index, 3*sumEvery)))
			}
		case 1:
			l.forget(l.firstIndex() + chance.Uint64N(min(last+1-l.base.Index, 2*sumEvery)))
		default:
			for range chance.IntN(sumEvery) {
				l.append(Entry{Index: l.lastIndex() + 1, Term: 1, Data: make([]byte, chance.IntN(50))})
			}
		}
		if err := l.check(); err != nil {
			t.Fatal(err)
		}
		from := l.base.Index + chance.Uint64N(l.lastIndex()-l.base.Index+2)
		to := from + chance.Uint64N(4*sumEvery)
		want := 0
		for _, e := range l.entries {
			if from <= e.Index && e.Index <= to {
				want += e.size()
			}
		}
		if got := l.sizeOf(from, to); got != want {
			t.Fatalf("entries %d to %d of (%d, %d] have %d bytes, and %d were counted", from, to, l.base.Index, l.lastIndex(), want, got)
		}
	}
}

// Goal: what cannot come about by the rules is stopped at the log itself.
// Method: a gap, a term that falls, a truncation outside, a slice of what was
// forgotten.
func TestLog_StopsAtTheImpossible(t *testing.T) {
	for name, do := range map[string]func(*log){
		"gap":                        func(l *log) { l.append(Entry{Index: 9, Term: 2}) },
		"term that falls":            func(l *log) { l.append(Entry{Index: 8, Term: 1}) },
		"truncation before the base": func(l *log) { l.truncate(5) },
		"truncation behind the end":  func(l *log) { l.truncate(8) },
		"slice of forgotten entries": func(l *log) { l.slice(5, 7, unlimited) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: nothing stopped it", name)
				}
			}()
			do(termsLog(Snapshot{Index: 5, Term: 1}, 2, 2))
		}()
	}
}
