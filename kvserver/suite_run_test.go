package kvserver_test

import (
	"fmt"
	"testing"
	"time"

	"raftkv/tests/lab"
)

// testLimit is how long one test of a course may take.
const testLimit = 120 * time.Second

// scenario is one test of the courses, whatever its number.
type scenario struct {
	text         string // as it is printed
	servers      int
	unreliable   bool
	maxRaftState int // bytes; -1: no snapshots
	body         func(c *cluster)
}

// run runs a scenario as part "3A" or another. Every history is checked, also
// where the courses check none.
func run(t *testing.T, s scenario, part string) {
	t.Helper()
	lab.Wanted(t)
	history := &lab.History{}
	line := ""
	var trace *lab.Trace
	t.Cleanup(func() { trace.Print(t) }) // after the history was checked
	lab.InTime(t, func(t *testing.T) {
		fmt.Printf("Test: %s (%s) ...\n", s.text, part)
		trace = lab.NewTrace(s.servers)
		c := newCluster(t, s, history, trace)
		s.body(c)
		c.checkSizes()
		took := time.Since(c.began)
		if took > testLimit {
			t.Fatalf("the test took %v, longer than %v", took.Round(time.Second), testLimit)
		}
		line = fmt.Sprintf("  ... Passed --  %4.1f  %d %5d %4d", took.Seconds(), s.servers, c.wires.GetTotalCount(), c.calls.Load())
		t.Logf("largest state of Raft ever %d bytes, largest snapshot at the end %d bytes", c.peakBytes(), c.snapshotBytes())
	})
	if t.Failed() {
		return
	}
	history.Check(t)
	if !t.Failed() {
		fmt.Println(line)
	}
}
