package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// Goal: what was synced survives every power cut, byte for byte, name and all.
// Method: synced file, unsynced overwrite of another range, many cuts.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	for _, model := range Models {
		for seed := range uint64(200) {
			c := NewCrashable()
			must(t, c.MkdirAll("d"))
			must(t, c.SyncDir("/"))
			f := create(t, c, "d/f", strings.Repeat("s", 5000))
			must(t, f.Sync())
			must(t, c.SyncDir("d"))
			_, err := f.WriteAt(bytes.Repeat([]byte("u"), 3000), 2001)
			must(t, err)
			must(t, c.Remove("d/f"))
			must(t, f.Truncate(6000))

			after := c.Crash(seeded(seed), model)
			if _, err := after.Open("d/f"); errors.Is(err, fs.ErrNotExist) && model != LoseUnsynced {
				continue // the removal made it to the disk
			}
			got := read(t, after, "d/f")
			if len(got) < 5000 || got[:2001] != strings.Repeat("s", 2001) {
				t.Fatalf("%v, seed %d: synced bytes changed", model, seed)
			}
			if model == LoseUnsynced && got != strings.Repeat("s", 5000) {
				t.Fatalf("%v: something unsynced survived", model)
			}
		}
	}
}

// Goal: each model leaves exactly the kinds of damage it promises, and leaves
// each of them now and then. Method: one unsynced write of 8 KiB over synced
// bytes; sort what many cuts leave.
func TestCrashModelsDamageTheUnsyncedRange(t *testing.T) {
	const size, from, to = 16 << 10, 3000, 3000 + 8<<10
	outcome := func(model Model, seed uint64) string {
		c := NewCrashable()
		f := create(t, c, "f", strings.Repeat("s", size))
		must(t, f.Sync())
		must(t, c.SyncDir("/"))
		_, err := f.WriteAt(bytes.Repeat([]byte("u"), to-from), from)
		must(t, err)
		got := read(t, c.Crash(seeded(seed), model), "f")
		if len(got) != size || strings.Trim(got[:from]+got[to:], "s") != "" {
			t.Fatalf("%v, seed %d: bytes outside of the write changed", model, seed)
		}
		torn := got[from:to]
		switch kept := strings.TrimLeft(torn, "u"); {
		case kept == "":
			return "whole"
		case strings.Trim(torn, "s") == "":
			return "lost"
		case strings.Trim(torn, "us") != "":
			return "noise"
		case strings.Trim(kept, "s") == "":
			return "prefix"
		}
		return "blocks"
	}
	want := map[Model][]string{
		LoseUnsynced: {"lost"},
		KeepBlocks:   {"blocks", "lost", "prefix", "whole"},
		TornPrefix:   {"prefix"}, // whole and lost are two outcomes in 8193
		Garbage:      {"noise"},  // the others are rare
	}
	for _, model := range Models {
		seen := map[string]int{}
		for seed := range uint64(400) {
			seen[outcome(model, seed)]++
		}
		for _, kind := range want[model] {
			if seen[kind] == 0 {
				t.Errorf("%v never left %q: %v", model, kind, seen)
			}
		}
		for kind := range seen {
			if !slices.Contains(want[model], kind) && (model == LoseUnsynced || kind == "noise" && model != Garbage) {
				t.Errorf("%v left %q: %v", model, kind, seen)
			}
		}
	}
}

// Goal: directory entries are lost one by one unless SyncDir ordered them, and a
// synced file without a synced name is gone. Method: create two, rename one,
// count which names boots find.
func TestCrashLosesDirectoryEntriesIndependently(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		c := NewCrashable()
		for _, name := range []string{"a", "b"} {
			f := create(t, c, name, "x")
			must(t, f.Sync())
		}
		must(t, c.Rename("b", "c"))
		names, err := c.Crash(seeded(seed), KeepBlocks).List("/")
		must(t, err)
		seen[strings.Join(names, "")] = true
	}
	for _, want := range []string{"", "a", "b", "c", "ab", "ac"} {
		if !seen[want] {
			t.Errorf("no cut left the names %q: %v", want, seen)
		}
	}
	if seen["bc"] || seen["abc"] {
		t.Errorf("a rename left both names: %v", seen)
	}

	c := NewCrashable()
	must(t, create(t, c, "a", "x").Sync())
	if names, _ := c.Crash(seeded(1), LoseUnsynced).List("/"); len(names) != 0 {
		t.Errorf("a name survived that no SyncDir made durable: %v", names)
	}
	c = NewCrashable()
	must(t, c.MkdirAll("d"))
	must(t, create(t, c, "d/a", "x").Sync())
	must(t, c.SyncDir("d"))
	if names, _ := c.Crash(seeded(1), LoseUnsynced).List("/"); len(names) != 0 {
		t.Errorf("a directory survived that no SyncDir of its parent made durable: %v", names)
	}
}

