package kvserver

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/raft"
)

// Goal: what was delivered behind a snapshot that is gone is passed over up to
// the next snapshot, for it builds on a state that the store never had. Writes of
// this node among it end as unknown, and the next snapshot and what follows it
// are applied. Method: snapshots of which the first, or the first two, are gone,
// with commands and empty entries behind each, in one batch and in several.
func TestWhatFollowsASnapshotThatIsGoneIsPassedOver(t *testing.T) {
	for _, gone := range []int{1, 2} {
		for _, oneBatch := range []bool{true, false} {
			inBubble(t, func(t *testing.T) {
				s, log := newServer(t, nil)
				held := log.held()
				lost := later(func() answer { return ask(s, "PUT", "/v1/kv/own", "1") })
				own := <-held
				s.mu.Lock()
				states := []string{"a", "b"}
				for range gone {
					msg := snapshotOf(t, states...)
					log.change(func(f *fakeSnapshots) { f.first = uint64(msg.SnapshotIndex) + 1 })
					log.deliverLostSnapshot(msg)
					log.deliver(putCommand("behind", "1"))
					log.deliver(nil)
					if own != nil {
						log.deliver(own.Command)
						own = nil
					}
					if !oneBatch {
						s.mu.Unlock()
						synctest.Wait()
						s.mu.Lock()
					}
					states = append(states, "c", "d", "e", "f", "g")
				}
				s.mu.Unlock()
				synctest.Wait()
				if log.failed() != nil || s.store.AppliedIndex() != 0 || stored(s, "behind") != "(none)" {
					t.Fatalf("%d gone: the node was ended with %v, the store stands at %d", gone, log.failed(), s.store.AppliedIndex())
				}
				wantProblem(t, <-lost, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
				log.deliverSnapshot(snapshotOf(t, states...))
				log.deliver(putCommand("after", "1"))
				synctest.Wait()
				if want := uint64(len(states) + 1); log.failed() != nil || s.store.AppliedIndex() != want || stored(s, "after") != "1" {
					t.Fatalf("%d gone: ended with %v, the store stands at %d, want %d", gone, log.failed(), s.store.AppliedIndex(), want)
				}
			})
		}
	}
}

// Goal: a snapshot holds the state that its index says, however far consensus is
// ahead of the store. Method: a full channel, consensus that believes all of it to
// be applied, and a snapshot due after the applier's first batch; three times.
// Every snapshot stands where it says. A state under another index's name is
// refused when it is written.
func TestASnapshotIsOfWhatWasAppliedAndNotOfWhatWasDelivered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *Config) { c.SnapshotBytes = 2000 })
		early := 0
		for range 3 {
			s.mu.Lock()
			for i := range cap(log.applyCh) {
				log.deliver(putCommand(fmt.Sprint("k", i%50), strings.Repeat("v", 10)))
			}
			log.set(func(status *raft.Status) { status.LastApplied = status.LastIndex })
			s.mu.Unlock()
			synctest.Wait()
			for _, index := range log.snapshots() {
				if index < log.Status().LastApplied {
					early++
				}
			}
			time.Sleep(2 * snapshotPoll)
		}
		at := log.snapshots()
		if len(at) < 3 || early < 3 {
			t.Fatalf("snapshots at %v, %d of them before all was applied", at, early)
		}
		for _, index := range at {
			if store := restored(t, log, index); store.AppliedIndex() != index {
				t.Errorf("the snapshot at %d holds the state at %d", index, store.AppliedIndex())
			}
		}
		view := s.freeze()
		for _, index := range []uint64{view.AppliedIndex() - 1, view.AppliedIndex() + 1, 0} {
			var b bytes.Buffer
			if !didPanic(func() { _ = writeState(&b, view, index) }) || b.Len() > 0 {
				t.Errorf("the state at %d was written as the one at %d", view.AppliedIndex(), index)
			}
		}
		if err := writeState(new(bytes.Buffer), view, view.AppliedIndex()); err != nil {
			t.Error(err)
		}
	})
}

func didPanic(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}
