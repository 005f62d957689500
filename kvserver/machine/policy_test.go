package machine

import "testing"

// Goal: a start applies a log for no longer than it loads the state before it, and
// a log shorter than the least is left alone.
// Method: for each state the last log that is too short, and the first that is long
// enough, in numbers.
func TestWhenASnapshotIsDue(t *testing.T) {
	const minBytes = 64 << 20
	puts := func(n, length int64) extent { return extent{n, n * length} }
	for _, c := range []struct {
		name      string
		last      extent
		not, once extent
	}{
		{"nothing yet", extent{}, extent{1, minBytes - 1}, extent{1, minBytes}},
		{"a small state", puts(1000, 272), puts(1000, 312), extent{1, minBytes}},
		{"a million keys of 256 bytes: 1.272 s", puts(1_000_000, 272), puts(550_000, 312), puts(550_200, 312)},
		{"as many, overwritten by appends of a byte", puts(1_000_000, 272), extent{600_000, minBytes}, extent{602_500, minBytes}},
		{"large values: 665.5 ms", puts(10_000, 65_552), puts(9_840, 65_600), puts(9_850, 65_600)},
	} {
		if snapshotDue(c.not, c.last, minBytes) {
			t.Errorf("%s: one is due after the log %+v", c.name, c.not)
		}
		if !snapshotDue(c.once, c.last, minBytes) {
			t.Errorf("%s: none is due after the log %+v", c.name, c.once)
		}
	}
}
