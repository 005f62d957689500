// Package virtual runs tests in virtual time, in a bubble of testing/synctest.
package virtual

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// Time runs body in a bubble, whose clock goes on when every goroutine in it
// waits. It is synctest.Test, which every test must call through it: tests/arch
// looks.
//
// With the race detector one goroutine runs at a time as long as there is a
// bubble. Go up to 1.26 keeps one state of the detector for all timers of a
// bubble, and two goroutines that look at channels of timers which have run out
// use it at the same time. The detector then reads through a nil pointer, and the
// whole test program ends. What the detector finds does not depend on two
// goroutines running at the same moment.
func Time(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if raceDetector {
		defer alone.enter().leave()
	}
	synctest.Test(t, body)
}

// alone counts the bubbles of this program.
var alone processors

// processors limits the program to one processor while it has a bubble. It is safe
// for concurrent use.
type processors struct {
	mu      sync.Mutex
	bubbles int // guarded by mu
	before  int // GOMAXPROCS without a bubble; guarded by mu
}

// enter says that a bubble begins.
func (p *processors) enter() *processors {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bubbles++; p.bubbles == 1 {
		p.before = runtime.GOMAXPROCS(1)
	}
	return p
}

// leave says that a bubble has ended.
func (p *processors) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bubbles--; p.bubbles == 0 {
		runtime.GOMAXPROCS(p.before)
	}
}
