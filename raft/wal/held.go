package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"raftkv/raft/vfs"
)

// Held checks that the names in the directory still lead to the files that the
// log has open. The directory may have been moved away, or a segment removed or
// replaced. Then the log would go on writing to files that the next start does
// not read, and a second process could lock the new bearer of the name. In that
// case the log ends, and Held returns the error that every later Save returns.
// Held returns nil after Close. The directory is checked before each segment is
// begun; a caller that wants to know sooner calls Held now and then, from any
// goroutine.
func (w *WAL) Held() error {
	if err := w.checkPresence(); err != nil {
		return w.fail(err)
	}
	w.spareMu.Lock()
	defer w.spareMu.Unlock()
	if err := w.usable(); err != nil {
		if errors.Is(err, ErrClosed) {
			return nil
		}
		return err
	}
	if err := w.checkNames(); err != nil {
		return w.fail(err)
	}
	return nil
}

// checkPresence checks that every segment that the next start needs is there. It
// holds no lock while it lists the directory, so that no other call waits for it.
func (w *WAL) checkPresence() error {
	w.mu.Lock()
	before := slices.Clone(w.segments)
	w.mu.Unlock()
	names, err := w.fs.List(w.dir)
	if err != nil {
		return nil // it may be a lack of file descriptors
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	for _, s := range before {
		name := segmentName(s.generation)
		if !slices.Contains(names, name) && slices.Contains(w.segments, s) {
			return lostName(fmt.Errorf("%s: %w", filepath.Join(w.dir, name), vfs.ErrLost))
		}
	}
	return nil
}

// checkNames checks the names of the directory and of the active segment. The
// caller must hold spareMu.
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
	return fmt.Errorf("wal: %w: put the log's files back, and start only one server on them", err)
}
