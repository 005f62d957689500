package levels

import "testing"

// Goal: a program is given one of the levels that it has formats of, and without a word
// the released one. Method: every number around the ends.
func TestOf_TakesOnlyLevelsOfThisProgram(t *testing.T) {
	for highest, want := range map[uint32]uint32{0: Released, 1: 0, 2: 2, 3: 3, 4: 0} {
		r, err := Of(highest)
		if (err == nil) != (want != 0) || r.Max != want || want != 0 && r.Min != Min {
			t.Errorf("%d gives %v (%v), want at most %d", highest, r, err, want)
		}
	}
}

// Goal: a program works at the levels of its range, the ends included, and at no other.
// Method: a range and the levels around it.
func TestRange_KnowsItsLevels(t *testing.T) {
	r := Range{2, 3}
	for level, want := range map[uint32]bool{0: false, 1: false, 2: true, 3: true, 4: false} {
		if r.Knows(level) != want {
			t.Errorf("level %d: %v", level, !want)
		}
	}
	for r, want := range map[Range]bool{{}: false, {0, 3}: false, {3, 2}: false, {2, 2}: true} {
		if r.Valid() != want {
			t.Errorf("%v is valid: %v", r, !want)
		}
	}
}
