package lab

import (
	"fmt"
	"strings"
	"time"
)

// testLimit is how long one test of a course may take.
const testLimit = 120 * time.Second

// Title is what a test's lines say of it.
type Title struct {
	Numbering  string // "2A", "3A" and so on; "" in the 2016 edition
	Text       string // "initial election"
	Unreliable bool   // the scenario's network
}

// Print prints the header.
func (h Title) Print() {
	switch {
	case h.Numbering == "":
		fmt.Printf("Test: %s ...\n", h.Text)
	case h.perEdition2025():
		fmt.Printf("Test (%s): %s (%s network)...\n", h.Numbering, h.Text, map[bool]string{false: "reliable", true: "unreliable"}[h.Unreliable])
	default:
		fmt.Printf("Test (%s): %s ...\n", h.Numbering, h.Text)
	}
}

// perEdition2025 reports whether lines are to look like those of 2025 and
// later, which count from 3A.
func (h Title) perEdition2025() bool { return strings.HasPrefix(h.Numbering, "3") }

// Passed ends a scenario: it prints the success line, unless the test took too
// long or something is wrong.
func (c *Cluster) Passed(h Title) {
	c.t.Helper()
	c.check()
	took := time.Since(c.began)
	if took > testLimit {
		c.Fatalf("the test took %v, longer than %v", took.Round(time.Second), testLimit)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rpcs, bytes := c.wires.GetTotalCount(), c.wires.GetTotalBytes()
	switch {
	case h.Numbering == "":
		fmt.Printf("  ... Passed\n")
	case h.perEdition2025():
		fmt.Printf("  ... Passed --  time %4.1fs #peers %d #RPCs %5d #Ops %4d\n", took.Seconds(), c.Servers(), rpcs, c.agreements)
	default:
		fmt.Printf("  ... Passed -- %5.1f %2d %4d %7d %4d\n", took.Seconds(), c.Servers(), rpcs, bytes, len(c.chosen))
	}
}
