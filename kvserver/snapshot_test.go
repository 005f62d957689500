package kvserver

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// snapshotOf is a snapshot message with the state after these puts of k.
func snapshotOf(t *testing.T, values ...string) raft.ApplyMsg {
	t.Helper()
	store := kv.New()
	for i, v := range values {
		store.Apply(uint64(i+1), putCommand("k", v))
	}
	var b bytes.Buffer
	if _, err := store.Freeze().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return raft.ApplyMsg{SnapshotValid: true, Snapshot: b.Bytes(), SnapshotTerm: 1, SnapshotIndex: len(values)}
}

// deliverSnapshot delivers a snapshot message as consensus does, which keeps the
// state itself; the log goes on behind it.
func (f *fakeLog) deliverSnapshot(msg raft.ApplyMsg) {
	f.put(uint64(msg.SnapshotIndex), msg.Snapshot)
	f.deliverLostSnapshot(msg)
}

// deliverLostSnapshot delivers a snapshot message whose state is gone already.
func (f *fakeLog) deliverLostSnapshot(msg raft.ApplyMsg) {
	msg.Snapshot = nil
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.LastIndex = max(f.status.LastIndex, uint64(msg.SnapshotIndex))
	f.applyCh <- msg
}

// Goal: a snapshot takes the place of the store, and the log goes on behind it.
// Method: a snapshot between two writes, in one batch with commands around it;
// reads by index must see it, too.
func TestASnapshotReplacesTheStore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		wantStatus(t, ask(s, "PUT", "/v1/kv/mine", "1"), 201)
		s.mu.Lock() // so that what follows comes as one batch
		log.deliver(putCommand("k", "old"))
		log.deliverSnapshot(snapshotOf(t, "a", "b", "c", "d", "e"))
		log.deliver(putCommand("after", "f"))
		s.mu.Unlock()
		wantStatus(t, ask(s, "GET", "/v1/kv/after", ""), 200)
		if got := stored(s, "k"); got != "e" || stored(s, "mine") != "(none)" || s.store.AppliedIndex() != 6 {
			t.Errorf("k is %q, mine is %q, applied %d", got, stored(s, "mine"), s.store.AppliedIndex())
		}
		wantStatus(t, ask(s, "PUT", "/v1/kv/mine", "2"), 201)
	})
}

// Goal: a snapshot of what the store has already never takes it back. Method: an
// old snapshot and one of this very index, after writes and before another.
func TestAnOldSnapshotChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		for _, v := range []string{"1", "2", "3"} {
			ask(s, "PUT", "/v1/kv/k", v)
		}
		before := stateOf(s)
		log.deliverSnapshot(snapshotOf(t, "a"))
		log.deliverSnapshot(snapshotOf(t, "a", "b", "c"))
		synctest.Wait()
		if stateOf(s) != before || stored(s, "k") != "3" {
			t.Errorf("an old snapshot changed the store: k is %q, applied %d", stored(s, "k"), s.store.AppliedIndex())
		}
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "4"), 200)
	})
}

// Goal: a snapshot that was delivered and cannot be read ends the node with an
// error that says so: the log begins behind it, and a state without it would be
// wrong. Nothing is served as if it were there.
// Method: a damaged one, one that is gone, one whose state is of another index.
func TestASnapshotThatCannotBeReadEndsTheNode(t *testing.T) {
	for name, state := range map[string][]byte{
		"damaged": snapshotOf(t, "a", "b").Snapshot[:20],
		"gone":    nil,
	} {
		inBubble(t, func(t *testing.T) {
			s, log := newServer(t, nil)
			ask(s, "PUT", "/v1/kv/k", "mine")
			log.deliverSnapshot(raft.ApplyMsg{SnapshotValid: true, SnapshotIndex: 5, Snapshot: state})
			if state == nil {
				log.change(func(f *fakeSnapshots) { delete(f.written, 5) })
			}
			synctest.Wait()
			if err := log.failed(); err == nil || !strings.Contains(err.Error(), "the snapshot at index 5") {
				t.Fatalf("%s: the node was ended with %v", name, err)
			}
			if stored(s, "k") != "mine" || !s.stopping() {
				t.Fatalf("%s: k is %q, stopping %v", name, stored(s, "k"), s.stopping())
			}
			wantProblem(t, ask(s, "PUT", "/v1/kv/k", "next"), 503, api.CodeStopping, api.OutcomeNotApplied)
		})
	}
}

// Goal: a snapshot that a newer one has replaced before it could be installed
// harms nobody: the newer one is what comes next.
// Method: the older one is gone and its place compacted when it is delivered.
func TestASnapshotThatWasReplacedIsSkipped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		ask(s, "PUT", "/v1/kv/k", "mine")
		s.mu.Lock()
		log.deliverSnapshot(snapshotOf(t, "a", "b", "c"))
		newer := snapshotOf(t, "a", "b", "c", "d", "e")
		log.change(func(f *fakeSnapshots) {
			delete(f.written, 3)
			f.first = 5
		})
		s.mu.Unlock()
		synctest.Wait()
		if log.failed() != nil || stored(s, "k") != "mine" || s.store.AppliedIndex() != 1 {
			t.Fatalf("the node was ended with %v; k is %q", log.failed(), stored(s, "k"))
		}
		log.deliverSnapshot(newer)
		synctest.Wait()
		if stored(s, "k") != "e" || s.store.AppliedIndex() != 5 {
			t.Fatalf("k is %q at %d", stored(s, "k"), s.store.AppliedIndex())
		}
	})
}

// Goal: the log that an installed snapshot stands for is no reason to take one.
// Method: an installation with a long log before it, then one write.
func TestAnInstalledSnapshotCountsAsOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *Config) { c.SnapshotBytes = 1000 })
		ask(s, "PUT", "/v1/kv/k", strings.Repeat("v", 900))
		log.deliverSnapshot(snapshotOf(t, "a", "b", "c"))
		synctest.Wait()
		ask(s, "PUT", "/v1/kv/k", strings.Repeat("v", 500))
		synctest.Wait()
		if at := log.snapshots(); len(at) != 1 || at[0] != 3 {
			t.Fatalf("snapshots at %v, want the installed one alone", at)
		}
		ask(s, "PUT", "/v1/kv/k", strings.Repeat("v", 500))
		synctest.Wait()
		if at := log.snapshots(); len(at) != 2 || at[1] != 5 {
			t.Fatalf("snapshots at %v, want one more at 5", at)
		}
	})
}
