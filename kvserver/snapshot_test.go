package kvserver

import (
	"bytes"
	"testing"
	"testing/synctest"

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

// deliverSnapshot delivers a snapshot message; the log goes on behind it.
func (f *fakeLog) deliverSnapshot(msg raft.ApplyMsg) {
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
