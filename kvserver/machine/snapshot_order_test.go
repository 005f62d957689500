package machine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
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
				m, log := newMachine(t, nil)
				held := log.Held()
				lost := later(func() error { return put(m, "own", "1") })
				own := <-held
				m.mu.Lock()
				states := []string{"a", "b"}
				for range gone {
					msg := fakelog.SnapshotOf(states...)
					log.Change(func(f *fakelog.Snapshots) { f.First = uint64(msg.SnapshotIndex) + 1 })
					log.DeliverLostSnapshot(msg)
					log.Deliver(fakelog.PutCommand("behind", "1"))
					log.Deliver(nil)
					if own != nil {
						log.Deliver(own.Command)
						own = nil
					}
					if !oneBatch {
						m.mu.Unlock()
						synctest.Wait()
						m.mu.Lock()
					}
					states = append(states, "c", "d", "e", "f", "g")
				}
				m.mu.Unlock()
				synctest.Wait()
				if log.Failed() != nil || applied(m) != 0 || stored(m, "behind") != "(none)" {
					t.Fatalf("%d gone: the node was ended with %v, the store stands at %d", gone, log.Failed(), applied(m))
				}
				wantKind(t, <-lost, failure.LeadershipLost)
				log.DeliverSnapshot(fakelog.SnapshotOf(states...))
				log.Deliver(fakelog.PutCommand("after", "1"))
				synctest.Wait()
				if want := uint64(len(states) + 1); log.Failed() != nil || applied(m) != want || stored(m, "after") != "1" {
					t.Fatalf("%d gone: ended with %v, the store stands at %d, want %d", gone, log.Failed(), applied(m), want)
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
		m, log := newMachine(t, func(c *Config) { c.SnapshotBytes = 2000 })
		early := 0
		for range 3 {
			m.mu.Lock()
			for i := range cap(log.ApplyCh) {
				log.Deliver(fakelog.PutCommand(fmt.Sprint("k", i%50), strings.Repeat("v", 10)))
			}
			log.Set(func(status *raft.Status) { status.LastApplied = status.LastIndex })
			m.mu.Unlock()
			synctest.Wait()
			for _, index := range log.SnapshotsAt() {
				if index < log.Status().LastApplied {
					early++
				}
			}
			time.Sleep(2 * snapshotPause)
		}
		at := log.SnapshotsAt()
		if len(at) < 3 || early < 3 {
			t.Fatalf("snapshots at %v, %d of them before all was applied", at, early)
		}
		for _, index := range at {
			if store := restored(t, log, index); store.AppliedIndex() != index {
				t.Errorf("the snapshot at %d holds the state at %d", index, store.AppliedIndex())
			}
		}
		view := m.Freeze()
		for _, index := range []uint64{view.AppliedIndex() - 1, view.AppliedIndex() + 1, 0} {
			var b bytes.Buffer
			if !didPanic(func() { _ = WriteState(&b, view, index) }) || b.Len() > 0 {
				t.Errorf("the state at %d was written as the one at %d", view.AppliedIndex(), index)
			}
		}
		if err := WriteState(new(bytes.Buffer), view, view.AppliedIndex()); err != nil {
			t.Error(err)
		}
	})
}

func didPanic(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}
