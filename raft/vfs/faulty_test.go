package vfs

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
)

// Goal: every kind of operation can be made to fail at exactly its n-th time and
// is counted. Method: run the same small program with each fault in turn.
func TestFaultyFailsTheNthOperationOfEveryKind(t *testing.T) {
	for _, kind := range Kinds {
		for nth := 1; nth <= 2; nth++ {
			f := NewFaulty(NewCrashable())
			f.Inject(Fault{Kind: kind, Nth: nth, Err: syscall.EIO})
			failed := 0
			for range 3 {
				if err := everyKindOnce(f); err != nil {
					failed++
					if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), kind.String()) {
						t.Errorf("%v: the error is %v", kind, err)
					}
				}
			}
			if failed != 1 {
				t.Errorf("%v number %d: %d of 3 rounds failed, want 1", kind, nth, failed)
			}
			if got := f.Count(kind); got != 3 {
				t.Errorf("%v number %d: counted %d, want 3", kind, nth, got)
			}
		}
	}
}

// everyKindOnce calls every operation once, the failed one included, cleans up,
// and returns the first error.
func everyKindOnce(fsys FS) (first error) {
	note := func(err error) {
		if first == nil && err != io.EOF {
			first = err
		}
	}
	note(fsys.MkdirAll("d"))
	if lock, err := fsys.Lock("LOCK"); err != nil {
		note(err)
	} else {
		defer lock.Close()
	}
	f, err := fsys.Create("f")
	note(err)
	opened, err := fsys.Open("f")
	note(err)
	if f == nil {
		f = opened
	}
	if f == nil {
		// Create failed, so there was nothing to open: count what is left.
		inner, _ := fsys.(*Faulty).inner.Create("f")
		f = &faultyFile{fs: fsys.(*Faulty), name: "f", inner: inner}
	}
	_, err = f.WriteAt([]byte("data"), 0)
	note(err)
	_, err = f.ReadAt(make([]byte, 1), 0)
	note(err)
	_, err = f.Size()
	note(err)
	note(f.Truncate(2))
	note(f.Sync())
	note(f.Close())
	_, err = fsys.List("/")
	note(err)
	note(fsys.SyncDir("/"))
	note(fsys.Rename("f", "g"))
	note(fsys.Remove("g"))
	fsys.(*Faulty).inner.Remove("f")
	fsys.(*Faulty).inner.Remove("g")
	return first
}

// Goal: a short write leaves its first bytes behind, a sticky fault stays.
// Method: one write of ten bytes on a disk that is full after four.
func TestFaultyShortAndStickyWrites(t *testing.T) {
	f := NewFaulty(NewCrashable())
	file := create(t, f, "f", "0123456789")
	f.Inject(Fault{Kind: OpWrite, Nth: 2, Err: syscall.ENOSPC, Short: 4, Sticky: true})
	n, err := file.WriteAt([]byte("abcdefghij"), 0)
	if n != 4 || !IsNoSpace(err) {
		t.Errorf("short write: %d bytes, %v", n, err)
	}
	if got := read(t, f, "f"); got != "abcd456789" {
		t.Errorf("the file reads %q", got)
	}
	if _, err := file.WriteAt([]byte("z"), 0); !IsNoSpace(err) {
		t.Errorf("the disk is full no more: %v", err)
	}
}

// Goal: the lying sync: after one that failed, the next succeeds and everybody
// sees the data; only a reader that drops the cache sees that the disk never got
// it, and the power cut takes it. Method: exactly that.
func TestFaultySyncThatLies(t *testing.T) {
	disk := NewCrashable()
	f := NewFaulty(disk)
	file := create(t, f, "f", "safe")
	must(t, file.Sync())
	must(t, f.SyncDir("/"))
	f.Inject(Fault{Kind: OpSync, Nth: 2, Err: syscall.EIO, Lie: true})
	_, err := file.WriteAt([]byte("lost"), 0)
	must(t, err)
	if err := file.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("first sync: %v, want EIO", err)
	}
	must(t, file.Sync())
	if got := read(t, f, "f"); got != "lost" {
		t.Errorf("before the power cut the file reads %q", got)
	}
	_, err = file.WriteAt([]byte("!"), 4)
	must(t, err)
	file.DropCache()
	if got := read(t, f, "f"); got != "safe!" {
		t.Errorf("from the disk, and with what waits for a sync, the file reads %q", got)
	}
	must(t, file.Sync())
	if got := read(t, disk.Crash(seeded(1), KeepBlocks), "f"); got != "safe!" {
		t.Errorf("after the power cut the file reads %q", got)
	}
}

// Goal: the hook runs before the operation, sees its name and number, can veto
// it, and can crash the disk at exactly that point. Method: veto one write,
// crash before the next.
func TestFaultyHookStandsBetweenOperations(t *testing.T) {
	disk := NewCrashable()
	f := NewFaulty(disk)
	file := create(t, f, "f", "one")
	must(t, file.Sync())
	must(t, f.SyncDir("/"))
	veto := errors.New("vetoed")
	var after *Crashable
	var seen []Op
	f.Hook(func(op Op) error {
		seen = append(seen, op)
		switch op.Nth {
		case 2:
			return veto
		case 3:
			after = disk.Crash(seeded(1), LoseUnsynced)
		}
		return nil
	})
	if _, err := file.WriteAt([]byte("two"), 0); !errors.Is(err, veto) {
		t.Errorf("vetoed write: %v", err)
	}
	if _, err := file.WriteAt([]byte("six"), 0); !errors.Is(err, ErrCrashed) {
		t.Errorf("write after the crash: %v", err)
	}
	want := []Op{{OpWrite, "f", 2, 5}, {OpWrite, "f", 3, 6}}
	if len(seen) != 2 || seen[0] != want[0] || seen[1] != want[1] {
		t.Errorf("the hook saw %+v, want %+v", seen, want)
	}
	if f.Steps() != 6 {
		t.Errorf("%d steps counted, want 6", f.Steps())
	}
	if got := read(t, after, "f"); got != "one" {
		t.Errorf("after the crash the file reads %q", got)
	}
}
