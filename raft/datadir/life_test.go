package datadir

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/vfs"
)

// Goal: every start on a directory is one boot more of the same incarnation, and
// what the peers were told last time is in it. Method: starts, with power cuts
// between them that keep only what was synced.
func TestEveryStartIsANewLifeOfTheSameDirectory(t *testing.T) {
	disk := newDisk(t)
	var before identity.Life
	for boot := uint64(1); boot <= identity.MaxNonces+3; boot++ {
		d, err := opened(disk, "/d", boot == 1, false)
		if err != nil {
			t.Fatal(err)
		}
		now := d.life
		if now.Boot != boot || now.Check() != nil || now.Rejoined {
			t.Fatalf("boot %d: %+v, %v", boot, now, now.Check())
		}
		if boot > 1 {
			known, _, _ := identity.Known{}.Meet(before)
			if _, changed, reason := known.Meet(now); !changed || reason != "" {
				t.Fatalf("boot %d is no restart of the one before: %q", boot, reason)
			}
		}
		before = now
		disk = disk.Crash(rand.New(rand.NewPCG(boot, 1)), vfs.LoseUnsynced)
	}
}

// Goal: a crash at any moment of a start leaves a directory on which a node can
// start, with a boot that is later than any that was told. Method: a second start
// fails at each of its operations on the disk, then the power is cut.
func TestACrashWhileAStartIsCounted(t *testing.T) {
	for _, kind := range []vfs.Kind{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir} {
		crashable := newDisk(t)
		first, err := opened(crashable, "/d", true, false)
		if err != nil {
			t.Fatal(err)
		}
		disk := vfs.NewFaulty(crashable)
		disk.Inject(vfs.Fault{Kind: kind, Nth: 1, Err: syscall.EIO, Sticky: true})
		if _, err := opened(disk, "/d", false, false); err == nil {
			t.Fatalf("operation %v did not fail", kind)
		}
		after := crashable.Crash(rand.New(rand.NewPCG(uint64(kind), 1)), vfs.LoseUnsynced)
		next, err := opened(after, "/d", false, false)
		if err != nil {
			t.Fatalf("operation %v: %v", kind, err)
		}
		known, _, _ := identity.Known{}.Meet(first.life)
		if _, changed, reason := known.Meet(next.life); !changed || reason != "" {
			t.Fatalf("operation %v: the next start is taken for %q", kind, reason)
		}
	}
}

// opened begins a life on the directory of n1 at path.
func opened(fsys vfs.FS, path string, void, rejoin bool) (*Directory, error) {
	d := newDirectory(fsys, path, Owner{NodeID: "n1"})
	return d, d.beginLife(void, rejoin)
}

