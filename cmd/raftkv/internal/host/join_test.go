package host

import (
	"errors"
	"testing"
	"time"

	"raftkv/kvserver/api"
)

// Goal: a server that is to take the place of a voter which is alive does not ask for ever: it
// would get in when the voter is started anew weeks later. Method: the answers of two minutes,
// with other failures between them.
func TestAServerDoesNotWaitForEverForAVoterToDie(t *testing.T) {
	alive, other := refused("n3 answers", api.CodePreconditionFailed), errors.New("connection refused")
	begun := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		timeout, gaveUp time.Duration
	}{"short timeouts": {300 * time.Millisecond, 30 * time.Second}, "long ones": {2 * time.Second, time.Minute}} {
		var vain askedInVain
		for after := time.Duration(0); after <= 2*time.Minute; after += time.Second {
			answer := alive
			if after%(7*time.Second) == 3*time.Second {
				answer = other
			}
			if got, want := vain.tooLong(answer, begun.Add(after), c.timeout), after >= c.gaveUp && answer == alive; got != want {
				t.Fatalf("%s: after %v it gives up: %v", name, after, got)
			}
		}
	}
}
