package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"raftkv/raft/core"
)

// DamagedSnapshotError says that the file of a snapshot can no longer be used.
// The log goes on without it, as it would after an Open that passed the snapshot
// over. The file stays where it is, as evidence. It counts for nothing until a
// newer snapshot, or another one of the same position, is written.
type DamagedSnapshotError struct {
	Snapshot core.Snapshot // without its data
	Cause    error         // names the file and the offset
}

func (e *DamagedSnapshotError) Error() string {
	why := e.Cause.Error()
	if damage, ok := errors.AsType[*CorruptionError](e.Cause); ok {
		// The error's own text is for a server that cannot start.
		why = fmt.Sprintf("%s is damaged at byte %d: %s", damage.File, damage.Offset, damage.Reason)
	}
	return fmt.Sprintf("the snapshot at index %d can no longer be used: %s", e.Snapshot.Index, why)
}

func (e *DamagedSnapshotError) Unwrap() error { return e.Cause }

// SnapshotFile opens the file of a snapshot, for a transfer to a peer: its bytes
// are the container of package snapshot. All of it is read and verified first, so
// that no peer receives bytes that it would have to refuse. The caller closes it.
// The error satisfies fs.ErrNotExist if there is no such snapshot, or not any
// more. It is a *DamagedSnapshotError if the file is damaged or cannot be read;
// from then on the snapshot does not exist.
func (w *WAL) SnapshotFile(s core.Snapshot) (*io.SectionReader, io.Closer, error) {
	p := positionOf(s)
	w.mu.Lock()
	size, there := w.files[p]
	w.mu.Unlock()
	if !there {
		return nil, nil, fmt.Errorf("wal: there is no snapshot at index %d of term %d: %w", s.Index, s.Term, fs.ErrNotExist)
	}
	path := w.snapshotPath(p)
	file, err := w.fs.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, diskError("opening", path, err) // for lack of descriptors, perhaps
	}
	if err == nil {
		if err = w.verifyFile(io.NewSectionReader(file, 0, size), path, p); err == nil {
			return io.NewSectionReader(file, 0, size), file, nil
		}
		file.Close()
	}
	if ended := w.usable(); ended != nil {
		return nil, nil, ended
	}
	if !w.lose(p) {
		return nil, nil, fmt.Errorf("wal: a newer snapshot has replaced the one at index %d: %w", s.Index, fs.ErrNotExist)
	}
	return nil, nil, &DamagedSnapshotError{core.Snapshot{Index: s.Index, Term: s.Term, UID: s.UID}, err}
}

// verifyFile reads a snapshot to its end. It gives up when the log has ended.
func (w *WAL) verifyFile(from io.Reader, path string, p position) error {
	r, err := w.readContainer(whileUsable{w, from}, path, p)
	if err != nil {
		return err
	}
	_, err = r.WriteTo(io.Discard)
	return snapshotError(path, err)
}

// lose records that a snapshot has no usable file. It returns false if a newer
// one has replaced it meanwhile.
func (w *WAL) lose(p position) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.files[p]; !there {
		return false
	}
	delete(w.files, p)
	if !slices.Contains(w.spoilt, p) {
		w.spoilt = append(w.spoilt, p)
	}
	w.stats.Lost++
	return true
}

// whileUsable is a reader that fails when the log has ended: a large snapshot must
// not hold up the end of a server.
type whileUsable struct {
	w *WAL
	io.Reader
}

// Read implements io.Reader.
func (r whileUsable) Read(b []byte) (int, error) {
	if err := r.w.usable(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}
