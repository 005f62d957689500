package virtual

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestTimersThatRanOutDoNotEndTheRaceDetector lets many goroutines of one bubble
// look at timers that have run out. Without the limit of Time, a program that was
// built with the race detector ends here with SIGSEGV in __tsan::SlotLock.
func TestTimersThatRanOutDoNotEndTheRaceDetector(t *testing.T) {
	for range 20 {
		Time(t, func(t *testing.T) {
			var looking sync.WaitGroup
			for range 16 {
				looking.Go(func() {
					for range 2000 {
						select {
						case <-time.NewTimer(0).C:
						default:
							t.Error("a timer of no time at all has not run out")
						}
					}
				})
			}
			looking.Wait()
		})
	}
}

// TestTheProcessorsComeBackAfterTheLastBubble opens two bubbles, one in the other's
// time, and ends the one that began first.
func TestTheProcessorsComeBackAfterTheLastBubble(t *testing.T) {
	before := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(before)
	var p processors
	p.enter()
	p.enter()
	p.leave()
	if got := runtime.GOMAXPROCS(0); got != 1 {
		t.Errorf("with one of two bubbles left, the program has %d processors, want 1", got)
	}
	p.leave()
	if got := runtime.GOMAXPROCS(0); got != 3 {
		t.Errorf("after the last bubble the program has %d processors, want 3 as before", got)
	}
}
