package asleep

import (
	"testing"
	"time"
)

// Goal: what the system says of sleep does not run while the machine is awake. Method:
// many readings, between which nothing sleeps.
func TestTotalStandsStillWhileAwake(t *testing.T) {
	first := Total()
	for range 1000 {
		if d := Total() - first; first < 0 || d > time.Second || d < -time.Second {
			t.Fatalf("the machine has slept %v, and then %v more", first, d)
		}
	}
}
