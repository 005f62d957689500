package lease

import "testing"

// Goal (L2, L11 of an idle cluster): ticks come every 500 ms while something can end and
// the node leads, one at a time, at once after one that left work and at the beginning
// of a tenure, and never else.
// Method: a story in virtual time.
func TestThePacerDecidesWhenATickIsDue(t *testing.T) {
	var p Pacer
	look := func(now uint64, leads, canEnd, want bool, wantAgain uint64) {
		t.Helper()
		propose, again := p.Look(now, leads, canEnd)
		if propose != want || again != wantAgain {
			t.Errorf("at %d (leads %t, can end %t): %t, again in %d; want %t, %d", now, leads, canEnd, propose, again, want, wantAgain)
		}
	}
	look(10, false, true, false, 100)
	look(20, true, false, false, 100)
	look(100, true, true, true, 0) // something came that can end
	look(101, true, true, false, 500)
	look(5000, true, true, false, 500) // it is still in flight
	p.Ended(false)
	look(5001, true, true, true, 0)
	p.Ended(true)
	look(5002, true, true, true, 0) // work was left
	p.Ended(false)
	look(5003, true, true, false, 499)
	look(5501, true, true, false, 1)
	look(5502, true, true, true, 0)
	p.Ended(true)
	look(5503, false, true, false, 100) // deposed: what was left is the next leader's
	look(5504, true, true, true, 0)     // and elected again
	p.Ended(false)
	look(5505, true, true, false, 499)
}
