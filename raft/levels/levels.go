// Package levels numbers the formats that a cluster may use.
//
// A cluster works at one level. The level stands in the record of its members
// (raft/members), it rises when every member has shown that it knows the next one, and
// it never falls. Nothing of a higher level is written or sent before. A build works
// at the levels from Min to the one that it is given as its highest: Released, unless a
// test asks for more.
//
// Level 2 is that of the first release. Level 3 adds the record of members, with
// changes of the membership, a history of changes and what needs one, and identities.
package levels

import "fmt"

const (
	// Min is the lowest level at which this program can work.
	Min = 2
	// Newest is the highest level of which this program has any format.
	Newest = 3
	// Released is the highest level that this program says it knows. It is below Newest
	// while formats of the newest level are being made: a level means one thing, so no
	// released build may raise a cluster to half of one.
	Released = 3
	// Members is the first level with a record of members in the log.
	Members = 3
)

// Range is the levels at which a program works. The zero Range is not known.
type Range struct{ Min, Max uint32 }

// Of returns the levels of this program when it is given the highest one, 0 for
// Released. The error says that there is no such level.
func Of(highest uint32) (Range, error) {
	if highest == 0 {
		highest = Released
	}
	if highest < Min || highest > Newest {
		return Range{}, fmt.Errorf("levels: the highest level is %d: choose %d to %d", highest, Min, Newest)
	}
	return Range{Min, highest}, nil
}

// Knows reports whether a program with these levels can work at one.
func (r Range) Knows(level uint32) bool { return r.Min <= level && level <= r.Max }

// Valid reports whether these can be the levels of a program.
func (r Range) Valid() bool { return 0 < r.Min && r.Min <= r.Max }

// String writes the levels for people, as in "2 to 3".
func (r Range) String() string { return fmt.Sprintf("%d to %d", r.Min, r.Max) }
