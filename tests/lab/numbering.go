package lab

import (
	"flag"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Numberings are the ways in which a package's scenarios are named over the
// editions. A run takes one name of each scenario at most.
type Numberings []Numbering

// Numbering is one way of naming. Either Pattern is set or Names.
type Numbering struct {
	// Pattern is what the names end in: a digit and a class of letters, such as
	// 2[ABCD].
	Pattern string
	// Names are all names, without "Test", of an edition that has no parts.
	Names []string
}

// leftOut fits the names that this run leaves out.
var leftOut *regexp.Regexp

// OneNumbering makes this run leave out the numberings that it does not ask
// for; see others. Call it from TestMain, after flag.Parse. Only scenarios that
// ask Wanted are left out: tests of an edition's own files, which may stand
// in one folder with ours under the same names, always run.
func OneNumbering(all Numberings) {
	leftOut = regexp.MustCompile(all.others(flag.Lookup("test.run").Value.String()))
}

// Wanted ends the test, as skipped, if the scenario runs under another of its
// names.
func Wanted(t *testing.T) {
	t.Helper()
	if leftOut != nil && leftOut.MatchString(t.Name()) {
		t.Skip("this run has the scenario under another of its names; name the part in -run to choose")
	}
}

// others returns a pattern of the names that a run with -run=run leaves out. A
// run that names parts (2A, 3C) asks for that numbering. One that names no part
// but tests without parts (Election, Figure8) asks for those, unless it fits
// them all. Everything else, no pattern included, asks for the first numbering.
func (all Numberings) others(run string) string {
	asked := make([]bool, len(all))
	for i, n := range all {
		asked[i] = n.Pattern != "" && n.namedBy(run)
	}
	if !slices.Contains(asked, true) {
		for i, n := range all {
			asked[i] = n.Pattern == "" && n.fitsSome(run)
		}
	}
	if !slices.Contains(asked, true) {
		asked[0] = true
	}
	left := []string{}
	for i, n := range all {
		if !asked[i] {
			left = append(left, n.tests())
		}
	}
	return strings.Join(left, "|")
}

// namedBy reports whether a -run pattern names parts of the numbering: its
// digit before one of its letters, or before a class of letters.
func (n Numbering) namedBy(run string) bool {
	digit, letters, _ := strings.Cut(n.Pattern, "[")
	return regexp.MustCompile(digit + `([` + letters + `|\[)`).MatchString(run)
}

// fitsSome reports whether a -run pattern fits some but not all of the names.
func (n Numbering) fitsSome(run string) bool {
	re, err := regexp.Compile(run)
	if err != nil {
		return false // the testing package will say so
	}
	fits := 0
	for _, name := range n.Names {
		if re.MatchString("Test" + name) {
			fits++
		}
	}
	return fits > 0 && fits < len(n.Names)
}

// tests returns a pattern of the numbering's tests.
func (n Numbering) tests() string {
	if n.Pattern != "" {
		return `^Test\w+` + n.Pattern + `$`
	}
	return `^Test(` + strings.Join(n.Names, "|") + `)$`
}
