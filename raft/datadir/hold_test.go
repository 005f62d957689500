package datadir

import (
	"math/rand/v2"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Goal: that the level is held, or let go, is durable when SetHold has returned; a
// directory without the file, as programs of level 2 leave it, does not hold; a damaged
// file is refused. Method: starts with power cuts between them that keep only what was
// synced.
func TestWhetherTheLevelIsHeldIsDurable(t *testing.T) {
	disk := newDisk(t)
	start := func() *Directory {
		t.Helper()
		d := newDirectory(disk, "/d", NewOwner("c", "n1", []core.ID{"n1"}))
		if err := d.Begin(&core.State{}, false); err != nil {
			t.Fatal(err)
		}
		return d
	}
	for i, hold := range []bool{false, true, true, false, true} {
		d := start()
		if want := i > 0 && []bool{false, true, true, false, true}[i-1]; d.Holds() != want {
			t.Errorf("start %d: held is %v", i, d.Holds())
		}
		if err := d.SetHold(hold); err != nil || d.Holds() != hold {
			t.Fatal(hold, err)
		}
		disk = disk.Crash(rand.New(rand.NewPCG(uint64(i), 1)), vfs.LoseUnsynced)
	}
	file, err := disk.Create("/d/" + HoldFile + TmpSuffix)
	if err == nil {
		_, err = file.WriteAt([]byte("format = 1\nhold = 7\n"), 0)
	}
	if err == nil {
		err = disk.Rename("/d/"+HoldFile+TmpSuffix, "/d/"+HoldFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := newDirectory(disk, "/d", NewOwner("c", "n1", []core.ID{"n1"}))
	if err := d.Begin(&core.State{}, false); err == nil || !strings.Contains(err.Error(), "raftkv level hold") {
		t.Errorf("a damaged file: %v", err)
	}
}
