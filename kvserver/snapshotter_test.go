package kvserver

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// restored is the store that a snapshot of the fake holds.
func restored(t *testing.T, log *fakeLog, index uint64) *kv.Store {
	t.Helper()
	from, err := log.OpenSnapshot(index)
	if err != nil {
		t.Fatal(err)
	}
	store, err := kv.Restore(from)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// Goal: a snapshot is taken when the log since the last is longer than
// SnapshotBytes and than the state in the last, and not earlier; it holds the
// state at its index, and a server that starts with it goes on behind it.
// Method: puts of one key (a small state) and then of many (a growing one),
// counting snapshots.
func TestASnapshotIsTakenWhenTheLogIsLongerThanTheState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *Config) { c.SnapshotBytes = 10_000 })
		value := strings.Repeat("v", 1000)
		for range 30 {
			ask(s, "PUT", "/v1/kv/one", value)
			synctest.Wait()
		}
		few := log.snapshots()
		if len(few) != 3 || few[0] < 8 || few[0] > 10 {
			t.Fatalf("30 puts of 1000 bytes to one key: snapshots at %v, want three, some ten apart", few)
		}
		for i := range 300 {
			ask(s, "PUT", fmt.Sprintf("/v1/kv/%d", i), value)
			synctest.Wait()
		}
		at, previous := uint64(0), 10_000
		for _, index := range log.snapshots() {
			covered := 0
			for _, p := range log.proposals[at:index] {
				covered += len(p.Command) + entryOverhead
			}
			if most := previous + len(value) + 200; covered < previous || covered > most {
				t.Errorf("the snapshot at %d covers %d bytes of log, want %d to %d", index, covered, previous, most)
			}
			at, previous = index, max(10_000, restored(t, log, index).Bytes())
		}
		if n := len(log.snapshots()); n < 7 {
			t.Errorf("%d snapshots", n)
		}

		last := few[len(few)-1]
		store := restored(t, log, last)
		if item, _ := store.Get([]byte("one")); store.AppliedIndex() != last || item.Version != last {
			t.Fatalf("the snapshot at %d holds the state at %d", last, store.AppliedIndex())
		}
		from, _ := log.OpenSnapshot(last)
		other := newFakeLog("n1")
		other.status.LastIndex = last
		again := newServerOver(t, other, func(c *Config) { c.Snapshot = from })
		if stored(again, "one") != value {
			t.Fatal("a server that starts with the snapshot does not have its state")
		}
		wantStatus(t, ask(again, "PUT", "/v1/kv/one", "next"), 200)
		if stored(again, "one") != "next" || again.store.AppliedIndex() != last+1 {
			t.Fatalf("then one is %q at %d", stored(again, "one"), again.store.AppliedIndex())
		}
	})
}

// Goal: writes and reads go on while a snapshot is written, which holds none of
// what came later; there is one at a time.
// Method: a disk that stops in the middle of the first snapshot, and writes that
// would have been worth more of them.
func TestWritingGoesOnWhileASnapshotIsTaken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *Config) { c.SnapshotBytes = 1000 })
		resume := make(chan struct{})
		var paused atomic.Int64
		log.change(func(f *fakeSnapshots) { f.pause = func() { paused.Add(1); <-resume } })
		value := strings.Repeat("v", 500)
		for range 2 {
			ask(s, "PUT", "/v1/kv/k", value)
		}
		synctest.Wait()
		if paused.Load() != 1 {
			t.Fatalf("%d snapshots are being written", paused.Load())
		}
		for range 20 {
			wantStatus(t, ask(s, "PUT", "/v1/kv/k", "later"+value), 200)
		}
		synctest.Wait()
		if paused.Load() != 1 || stored(s, "k") != "later"+value || len(log.snapshots()) != 0 {
			t.Fatalf("%d snapshots are being written, %v are there", paused.Load(), log.snapshots())
		}
		log.change(func(f *fakeSnapshots) { f.pause = nil })
		close(resume)
		synctest.Wait()
		if at := log.snapshots(); len(at) != 1 || at[0] != 2 {
			t.Fatalf("snapshots at %v, want one at 2", at)
		}
		if item, _ := restored(t, log, 2).Get([]byte("k")); string(item.Value) != value {
			t.Fatalf("the snapshot holds %q", item.Value)
		}
		ask(s, "PUT", "/v1/kv/k", value)
		synctest.Wait()
		if at := log.snapshots(); len(at) != 2 || at[1] != 23 {
			t.Fatalf("then snapshots at %v, want the next at 23", at)
		}
	})
}

