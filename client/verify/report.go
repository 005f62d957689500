package verify

import (
	"fmt"
	"sync"
)

// The verdicts on promises other than the order of calls. The third one is Undecided.
const (
	Kept   Verdict = "kept"
	Broken Verdict = "broken"
)

// Report says whether a cluster has kept some of its promises.
type Report struct {
	Verdict Verdict `json:"verdict"`
	// Faults are sentences about what was wrong, the first shownFaults of them; Found is
	// how many there are.
	Faults []string `json:"faults,omitempty"`
	Found  int      `json:"found"`
	// Missing says what kept the check from a verdict, if nothing was wrong.
	Missing string `json:"missing,omitempty"`
	// Counts say how much was tried, by names that explain themselves.
	Counts map[string]int `json:"counts"`
}

// shownFaults is how many faults are told.
const shownFaults = 10

// ledger collects what a Report says. It is safe for concurrent use.
type ledger struct {
	mu sync.Mutex
	r  Report
}

func newLedger() *ledger { return &ledger{r: Report{Counts: map[string]int{}}} }

// fault notes that something was wrong.
func (l *ledger) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r.Found++; l.r.Found <= shownFaults {
		l.r.Faults = append(l.r.Faults, fmt.Sprintf(format, args...))
	}
}

// missing notes what keeps the check from a verdict.
func (l *ledger) missing(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r.Missing = fmt.Sprintf(format, args...)
}

// whole reports whether nothing keeps the check from a verdict: what is not there is missing.
func (l *ledger) whole() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Missing == ""
}

// count adds to what was tried.
func (l *ledger) count(what string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r.Counts[what] += n
}

// most keeps the greatest of the numbers of something.
func (l *ledger) most(what string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r.Counts[what] = max(l.r.Counts[what], n)
}

// report returns the verdict. tried is the count without which there is none.
func (l *ledger) report(tried string) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.r
	if r.Missing == "" && r.Counts[tried] == 0 {
		r.Missing = "nothing was done: " + tried + " are 0"
	}
	switch r.Verdict = Kept; {
	case r.Found > 0:
		r.Verdict = Broken
	case r.Missing != "":
		r.Verdict = Undecided
	}
	return r
}
