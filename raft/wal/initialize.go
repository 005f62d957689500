package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"raftkv/raft/core"
)

// Initialize makes a new log that begins with a snapshot, as a restore from a
// backup needs it, in a directory that must be empty or missing. The log is in
// the given term, without a vote, and belongs to the cluster of s.UID; if that is
// zero, the first leader gives the cluster a new uid. The function write writes
// the snapshot's payload. When Initialize returns nil, everything is durable and
// Open will find it. After an error, or a crash, there is no log: empty the
// directory and begin again.
func Initialize(o Options, term uint64, s core.Snapshot, write func(io.Writer) error) error {
	w, err := newWAL(o)
	if err != nil {
		return err
	}
	if s.Index == 0 || s.Term == 0 || s.Term > term {
		return fmt.Errorf("wal: a log of term %d cannot begin with a snapshot at index %d of term %d", term, s.Index, s.Term)
	}
	if err := w.checkEmpty(); err != nil {
		return err
	}
	if err := ensureDirectory(w.fs, w.dir); err != nil {
		return diskError("creating", w.dir, err)
	}
	if err := w.takeLock(); err != nil {
		return err
	}
	defer w.release()
	if err := w.checkEmpty(); err != nil { // no other process came first
		return err
	}
	if err := w.WriteSnapshot(s, write); err != nil {
		return err
	}
	snapshot := core.Snapshot{Index: s.Index, Term: s.Term, UID: s.UID}
	return w.create(&core.Write{Seq: 1, Term: term, Snapshot: &snapshot, From: s.Index + 1, Commit: s.Index})
}

// checkEmpty refuses a directory that holds anything but a lock.
func (w *WAL) checkEmpty() error {
	names, err := w.fs.List(w.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diskError("listing", w.dir, err)
	}
	for _, name := range names {
		if name != lockName {
			return fmt.Errorf("wal: the directory %s is not empty, it holds %s: choose another one, or empty it", w.dir, name)
		}
	}
	return nil
}
