package machine

import (
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/kvserver/internal/fakelog"
	"raftkv/raft"
)

// Goal: a snapshot takes the place of the store, and the log goes on behind it.
// Method: a snapshot between two writes, in one batch with commands around it;
// reads by index must see it, too.
func TestASnapshotReplacesTheStore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, nil)
		mustPut(t, m, "mine", "1")
		m.mu.Lock() // so that what follows comes as one batch
		log.Deliver(fakelog.PutCommand("k", "old"))
		log.DeliverSnapshot(fakelog.SnapshotOf("a", "b", "c", "d", "e"))
		log.Deliver(fakelog.PutCommand("after", "f"))
		m.mu.Unlock()
		synctest.Wait()
		if got := stored(m, "k"); got != "e" || stored(m, "mine") != "(none)" || applied(m) != 6 {
			t.Errorf("k is %q, mine is %q, applied %d", got, stored(m, "mine"), applied(m))
		}
		mustPut(t, m, "mine", "2")
	})
}

// Goal: a snapshot of what the store has already never takes it back. Method: an
// old snapshot and one of this very index, after writes and before another.
func TestAnOldSnapshotChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, nil)
		for _, v := range []string{"1", "2", "3"} {
			mustPut(t, m, "k", v)
		}
		before := stateOf(m)
		log.DeliverSnapshot(fakelog.SnapshotOf("a"))
		log.DeliverSnapshot(fakelog.SnapshotOf("a", "b", "c"))
		synctest.Wait()
		if stateOf(m) != before || stored(m, "k") != "3" {
			t.Errorf("an old snapshot changed the store: k is %q, applied %d", stored(m, "k"), applied(m))
		}
		mustPut(t, m, "k", "4")
	})
}

// Goal: a snapshot that was delivered and cannot be read ends the node with an
// error that says so: the log begins behind it, and a state without it would be
// wrong. Nothing is served as if it were there.
// Method: a damaged one, one that is gone, one whose state is of another index.
func TestASnapshotThatCannotBeReadEndsTheNode(t *testing.T) {
	for name, state := range map[string][]byte{
		"damaged": fakelog.SnapshotOf("a", "b").Snapshot[:20],
		"gone":    nil,
	} {
		inBubble(t, func(t *testing.T) {
			m, log := newMachine(t, nil)
			mustPut(t, m, "k", "mine")
			log.DeliverSnapshot(raft.ApplyMsg{SnapshotValid: true, SnapshotIndex: 5, Snapshot: state})
			if state == nil {
				log.Change(func(f *fakelog.Snapshots) { delete(f.Written, 5) })
			}
			synctest.Wait()
			if err := log.Failed(); err == nil || !strings.Contains(err.Error(), "the snapshot at index 5") {
				t.Fatalf("%s: the node was ended with %v", name, err)
			}
			if stored(m, "k") != "mine" || !m.Stopping() {
				t.Fatalf("%s: k is %q, stopping %v", name, stored(m, "k"), m.Stopping())
			}
		})
	}
}

// Goal: a snapshot that a newer one has replaced before it could be installed
// harms nobody: the newer one is what comes next.
// Method: the older one is gone and its place compacted when it is delivered.
func TestASnapshotThatWasReplacedIsSkipped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, nil)
		mustPut(t, m, "k", "mine")
		newer := fakelog.SnapshotOf("a", "b", "c", "d", "e")
		log.Change(func(f *fakelog.Snapshots) { f.First = 5 })
		log.DeliverLostSnapshot(fakelog.SnapshotOf("a", "b", "c"))
		synctest.Wait()
		if log.Failed() != nil || stored(m, "k") != "mine" || applied(m) != 1 {
			t.Fatalf("the node was ended with %v; k is %q", log.Failed(), stored(m, "k"))
		}
		log.DeliverSnapshot(newer)
		synctest.Wait()
		if stored(m, "k") != "e" || applied(m) != 5 {
			t.Fatalf("k is %q at %d", stored(m, "k"), applied(m))
		}
	})
}

// Goal: the log that an installed snapshot stands for is no reason to take one.
// Method: an installation with a long log before it, then one write.
func TestAnInstalledSnapshotCountsAsOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, func(c *Config) { c.SnapshotBytes = 1000 })
		mustPut(t, m, "k", strings.Repeat("v", 900))
		log.DeliverSnapshot(fakelog.SnapshotOf("a", "b", "c"))
		synctest.Wait()
		mustPut(t, m, "k", strings.Repeat("v", 500))
		synctest.Wait()
		if at := log.SnapshotsAt(); len(at) != 1 || at[0] != 3 {
			t.Fatalf("snapshots at %v, want the installed one alone", at)
		}
		mustPut(t, m, "k", strings.Repeat("v", 500))
		synctest.Wait()
		if at := log.SnapshotsAt(); len(at) != 2 || at[1] != 5 {
			t.Fatalf("snapshots at %v, want one more at 5", at)
		}
	})
}
