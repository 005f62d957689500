package machine

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

	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// restored is the store that a snapshot of the fake holds.
func restored(t *testing.T, log *fakelog.Log, index uint64) *kv.Store {
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

// Goal: a snapshot is taken as soon as the log since the last has SnapshotBytes and
// takes longer to apply than the state in the last to load; it holds the state at
// its index, and a machine that starts with it goes on behind it.
// Method: puts of one key (a small state) and then of many (a growing one),
// counting snapshots.
func TestASnapshotIsTakenWhenTheLogTakesLongerThanTheState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, func(c *Config) { c.SnapshotBytes = 10_000 })
		value := strings.Repeat("v", 1000)
		for range 30 {
			mustPut(t, m, "one", value)
			synctest.Wait()
		}
		few := log.SnapshotsAt()
		if len(few) != 3 || few[0] < 8 || few[0] > 10 {
			t.Fatalf("30 puts of 1000 bytes to one key: snapshots at %v, want three, some ten apart", few)
		}
		for i := range 300 {
			mustPut(t, m, fmt.Sprint(i), value)
			synctest.Wait()
		}
		at, last := uint64(0), extent{}
		for _, index := range log.SnapshotsAt() {
			var covered extent
			for i, p := range log.Proposals[at:index] {
				if i > 0 && snapshotDue(covered, last, 10_000) {
					t.Fatalf("the snapshot at %d was due at %d", index, at+uint64(i))
				}
				covered.count++
				covered.bytes += int64(len(p.Command) + entryOverhead)
			}
			if !snapshotDue(covered, last, 10_000) {
				t.Errorf("the snapshot at %d covers %+v of log, behind a state of %+v", index, covered, last)
			}
			store := restored(t, log, index)
			at, last = index, extent{int64(store.Len()), int64(store.Bytes())}
		}
		if n := len(log.SnapshotsAt()); n < 7 {
			t.Errorf("%d snapshots", n)
		}

		early := few[len(few)-1]
		store := restored(t, log, early)
		if item, _ := store.Get([]byte("one")); store.AppliedIndex() != early || item.Version != early {
			t.Fatalf("the snapshot at %d holds the state at %d", early, store.AppliedIndex())
		}
		from, _ := log.OpenSnapshot(early)
		other := fakelog.New("n1")
		other.Set(func(status *raft.Status) { status.LastIndex = early })
		again := newMachineOver(t, other, func(c *Config) { c.Snapshot = from })
		if stored(again, "one") != value {
			t.Fatal("a machine that starts with the snapshot does not have its state")
		}
		mustPut(t, again, "one", "next")
		if stored(again, "one") != "next" || applied(again) != early+1 {
			t.Fatalf("then one is %q at %d", stored(again, "one"), applied(again))
		}
	})
}

// Goal: writes and reads go on while a snapshot is written, which holds none of
// what came later; there is one at a time.
// Method: a disk that stops in the middle of the first snapshot, and writes that
// would have been worth more of them.
func TestWritingGoesOnWhileASnapshotIsTaken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, func(c *Config) { c.SnapshotBytes = 1000 })
		resume := make(chan struct{})
		var paused atomic.Int64
		log.Change(func(f *fakelog.Snapshots) { f.Pause = func() { paused.Add(1); <-resume } })
		value := strings.Repeat("v", 500)
		for range 2 {
			mustPut(t, m, "k", value)
		}
		synctest.Wait()
		if paused.Load() != 1 {
			t.Fatalf("%d snapshots are being written", paused.Load())
		}
		for range 20 {
			mustPut(t, m, "k", "later"+value)
		}
		synctest.Wait()
		if paused.Load() != 1 || stored(m, "k") != "later"+value || len(log.SnapshotsAt()) != 0 {
			t.Fatalf("%d snapshots are being written, %v are there", paused.Load(), log.SnapshotsAt())
		}
		log.Change(func(f *fakelog.Snapshots) { f.Pause = nil })
		close(resume)
		synctest.Wait()
		if at := log.SnapshotsAt(); len(at) != 1 || at[0] != 2 {
			t.Fatalf("snapshots at %v, want one at 2", at)
		}
		if item, _ := restored(t, log, 2).Get([]byte("k")); string(item.Value) != value {
			t.Fatalf("the snapshot holds %q", item.Value)
		}
		mustPut(t, m, "k", value)
		synctest.Wait()
		if at := log.SnapshotsAt(); len(at) != 2 || at[1] != 23 {
			t.Fatalf("then snapshots at %v, want the next at 23", at)
		}
	})
}

