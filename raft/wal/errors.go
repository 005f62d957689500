package wal

import (
	"errors"
	"fmt"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// ErrClosed is returned by every use of a WAL after Close.
var ErrClosed = errors.New("wal: the log is closed")

// CorruptionError says that bytes which were durable once are damaged or
// missing. Nothing was changed on the disk.
type CorruptionError struct {
	File   string // path of the damaged or missing file
	Offset int64  // of the first bad byte or record in it
	Reason string
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("wal: %s is damaged at byte %d: %s; a server that forgot something must not vote or answer, so this one does not start: "+
		"keep a copy of the directory, check the disk, and start the server with --rejoin on an empty directory",
		e.File, e.Offset, e.Reason)
}

// IdentityError says that a data directory belongs to another server, or that a
// snapshot is another cluster's. A snapshot has no node id.
type IdentityError struct {
	File                      string
	ClusterID, NodeID         string // what the file says
	WantClusterID, WantNodeID string // what Open was asked for
}

func (e *IdentityError) Error() string {
	if e.NodeID == "" {
		return fmt.Sprintf("wal: the snapshot %s is of cluster %q, not of cluster %q: move it out of the directory", e.File, e.ClusterID, e.WantClusterID)
	}
	return fmt.Sprintf("wal: %s belongs to node %q of cluster %q, not to node %q of cluster %q: "+
		"point this server at its own data directory, or correct its node and cluster ids",
		e.File, e.NodeID, e.ClusterID, e.WantNodeID, e.WantClusterID)
}

// ErrObsolete says that a newer snapshot was recorded while this one was being
// written.
var ErrObsolete = errors.New("a newer snapshot is recorded already")

// VersionError says that a file holds something of a version that this code does
// not know. In most cases a newer raftkv wrote it.
type VersionError struct {
	File    string
	Version uint32 // of the file
	Newest  uint32 // the newest that this code reads; for segments it is the only one
	// Cause is the error of package snapshot, if the file is a snapshot. It may
	// then be about a part of the format and not the whole.
	Cause error
}

func (e *VersionError) Error() string {
	switch {
	case e.Cause != nil:
		return fmt.Sprintf("wal: %s: %v", e.File, e.Cause)
	case e.Version < e.Newest:
		return fmt.Sprintf("wal: %s has format version %d: log version %d was never released; start with an empty directory", e.File, e.Version, e.Version)
	}
	return fmt.Sprintf("wal: %s has format version %d, this raftkv reads versions up to %d: start the newer raftkv that wrote it",
		e.File, e.Version, e.Newest)
}

// UnknownError says that a file holds something of the present format version
// that this build does not know. Skipping it could lose acknowledged writes, so
// the server does not start. Nothing was changed on the disk.
type UnknownError struct {
	File   string // path of the file
	Offset int64  // of the record in it
	What   string // the unknown thing, with its number
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("wal: %s has at byte %d %s, which this raftkv does not know: start the newer raftkv that wrote it", e.File, e.Offset, e.What)
}

// unknown makes an UnknownError that names the unknown thing.
func unknown(format string, args ...any) error {
	return &UnknownError{What: fmt.Sprintf(format, args...)}
}

// judged returns the error of a record that is whole and must not be taken. A
// thing that this build does not know is named in an UnknownError. Everything
// else is damage, described in the words given.
func judged(err error, file string, offset int64, format string, args ...any) error {
	var kind *core.UnknownKindError
	var what *UnknownError
	switch {
	case errors.As(err, &kind):
		return &UnknownError{File: file, Offset: offset, What: fmt.Sprintf("log entry %d of %s", kind.Index, kind.What())}
	case errors.As(err, &what):
		return &UnknownError{File: file, Offset: offset, What: what.What}
	}
	return &CorruptionError{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// diskError wraps the error of a file-system operation on path; doing names the
// step that it was part of.
func diskError(doing, path string, err error) error {
	if vfs.IsNoSpace(err) {
		return fmt.Errorf("wal: %s %s: the disk is full: free some space and start the server again, nothing acknowledged is lost: %w", doing, path, err)
	}
	return fmt.Errorf("wal: %s %s: %w", doing, path, err)
}
