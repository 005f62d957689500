package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"raftkv/raft/core"
	"raftkv/raft/members"
	"raftkv/raft/snapshot"
	"raftkv/raft/vfs"
)

// snapshotFiles are the snapshots that a starting server finds in its directory.
// Each file is read at most once.
type snapshotFiles struct {
	w        *WAL
	there    []position // in order of their indexes
	verdicts map[position]verdict
}

// verdict is the result of reading a file.
type verdict struct {
	read bool // whole, not only its header
	size int64
	uid  core.UID // of the cluster, as its header says
	// members is the configuration that it carries; only if it was read whole.
	members members.Version
	err     error
}

// newest returns the index of the newest snapshot that is whole and belongs to
// this cluster, 0 for none. The log need not know of it.
func (s *snapshotFiles) newest() (uint64, error) {
	for i := len(s.there) - 1; i >= 0; i-- {
		p := s.there[i]
		v := s.w.look(p, true)
		if v.err == nil {
			s.verdicts[p] = v
			return p.index, nil
		}
		if !isRefusal(v.err) {
			return 0, v.err
		}
		s.verdicts[p] = v
	}
	return 0, nil
}

// isRefusal reports whether an error means that a file was read and must not be
// used.
func isRefusal(err error) bool {
	var damage *CorruptionError
	var owner *IdentityError
	var version *VersionError
	return errors.As(err, &damage) || errors.As(err, &owner) || errors.As(err, &version)
}

// checkOwner refuses snapshots of other clusters and of newer versions, even
// where nothing needs them, because this log may not remove them. Damage is
// judged where it matters.
func (s *snapshotFiles) checkOwner() error {
	for _, p := range s.there {
		v, looked := s.verdicts[p]
		if !looked {
			v = s.w.look(p, false)
			s.verdicts[p] = v
		}
		var damage *CorruptionError
		if v.err != nil && !errors.As(v.err, &damage) {
			return v.err
		}
	}
	return nil
}

// checkAlone judges the snapshots of a directory without any segment. A new log
// has segments before it has snapshots. So either the segments were lost, or the
// log was being restored.
func (s *snapshotFiles) checkAlone(unfinished []string) error {
	if err := s.checkOwner(); err != nil {
		return err
	}
	names := unfinished
	for _, p := range s.there {
		names = append(names, snapshotName(p))
	}
	if len(names) == 0 {
		return nil
	}
	return &CorruptionError{File: filepath.Join(s.w.dir, segmentName(1)),
		Reason: fmt.Sprintf("there is no log, while %s is there (if it was being restored from a backup: restore it again, into an empty directory)", names[0])}
}

// verify returns nil if the snapshot of a position is whole. The beginning of the
// log needs none.
func (s *snapshotFiles) verify(p position) error {
	if p == (position{}) {
		return nil
	}
	if !slices.Contains(s.there, p) {
		return &CorruptionError{File: s.w.snapshotPath(p), Reason: "the snapshot is missing, though the log records it"}
	}
	v := s.verdicts[p]
	if !v.read && v.err == nil {
		v = s.w.look(p, true)
		s.verdicts[p] = v
	}
	return v.err
}

// look reads the snapshot of a position: its header, or all of it.
func (w *WAL) look(p position, whole bool) verdict {
	r, file, size, err := w.openContainer(p)
	if err != nil {
		return verdict{size: size, err: err}
	}
	defer file.Close()
	v := verdict{read: whole, size: size, uid: r.Header().UID}
	if whole {
		if v.members, err = membersOf(r); err == nil {
			_, err = r.WriteTo(io.Discard)
		}
	}
	v.err = snapshotError(w.snapshotPath(p), err)
	return v
}

// membersOf reads the configuration that a snapshot carries, before its payload is read.
func membersOf(r *snapshot.Reader) (members.Version, error) {
	b, err := r.ReadConfiguration()
	if err != nil {
		return members.Version{}, err
	}
	v, err := members.DecodeVersion([]byte(b))
	var newer *members.UnknownError
	switch h := r.Header(); {
	case errors.As(err, &newer):
		return members.Version{}, &snapshot.VersionError{What: newer.What, Version: uint32(newer.Number)}
	case err != nil:
		return members.Version{}, &snapshot.CorruptionError{Reason: err.Error()}
	case v.Index > h.Index:
		return members.Version{}, &snapshot.CorruptionError{Reason: fmt.Sprintf("it carries the configuration of entry %d and ends at %d", v.Index, h.Index)}
	}
	return v, nil
}

// SnapshotMembers returns the configuration that the snapshot at a position carries,
// which was written here or received. It is zero if the snapshot carries none, or if a
// newer one is recorded here, which makes this one void. Any goroutine may call it.
func (w *WAL) SnapshotMembers(s core.Snapshot) (members.Version, error) {
	p := positionOf(s)
	w.mu.Lock()
	_, there := w.files[p]
	obsolete := p.index <= w.current.index
	w.mu.Unlock()
	switch {
	case !there && obsolete:
		return members.Version{}, nil
	case !there:
		return members.Version{}, fmt.Errorf("wal: there is no snapshot at index %d: %w", p.index, fs.ErrNotExist)
	}
	r, file, _, err := w.openContainer(p)
	if err != nil {
		return members.Version{}, err
	}
	defer file.Close()
	v, err := membersOf(r)
	return v, snapshotError(w.snapshotPath(p), err)
}

// openContainer opens the snapshot of a position and compares its header with its
// name and with the log's cluster.
func (w *WAL) openContainer(p position) (r *snapshot.Reader, file vfs.File, size int64, err error) {
	path := w.snapshotPath(p)
	if file, err = w.fs.Open(path); err != nil {
		return nil, nil, 0, diskError("opening", path, err)
	}
	if size, err = file.Size(); err != nil {
		err = diskError("asking for the size of", path, err)
	}
	if err == nil {
		r, err = w.readContainer(io.NewSectionReader(file, 0, size), path, p)
	}
	if err != nil {
		file.Close()
		return nil, nil, size, err
	}
	return r, file, size, nil
}

// readContainer reads the header of the snapshot in a file.
func (w *WAL) readContainer(from io.Reader, path string, p position) (*snapshot.Reader, error) {
	r, err := snapshot.NewReader(from)
	if err != nil {
		return nil, snapshotError(path, err)
	}
	h := r.Header()
	if w.clusterID != "" && h.ClusterID != w.clusterID {
		return nil, &IdentityError{File: path, ClusterID: h.ClusterID, WantClusterID: w.clusterID}
	}
	if h.Index != p.index || h.Term != p.term {
		return nil, &CorruptionError{File: path, Reason: fmt.Sprintf("the file says that it is the snapshot at index %d of term %d: it was renamed or copied over", h.Index, h.Term)}
	}
	return r, nil
}

// snapshotError gives an error of package snapshot the name of the file.
func snapshotError(path string, err error) error {
	var damage *snapshot.CorruptionError
	var version *snapshot.VersionError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &damage):
		return &CorruptionError{File: path, Offset: damage.Offset, Reason: damage.Reason}
	case errors.As(err, &version):
		return &VersionError{File: path, Version: version.Version, Newest: version.Newest, Cause: version}
	}
	return diskError("reading", path, err)
}

func (w *WAL) snapshotPath(p position) string { return filepath.Join(w.dir, snapshotName(p)) }

// remove removes a file of the log's directory, if it is there.
func (w *WAL) remove(name string) error {
	path := filepath.Join(w.dir, name)
	if err := w.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError("removing", path, err)
	}
	return nil
}