// Goal: a snapshot that cannot be written costs nothing but a longer log, is said
// once a while, and is taken when there is room again.
// Method: a full disk for some time; then room.
func TestAFailedSnapshotIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, func(c *Config) { c.SnapshotBytes = 1000 })
		log.Change(func(f *fakelog.Snapshots) { f.Refuse = syscall.ENOSPC })
		var attempts atomic.Int64
		log.Change(func(f *fakelog.Snapshots) { f.Pause = func() { attempts.Add(1) } })
		value := strings.Repeat("v", 500)
		for range 100 {
			mustPut(t, m, "k", value)
		}
		synctest.Wait()
		if attempts.Load() != 1 {
			t.Fatalf("%d attempts in no time", attempts.Load())
		}
		time.Sleep(3 * snapshotRetry / 2)
		if attempts.Load() != 2 || log.Failed() != nil {
			t.Fatalf("%d attempts, the node was ended with %v", attempts.Load(), log.Failed())
		}
		log.Change(func(f *fakelog.Snapshots) { f.Refuse = nil })
		time.Sleep(snapshotRetry)
		if at := log.SnapshotsAt(); len(at) != 1 || at[0] != 100 {
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
		m, log := newMachine(t, nil)
		var attempts atomic.Int64
		log.Change(func(f *fakelog.Snapshots) { f.Pause = func() { attempts.Add(1) } })
		mustPut(t, m, "k", "v")
		log.Set(func(status *raft.Status) { status.SnapshotWanted = true })
		time.Sleep(10 * snapshotPause)
		if at := log.SnapshotsAt(); len(at) != 1 || at[0] != 1 {
			t.Fatalf("snapshots at %v, want one at 1", at)
		}
		mustPut(t, m, "k", "v")
		time.Sleep(10 * snapshotPause)
		if at := log.SnapshotsAt(); len(at) != 1 {
			t.Fatalf("snapshots at %v by an old status", at)
		}
		log.Set(func(status *raft.Status) { status.SnapshotIndex = 1 })
		time.Sleep(10 * snapshotPause)
		if at := log.SnapshotsAt(); len(at) != 2 || at[1] != 2 {
			t.Fatalf("snapshots at %v, want one more at 2", at)
		}
		log.Set(func(status *raft.Status) { status.SnapshotIndex = 2 })
		time.Sleep(10 * snapshotPause)
		if at := log.SnapshotsAt(); len(at) != 2 || attempts.Load() != 2 {
			t.Fatalf("snapshots at %v in %d attempts, with nothing new in them", at, attempts.Load())
		}
	})
}

// Goal: the end of the machine does not wait for a snapshot that is being
// written, and the snapshot is given up.
// Method: close the machine while the disk holds the snapshot up.
func TestClosingGivesUpASnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, func(c *Config) { c.SnapshotBytes = 200_000 })
		resume := make(chan struct{})
		log.Change(func(f *fakelog.Snapshots) { f.Pause = func() { <-resume } })
		value := strings.Repeat("v", 1000)
		for i := range 300 { // more than the writer's buffer
			mustPut(t, m, fmt.Sprint(i), value)
		}
		m.Close()
		close(resume)
		synctest.Wait()
		if at := log.SnapshotsAt(); len(at) != 0 || m.snapshots.busy.Load() {
			t.Fatalf("snapshots at %v", at)
		}
	})
}

// Goal: a state to start with that is damaged is refused.
// Method: cut it short by a byte.
func TestADamagedSnapshotIsNotStartedWith(t *testing.T) {
	var b bytes.Buffer
	store := kv.New()
	store.Apply(1, fakelog.PutCommand("k", "v"))
	if _, err := store.Freeze().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	log := fakelog.New("n1")
	_, err := Open(Config{
		NodeID: "n1", Consensus: log, ApplyCh: log.ApplyCh,
		Snapshot: bytes.NewReader(b.Bytes()[:b.Len()-1]),
	})
	if !errors.Is(err, kv.ErrBadSnapshot) {
		t.Fatalf("Open answers %v", err)
	}
}

// Goal: a start does not apply the log for longer than it loads the state, of which the history
// is a part: one key that is overwritten leaves a small store and a long history.
// Method: puts of one key at the level of the history; the gaps between snapshots grow with it.
func TestAHistoryIsPartOfTheStateThatASnapshotLoads(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, func(c *Config) { c.SnapshotBytes, c.Level = 2000, kv.LevelHistory })
		for range 400 {
			mustPut(t, m, "one", strings.Repeat("v", 100))
			synctest.Wait()
		}
		at := log.SnapshotsAt()
		if n := len(at); n < 3 || at[n-1]-at[n-2] < 3*(at[1]-at[0]) {
			t.Errorf("snapshots at %v: a long history makes no difference", at)
		}
	})
}
