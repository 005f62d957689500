package machine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// Goal: what was noted of a state goes with it when another is installed, or a
// node that was wrong would be found wrong once more. Method: a snapshot behind a
// mark.
func TestMarksDoNotOutliveTheirState(t *testing.T) {
	m, log := newMachine(t, nil)
	for range markEvery {
		log.Deliver(fakelog.PutCommand("a", "1"))
	}
	if err := m.AwaitApplied(t.Context(), markEvery); err != nil {
		t.Fatal(err)
	}
	if _, _, known := m.DigestAt(markEvery); !known {
		t.Fatal("nothing was noted")
	}
	other := kv.New()
	for index := range uint64(markEvery + 1) {
		other.Apply(index+1, fakelog.PutCommand("a", "2"))
	}
	var state bytes.Buffer
	if _, err := other.WriteTo(&state); err != nil {
		t.Fatal(err)
	}
	log.Put(markEvery+1, state.Bytes())
	log.ApplyCh <- raft.ApplyMsg{SnapshotValid: true, SnapshotIndex: markEvery + 1, SnapshotTerm: 1}.Batch()
	if err := m.AwaitApplied(t.Context(), markEvery+1); err != nil {
		t.Fatal(err)
	}
	if digest, _, known := m.DigestAt(markEvery); known {
		t.Errorf("the digest at %d is still %s", markEvery, digest)
	}
	if digest, _, known := m.DigestAt(markEvery + 1); !known || digest != other.Digest() {
		t.Errorf("the digest at %d is %s, want %s", markEvery+1, digest, other.Digest())
	}
}

// Goal: a quarantined node makes no snapshot of what is wrong. Method: a log that is
// long enough for one, before and after the quarantine.
func TestAQuarantinedNodeTakesNoSnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, func(c *Config) { c.SnapshotBytes = 1000 })
		for range 2 {
			for range 100 {
				log.Deliver(fakelog.PutCommand("a", strings.Repeat("v", 100)))
				synctest.Wait()
			}
			if m.Fault() == "" && len(log.SnapshotsAt()) == 0 {
				t.Fatal("no snapshot, and no quarantine")
			}
			if m.Fault() != "" && len(log.SnapshotsAt()) > 0 {
				t.Fatalf("snapshots at %v", log.SnapshotsAt())
			}
			m.Quarantine("the test says so")
			log.Change(func(f *fakelog.Snapshots) { f.Written = nil })
		}
	})
}

// Goal: memory that was damaged is found without any other node. Method: flip a
// bit of a stored value and let the store be scrubbed.
func TestDamagedMemoryQuarantinesTheNode(t *testing.T) {
	m, log := newMachine(t, nil)
	log.Deliver(fakelog.PutCommand("a", "value"))
	if err := m.AwaitApplied(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	m.scrub()
	if err := m.Quarantined(); err != nil {
		t.Fatal(err)
	}
	m.Get("a").Item.Value[2] ^= 1
	m.scrub()
	wantKind(t, m.Quarantined(), failure.Diverged)
}

// Goal: the verdict is the majority's, never this node's own vote or a single
// peer's. Method: a table of digests in clusters of one to five nodes.
func TestOnlyAMajorityOfOthersCondemns(t *testing.T) {
	for _, c := range []struct {
		nodes int
		own   kv.Digest
		peers string // one digit for each that answered
		want  IntegrityResult
	}{
		{1, 1, "", IntegrityOK},
		{2, 1, "", IntegrityUnknown},
		{2, 1, "1", IntegrityOK},
		{2, 1, "2", IntegrityMismatch},
		{3, 1, "", IntegrityUnknown},
		{3, 1, "1", IntegrityOK},
		{3, 1, "2", IntegrityMismatch},
		{3, 1, "12", IntegrityOK},
		{3, 1, "23", IntegrityMismatch},
		{3, 1, "22", IntegrityDiverged},
		{5, 1, "1", IntegrityUnknown},
		{5, 1, "22", IntegrityMismatch},
		{5, 1, "112", IntegrityOK},
		{5, 1, "122", IntegrityMismatch},
		{5, 1, "1122", IntegrityOK},
		{5, 1, "2233", IntegrityMismatch},
		{5, 1, "1222", IntegrityDiverged},
		{5, 1, "2223", IntegrityDiverged},
		{4, 1, "22", IntegrityMismatch},
		{4, 1, "222", IntegrityDiverged},
	} {
		peers := map[string]kv.Digest{}
		for i, digit := range c.peers {
			peers[fmt.Sprint(i)] = kv.Digest(digit - '0')
		}
		if got := judge(c.own, peers, c.nodes); got.result != c.want {
			t.Errorf("%d nodes, %d against %q: %+v, want %s", c.nodes, c.own, c.peers, got, c.want)
		}
	}
}