// Goal: the same calls and the same seed leave the same disk: a simulator's
// failures must be repeatable. Method: a random run, twice.
func TestCrashIsDeterministic(t *testing.T) {
	run := func(seed uint64, model Model) string {
		rng := seeded(seed)
		c := NewCrashable()
		var files []File
		for i := range 40 {
			switch rng.IntN(5) {
			case 0:
				files = append(files, create(t, c, fmt.Sprintf("f%02d", i), "new"))
			case 1:
				must(t, c.SyncDir("/"))
			default:
				if len(files) == 0 {
					continue
				}
				f := files[rng.IntN(len(files))]
				_, err := f.WriteAt(bytes.Repeat([]byte{byte(i)}, rng.IntN(3000)), int64(rng.IntN(4000)))
				must(t, err)
				if rng.IntN(4) == 0 {
					must(t, f.Sync())
				}
				if rng.IntN(6) == 0 {
					must(t, f.Truncate(int64(rng.IntN(5000))))
				}
			}
		}
		after := c.Crash(rng, model)
		names, err := after.List("/")
		must(t, err)
		var disk strings.Builder
		for _, name := range names {
			fmt.Fprintf(&disk, "%s=%q\n", name, read(t, after, name))
		}
		return disk.String()
	}
	for _, model := range Models {
		distinct := map[string]bool{}
		for seed := range uint64(50) {
			first := run(seed, model)
			if second := run(seed, model); first != second {
				t.Fatalf("%v, seed %d: two runs left different disks", model, seed)
			}
			distinct[first] = true
		}
		if len(distinct) < 10 {
			t.Errorf("%v: 50 seeds left only %d different disks", model, len(distinct))
		}
	}
}

// Goal: nothing of before a crash works afterwards, and locks are free. Method:
// crash and kill with an open file and a held lock; use everything.
func TestCrashEndsFilesAndLocks(t *testing.T) {
	endings := map[string]func(*Crashable) *Crashable{
		"crash": func(c *Crashable) *Crashable { return c.Crash(seeded(1), LoseUnsynced) },
		"kill":  (*Crashable).Kill,
	}
	for name, end := range endings {
		c := NewCrashable()
		f := create(t, c, "f", "x")
		must(t, f.Sync())
		must(t, c.SyncDir("/"))
		lock, err := c.Lock("LOCK")
		must(t, err)
		after := end(c)
		_, readErr := f.ReadAt(make([]byte, 1), 0)
		_, writeErr := f.WriteAt([]byte("y"), 0)
		_, openErr := c.Open("f")
		for what, err := range map[string]error{
			"read": readErr, "write": writeErr, "open": openErr, "sync": f.Sync(), "close": f.Close(),
			"unlock": lock.Close(), "syncdir": c.SyncDir("/"), "rename": c.Rename("f", "g"),
		} {
			if !errors.Is(err, ErrCrashed) {
				t.Errorf("%s after a %s: %v, want ErrCrashed", what, name, err)
			}
		}
		if _, err := after.Lock("LOCK"); err != nil {
			t.Errorf("lock after a %s: %v", name, err)
		}
		if got := read(t, after, "f"); got != "x" {
			t.Errorf("after a %s the file reads %q", name, got)
		}
	}
}

// Goal: kill -9 loses nothing that was written, and makes nothing durable
// either. Method: unsynced write, kill, look, then cut the power.
func TestKillKeepsTheCacheAndSyncsNothing(t *testing.T) {
	c := NewCrashable()
	f := create(t, c, "f", "durable")
	must(t, f.Sync())
	must(t, c.SyncDir("/"))
	_, err := f.WriteAt([]byte("DURABLE"), 0)
	must(t, err)
	must(t, create(t, c, "g", "new").Close())
	c = c.Kill()
	if got := read(t, c, "f") + read(t, c, "g"); got != "DURABLEnew" {
		t.Errorf("after the kill the files read %q", got)
	}
	c = c.Crash(seeded(1), LoseUnsynced)
	if got := read(t, c, "f"); got != "durable" {
		t.Errorf("after the power cut the file reads %q", got)
	}
	if _, err := c.Open("g"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the unsynced file: %v", err)
	}
}