// Goal: a snapshot that cannot be written costs nothing but a longer log, is said
// once a while, and is taken when there is room again.
// Method: a full disk for some time; then room.
func TestAFailedSnapshotIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *Config) { c.SnapshotBytes = 1000 })
		log.change(func(f *fakeSnapshots) { f.refuse = syscall.ENOSPC })
		var attempts atomic.Int64
		log.change(func(f *fakeSnapshots) { f.pause = func() { attempts.Add(1) } })
		value := strings.Repeat("v", 500)
		for range 100 {
			if a := ask(s, "PUT", "/v1/kv/k", value); a.status/100 != 2 {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
		}
		synctest.Wait()
		if attempts.Load() != 1 {
			t.Fatalf("%d attempts in no time", attempts.Load())
		}
		time.Sleep(3 * snapshotRetry / 2)
		if attempts.Load() != 2 || log.failed() != nil {
			t.Fatalf("%d attempts, the node was ended with %v", attempts.Load(), log.failed())
		}
		log.change(func(f *fakeSnapshots) { f.refuse = nil })
		time.Sleep(snapshotRetry)
		if at := log.snapshots(); len(at) != 1 || at[0] != 100 {
			t.Fatalf("with room again: snapshots at %v, want one at 100", at)
		}
	})
}

// Goal: a snapshot that a follower needs is taken though nothing is written, and
// once: an old status does not bring another.
// Method: consensus wants one, knows of it a while later, and wants a newer one
// when more has been applied.
func TestASnapshotThatIsWantedIsTaken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		var attempts atomic.Int64
		log.change(func(f *fakeSnapshots) { f.pause = func() { attempts.Add(1) } })
		ask(s, "PUT", "/v1/kv/k", "v")
		log.set(func(status *raft.Status) { status.SnapshotWanted = true })
		time.Sleep(10 * snapshotPoll)
		if at := log.snapshots(); len(at) != 1 || at[0] != 1 {
			t.Fatalf("snapshots at %v, want one at 1", at)
		}
		ask(s, "PUT", "/v1/kv/k", "v")
		time.Sleep(10 * snapshotPoll)
		if at := log.snapshots(); len(at) != 1 {
			t.Fatalf("snapshots at %v by an old status", at)
		}
		log.set(func(status *raft.Status) { status.SnapshotIndex = 1 })
		time.Sleep(10 * snapshotPoll)
		if at := log.snapshots(); len(at) != 2 || at[1] != 2 {
			t.Fatalf("snapshots at %v, want one more at 2", at)
		}
		log.set(func(status *raft.Status) { status.SnapshotIndex = 2 })
		time.Sleep(10 * snapshotPoll)
		if at := log.snapshots(); len(at) != 2 || attempts.Load() != 2 {
			t.Fatalf("snapshots at %v in %d attempts, with nothing new in them", at, attempts.Load())
		}
	})
}

// Goal: the end of the server does not wait for a snapshot that is being
// written, and the snapshot is given up.
// Method: close the server while the disk holds the snapshot up.
func TestClosingGivesUpASnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *Config) { c.SnapshotBytes = 200_000 })
		resume := make(chan struct{})
		log.change(func(f *fakeSnapshots) { f.pause = func() { <-resume } })
		value := strings.Repeat("v", 1000)
		for i := range 300 { // more than the writer's buffer
			ask(s, "PUT", fmt.Sprintf("/v1/kv/%d", i), value)
		}
		s.Close()
		close(resume)
		synctest.Wait()
		if at := log.snapshots(); len(at) != 0 || s.snapshots.busy.Load() {
			t.Fatalf("snapshots at %v", at)
		}
	})
}

// Goal: a state to start with that is damaged is refused.
// Method: cut it short by a byte.
func TestADamagedSnapshotIsNotStartedWith(t *testing.T) {
	var b bytes.Buffer
	store := kv.New()
	store.Apply(1, putCommand("k", "v"))
	if _, err := store.Freeze().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	log := newFakeLog("n1")
	_, err := New(Config{
		NodeID: "n1", Consensus: log, ApplyCh: log.applyCh, ClientAddr: func(string) string { return "" },
		Snapshot: bytes.NewReader(b.Bytes()[:b.Len()-1]),
	})
	if !errors.Is(err, kv.ErrBadSnapshot) {
		t.Fatalf("New answers %v", err)
	}
}
