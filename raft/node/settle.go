package node

import (
	"fmt"
	"time"
)

// settleAfter is how long a storage rests before Settle is called. Under load the
// next write comes within a few milliseconds of the one before, and what Settle
// would have done is void then: one system call of three per write.
const settleAfter = 10 * time.Millisecond

// Settler is a Storage that has something to do behind its last write, which need
// not be durable and which nobody need wait for.
type Settler interface {
	// Settle is called by the goroutine that calls Save, settleAfter its last Save if
	// there was no other one since. An error ends the node.
	Settle() error
}

// rest calls Settle of a storage that rests.
type rest struct {
	settler Settler // nil if the storage is none
	timer   *time.Timer
}

func newRest(s Storage) *rest {
	r := &rest{timer: time.NewTimer(settleAfter)}
	r.timer.Stop()
	r.settler, _ = s.(Settler)
	return r
}

// begin is called behind each write.
func (r *rest) begin() {
	if r.settler != nil {
		r.timer.Reset(settleAfter)
	}
}

// settle is called when the timer fires.
func (r *rest) settle() error {
	if err := r.settler.Settle(); err != nil {
		return fmt.Errorf("settling the storage: %w", err)
	}
	return nil
}
