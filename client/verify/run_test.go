package verify

import (
	"context"
	"errors"
	"testing"
)

// Goal: what the end of a run has ended is not reported as a failure of the cluster: a campaign
// that ends its load while a request hangs would blame that. Method: ends of requests before and
// after the run has given up.
func TestARequestThatTheRunGaveUpIsNotReported(t *testing.T) {
	var reported []string
	calls, giveUp := context.WithCancel(t.Context())
	d := &driver{calls: calls, history: newHistory(), config: &Config{Answered: func(a Answer) {
		reported = append(reported, a.Call+" "+a.Outcome)
		if (a.Err == nil) != (a.Outcome == Done) {
			t.Errorf("a %s is %s by the error %v", a.Call, a.Outcome, a.Err)
		}
	}}}
	why := errors.New("no server answers")
	d.answered("get", Failed, 0, why)
	d.answered("put", Unknown, 0, why)
	giveUp()
	d.answered("get", Failed, 0, why)
	d.answered("put", Unknown, 0, why)
	d.answered("append", Done, 0, nil)
	if want := []string{"get failed", "put unknown", "append done"}; len(reported) != 3 || reported[0] != want[0] || reported[1] != want[1] || reported[2] != want[2] {
		t.Errorf("reported are %q, not %q", reported, want)
	}
}
