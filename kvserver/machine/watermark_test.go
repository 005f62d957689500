package machine

import (
	"runtime"
	"testing"

	"raftkv/kvserver/internal/fakelog"
)

// Goal: an index counts as applied only once the store has it.
// Method: keep the applier out of the store by its lock; it must not report
// progress while it waits there.
func TestProgressIsReportedAfterTheStoreChanged(t *testing.T) {
	m, log := newMachine(t, nil)
	for i := range uint64(50) {
		func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			log.Deliver(fakelog.PutCommand("k", "v"))
			for n := 0; n < 1000 || len(log.ApplyCh) > 0; n++ {
				runtime.Gosched()
				if m.applied.reached(i+1) == nil {
					t.Fatalf("index %d is said to be applied and cannot be yet", i+1)
				}
			}
		}()
		if err := m.applied.wait(t.Context(), i+1); err != nil {
			t.Fatal(err)
		}
	}
}

// Goal: whoever hears that an index is applied sees its revision (W6: a bookmark that was
// confirmed behind an index stands no earlier than what was written there).
// Method: keep the applier from the revision by its lock; the index must not count as
// applied while it waits there.
func TestTheRevisionIsThereBeforeTheIndex(t *testing.T) {
	m, log := newMachine(t, nil)
	for i := range uint64(50) {
		func() {
			m.revision.mu.Lock()
			defer m.revision.mu.Unlock()
			log.Deliver(fakelog.PutCommand("k", "v"))
			for n := 0; n < 1000 || len(log.ApplyCh) > 0; n++ {
				runtime.Gosched()
				if m.applied.reached(i+1) == nil {
					t.Fatalf("index %d is said to be applied, and its revision is not there yet", i+1)
				}
			}
		}()
		if err := m.applied.wait(t.Context(), i+1); err != nil {
			t.Fatal(err)
		}
	}
}
