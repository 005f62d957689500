package datadir

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"raftkv/raft/vfs"
)

// Goal: a crash at any moment leaves the old file or the new one, whole.
// Method: cut the power before each file-system operation of a replacement, with
// every model of what survives, and read what is there.
func TestSmallFilesAreReplacedWhole(t *testing.T) {
	type content struct {
		Format int    `toml:"format"`
		Text   string `toml:"text"`
	}
	const path = "/d/small.toml"
	long := strings.Repeat("x", 3000)
	cuts := 0
	for step := 1; ; step++ {
		var finished bool
		for seed := range uint64(40) {
			rng := rand.New(rand.NewPCG(seed, uint64(step)))
			disk := vfs.NewCrashable()
			if err := errors.Join(disk.MkdirAll("/d"), disk.SyncDir("/"), WriteFile(disk, path, "old", content{1, "old"})); err != nil {
				t.Fatal(err)
			}
			var after *vfs.Crashable
			faulty := vfs.NewFaulty(disk)
			faulty.Hook(func(op vfs.Op) error {
				if op.Step == step {
					after = disk.Crash(rng, vfs.Models[seed%uint64(len(vfs.Models))])
					return vfs.ErrCrashed
				}
				return nil
			})
			err := WriteFile(faulty, path, "new", content{1, long})
			if finished = after == nil; finished {
				after = disk.Crash(rng, vfs.LoseUnsynced)
			}
			cuts++
			var got content
			found, readErr := ReadFile(after, path, &got, "remedy")
			if readErr != nil || !found || got.Text != "old" && got.Text != long {
				t.Fatalf("step %d, seed %d: found %v, %v, %d bytes", step, seed, found, readErr, len(got.Text))
			}
			if err == nil && got.Text != long {
				t.Fatalf("step %d, seed %d: was written, and is gone after the crash", step, seed)
			}
		}
		if finished {
			break
		}
	}
	if cuts < 200 {
		t.Errorf("void: only %d cuts", cuts)
	}
}
