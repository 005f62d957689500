package raft_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"raftkv/tests/lab"
)

// scenario is one test of the courses, whatever its number. Its body says by
// which rules it fails; everything else is the cluster's.
type scenario struct {
	text    string // as the courses print it
	options lab.Options
	body    func(c *lab.Cluster)
}

// run runs a scenario under a number: "2A", "3A", or "" for the 2016 edition.
func run(t *testing.T, s scenario, number string) {
	t.Helper()
	lab.InTime(t, func(t *testing.T) {
		title := lab.Title{Numbering: number, Text: s.text, Unreliable: s.options.Unreliable}
		title.Print()
		c := lab.NewCluster(t, s.options)
		s.body(c)
		c.Passed(title)
	})
}

// TestMain lets every scenario run under one of its names at most.
func TestMain(m *testing.M) {
	flag.Parse()
	skip := flag.Lookup("test.skip")
	if skip.Value.String() == "" {
		pattern := flag.Lookup("test.run").Value.String()
		if err := skip.Value.Set(otherNumberings(pattern)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// The names of each numbering. Those of 2016 have no suffix.
var numberings = map[string]string{
	"2":    `^Test\w+2[ABCD]$`,
	"3":    `^Test\w+3[ABCD]$`,
	"2016": `^Test(InitialElection|ReElection|BasicAgree|FailAgree|FailNoAgree|ConcurrentStarts|Rejoin|Backup|Count|Persist1|Persist2|Persist3|Figure8|UnreliableAgree|Figure8Unreliable|ReliableChurn|UnreliableChurn)$`,
}

// otherNumberings returns a pattern of the names that a run with -run=pattern
// leaves out. A pattern that names parts (2A, 3C) means that numbering. One
// that names no part but tests of 2016 (Election, Figure8) means those, unless
// it fits them all. Everything else, no pattern included, means 2A to 2D.
func otherNumberings(pattern string) string {
	asked := map[string]bool{
		"2": regexp.MustCompile(`2([ABCD]|\[)`).MatchString(pattern),
		"3": regexp.MustCompile(`3([ABCD]|\[)`).MatchString(pattern),
	}
	if !asked["2"] && !asked["3"] {
		if means2016(pattern) {
			asked["2016"] = true
		} else {
			asked["2"] = true
		}
	}
	left := []string{}
	for _, n := range []string{"2", "3", "2016"} {
		if !asked[n] {
			left = append(left, numberings[n])
		}
	}
	return strings.Join(left, "|")
}

// means2016 reports whether a pattern fits some but not all names of 2016.
func means2016(pattern string) bool {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return false // the testing package will say so
	}
	names := strings.TrimSuffix(strings.TrimPrefix(numberings["2016"], "^Test("), ")$")
	fits, all := 0, strings.Split(names, "|")
	for _, name := range all {
		if re.MatchString("Test" + name) {
			fits++
		}
	}
	return fits > 0 && fits < len(all)
}