// newDisk returns a disk that can lose its power, with directories on it.
func newDisk(t *testing.T) *vfs.Crashable {
	disk := vfs.NewCrashable()
	for _, dir := range []string{"/d", "/used", "/empty", "/wiped", "/full"} {
		if err := disk.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := disk.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// Goal: --rejoin makes a new directory of one that holds nothing, goes on with one
// that it has made, and is refused where there is something to lose; a directory
// that was fenced is not used again. Method: a table of directories.
func TestWhatRejoinMayBeUsedOn(t *testing.T) {
	disk := newDisk(t)
	open := func(dir string, void, rejoin bool) (*Directory, error) {
		return opened(disk, dir, void, rejoin)
	}
	must := func(d *Directory, err error) *Directory {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	used := must(open("/used", true, false))
	if _, err := open("/used", false, true); err == nil || isFault(err) || !strings.Contains(err.Error(), "start the node without --rejoin") {
		t.Errorf("--rejoin on a log: %v", err)
	}
	if again := must(open("/used", false, false)); again.life.Boot != 2 || again.life.Incarnation != used.life.Incarnation {
		t.Errorf("a refused start counted, or made another directory: %+v", again.life)
	}

	empty := must(open("/empty", true, true))
	if !empty.life.Rejoined || !empty.Rejoining().On {
		t.Errorf("--rejoin on an empty directory: %+v", empty.content)
	}
	goal := core.Rejoining{On: true, Term: 7, Index: 9}
	if err := empty.SetRejoining(goal); err != nil {
		t.Fatal(err)
	}
	for _, rejoin := range []bool{true, false} { // with the flag or without
		if again := must(open("/empty", false, rejoin)); again.Rejoining() != goal || !again.life.Rejoined || again.life.Incarnation != empty.life.Incarnation {
			t.Errorf("a restart in the middle: %+v", again.content)
		}
	}

	wiped := must(open("/wiped", true, false))
	said := wiped.Fence(identity.Verdict{By: []core.ID{"n2", "n3"}, Why: identity.Wiped, Majority: true})
	if !strings.Contains(said.Error(), "--rejoin") || !strings.Contains(said.Error(), "n2") {
		t.Errorf("it says %v", said)
	}
	if !strings.Contains(said.Error(), "the directory of n2, n3 is of an earlier cluster") {
		t.Errorf("a new directory is not told that the others' may be old: %v", said)
	}
	if _, err := open("/wiped", true, false); !isFault(err) || err.Error() != said.Error() {
		t.Errorf("a fenced directory: %v", err)
	}
	if again := must(open("/wiped", true, true)); again.life.Incarnation == wiped.life.Incarnation || !again.Rejoining().On {
		t.Errorf("--rejoin on a directory that was fenced while it held nothing: %+v", again.content)
	}
	full := must(open("/full", true, false))
	full.Fence(identity.Verdict{By: []core.ID{"n2"}, Why: identity.RolledBack, Majority: true})
	if _, err := open("/full", false, true); err == nil || isFault(err) {
		t.Errorf("--rejoin on a fenced log: %v", err)
	}
}

// Goal: what is remembered of peers survives, and what is damaged is refused with
// what to do. Method: remember, cut the power, read; then files with one thing
// wrong.
func TestPeersAreRememberedAcrossPowerCuts(t *testing.T) {
	disk := newDisk(t)
	memory, err := OpenPeers(disk, "/d")
	if err != nil {
		t.Fatal(err)
	}
	want := map[core.ID]identity.Known{}
	for _, id := range []core.ID{"n2", "n.3 and \"more\""} {
		var k identity.Known
		for range 3 {
			l := identity.NewLife(draw)
			l.Rejoined = true
			k, _, _ = k.Meet(l)
			k.PutBack = id == "n2"
			if err := memory.Remember(id, k); err != nil {
				t.Fatal(err)
			}
		}
		want[id] = k
	}
	memory, err = OpenPeers(disk.Crash(rand.New(rand.NewPCG(1, 1)), vfs.LoseUnsynced), "/d")
	if err != nil || !reflect.DeepEqual(memory.known, want) {
		t.Fatalf("%+v, %v; want %+v", memory.known, err, want)
	}
	for _, content := range []string{"format = 1\n[peers.n2]\nboot = 0\n", "format = 1\n[peers.n2]\nboot = 1\nincarnation = \"00\"\n", "garbage"} {
		dir := t.TempDir()
		mustWrite(t, filepath.Join(dir, PeersFile), content)
		if _, err := OpenPeers(vfs.OS{}, dir); !isFault(err) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%q: %v", content, err)
		}
		mustWrite(t, filepath.Join(dir, LifeFile), "format = 1\nboot = 3\nincarnation = \"00\"\n")
		if _, err := opened(vfs.OS{}, dir, false, false); !isFault(err) || !strings.Contains(err.Error(), "--rejoin") {
			t.Errorf("life: %v", err)
		}
	}
	failed := errors.New("nothing")
	memory.fs, memory.failed = vfs.NewFaulty(newDisk(t)), func(err error) { failed = err }
	memory.fs.(*vfs.Faulty).Inject(vfs.Fault{Kind: vfs.OpSync, Nth: 1, Err: syscall.EIO, Sticky: true})
	if err := memory.Remember("n4", want["n2"]); err == nil || !errors.Is(failed, syscall.EIO) {
		t.Errorf("a failed write: %v, told %v", err, failed)
	}
	if known := memory.Known("n4"); known.Boot != 0 {
		t.Errorf("it knows what it could not write down: %+v", known)
	}
}

// Goal: a disk without room turns peers down and ends nobody; any other error of
// peers.toml ends the node, and nothing is known that is not written down. What is
// only noted ends nobody at all. Method: each operation on the file fails once, in
// each way.
func TestAFullDiskTurnsPeersDownAndEndsNobody(t *testing.T) {
	k, _, _ := identity.Known{}.Meet(identity.NewLife(draw))
	for _, kind := range []vfs.Kind{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir} {
		for fault, ends := range map[error]bool{syscall.EIO: true, syscall.ENOSPC: false, syscall.EDQUOT: false} {
			failing := func() (*Peers, *error) {
				disk, failed := vfs.NewFaulty(newDisk(t)), new(error)
				memory, err := OpenPeers(disk, "/d")
				if err != nil {
					t.Fatal(err)
				}
				memory.failed = func(err error) { *failed = err }
				disk.Inject(vfs.Fault{Kind: kind, Nth: 1, Err: fault})
				return memory, failed
			}
			memory, failed := failing()
			if err := memory.Note(map[core.ID]identity.Known{"n2": k}); !errors.Is(err, fault) || *failed != nil {
				t.Errorf("operation %v, %v: a note: %v, told %v", kind, fault, err, *failed)
			}
			memory, failed = failing()
			if err := memory.Remember("n2", k); !errors.Is(err, fault) || (*failed != nil) != ends {
				t.Errorf("operation %v, %v: %v, told %v", kind, fault, err, *failed)
			}
			if memory.Known("n2").Boot != 0 {
				t.Errorf("operation %v, %v: it knows what it could not write down", kind, fault)
			}
			if err := memory.Remember("n2", k); err != nil || memory.Known("n2").Boot == 0 {
				t.Errorf("operation %v, %v: tried again: %v", kind, fault, err)
			}
		}
	}
}

// Goal: a single peer's word, or that of a few, ends the node and leaves the
// directory as it was; a majority's leaves the mark. Method: both verdicts.
func TestOnlyAMajorityMarksADirectory(t *testing.T) {
	disk := newDisk(t)
	d, err := opened(disk, "/d", false, false)
	if err != nil {
		t.Fatal(err)
	}
	few := d.Fence(identity.Verdict{Why: identity.RolledBack, By: []core.ID{"n2"}, Detail: "the log ends at 7"})
	if few == nil || !strings.Contains(few.Error(), "may be started again") || !strings.Contains(few.Error(), "the log ends at 7") {
		t.Errorf("a single word: %v", few)
	}
	if d, err = opened(disk, "/d", false, false); err != nil {
		t.Fatalf("after a single word the directory cannot be used: %v", err)
	}
	many := d.Fence(identity.Verdict{Why: identity.RolledBack, By: []core.ID{"n2", "n3"}, Majority: true})
	if many == nil || !strings.Contains(many.Error(), "n2, n3 say that it was put back") {
		t.Errorf("a majority: %v", many)
	}
	if _, err := opened(disk, "/d", false, false); err == nil || err.Error() != many.Error() {
		t.Errorf("after a majority's verdict: %v", err)
	}
}
