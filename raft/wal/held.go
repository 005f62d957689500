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

// checkPresence looks whether every segment that the next start needs is there.
// It holds no lock while it lists the directory, so that nobody waits for it.
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

// checkNames looks at the directory and the active segment. The caller must
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
