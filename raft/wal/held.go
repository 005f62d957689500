package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"raftkv/raft/vfs"
)

// Held says whether the names in the directory still lead to the files that the
// log has open. A directory that was moved away, or a segment that was removed or
// replaced, would be written to although the next start reads something else, or
// nothing; and a second process could lock what has the name now. If so, the log
// ends: Held returns the error that every later Save answers. It is nil after
// Close. The directory is looked at before each segment is begun; whoever wants to
// know sooner calls Held now and then, from any goroutine.
func (w *WAL) Held() error {
	w.spareMu.Lock()
	defer w.spareMu.Unlock()
	if err := w.usable(); err != nil {
		if errors.Is(err, ErrClosed) {
			return nil
		}
		return err
	}
	err := w.checkNames()
	if err == nil {
		err = w.checkPresence()
	}
	if err != nil {
		return w.fail(err)
	}
	return nil
}

// checkPresence looks whether every file that the next start needs is there.
func (w *WAL) checkPresence() error {
	w.removing.Lock() // no name comes or goes meanwhile
	defer w.removing.Unlock()
	names, err := w.fs.List(w.dir)
	if err != nil {
		return nil // it may be a lack of file descriptors
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.segments {
		if name := segmentName(s.generation); !slices.Contains(names, name) {
			return lostName(fmt.Errorf("%s: %w", filepath.Join(w.dir, name), vfs.ErrLost))
		}
	}
	return nil
}

// checkNames looks at the directory and the active segment. It is the caller's to
// hold spareMu.
func (w *WAL) checkNames() error {
	if lock, ok := w.lock.(vfs.Holder); ok {
		if err := lock.Held(); err != nil {
			return lostName(err)
		}
	}
	if err := w.active.file.CheckName(w.active.path); err != nil {
		return lostName(err)
	}
	return nil
}

func lostName(err error) error {
	return fmt.Errorf("wal: %w: put back what the log was written to, and start only one server on it", err)
}
