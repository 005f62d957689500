package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Names in the directory of a log.
const (
	lockName       = "LOCK"
	spareName      = "spare"        // zeros, to become the next segment; see retiredName for old segments
	writingName    = "snapshot.tmp" // a snapshot that is being written
	receivingName  = "received.tmp" // a snapshot that is being received
	segmentSuffix  = ".wal"
	snapshotSuffix = ".snap"
)

// segmentName returns the name of the segment of a generation: 1, 2, 3, …
func segmentName(generation uint64) string {
	return fmt.Sprintf("%016x%s", generation, segmentSuffix)
}

// parseSegmentName is the reverse of segmentName.
func parseSegmentName(name string) (generation uint64, ok bool) {
	generation, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 16, 64)
	return generation, err == nil && generation > 0 && name == segmentName(generation)
}

// position is the point in the log up to which a snapshot goes. The log's
// beginning is the zero position.
type position struct {
	index, term uint64
}

func positionOf(s core.Snapshot) position { return position{s.Index, s.Term} }

// snapshotName returns the name of the snapshot of a position.
func snapshotName(p position) string {
	return fmt.Sprintf("%016x-%016x%s", p.index, p.term, snapshotSuffix)
}

// parseSnapshotName is the reverse of snapshotName.
func parseSnapshotName(name string) (p position, ok bool) {
	index, term, ok := strings.Cut(strings.TrimSuffix(name, snapshotSuffix), "-")
	if !ok {
		return position{}, false
	}
	var errs [2]error
	p.index, errs[0] = strconv.ParseUint(index, 16, 64)
	p.term, errs[1] = strconv.ParseUint(term, 16, 64)
	return p, errs == [2]error{} && name == snapshotName(p)
}

// Owns reports whether name is one that a log gives to a file in its directory.
func Owns(name string) bool {
	switch name {
	case lockName, spareName, writingName, receivingName:
		return true
	}
	if isRetiredName(name) {
		return true
	}
	_, segment := parseSegmentName(name)
	_, snapshot := parseSnapshotName(name)
	return segment || snapshot
}

// IsSegment reports whether a log gives such a name to a segment.
func IsSegment(name string) bool {
	_, is := parseSegmentName(name)
	return is
}

// listing is the content of a log's directory.
type listing struct {
	segments   []uint64   // generations, in order
	snapshots  []position // in order of their indexes
	unfinished []string   // snapshots that were being written or received
	retired    []string   // names of segments that wait to be used again
}

// list reads the names in dir. It fails at a name that has one of our suffixes
// and is not one of our names: such a file is a copy, or was renamed, and stops
// the server.
func list(fsys vfs.FS, dir string) (listing, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return listing{}, diskError("listing", dir, err)
	}
	l := listing{retired: listRetired(names)}
	for _, name := range names {
		generation, isSegment := parseSegmentName(name)
		at, isSnapshot := parseSnapshotName(name)
		switch {
		case isSegment:
			l.segments = append(l.segments, generation)
		case isSnapshot:
			l.snapshots = append(l.snapshots, at)
		case strings.HasSuffix(name, segmentSuffix), strings.HasSuffix(name, snapshotSuffix):
			return listing{}, fmt.Errorf("wal: %s is not a name that this log gives to a segment or snapshot: move it out of the directory if it is a copy, give it its own name back if it was renamed",
				filepath.Join(dir, name))
		case name == writingName, name == receivingName:
			l.unfinished = append(l.unfinished, name)
		}
	}
	return l, nil
}

// zeros fills files, and is compared with their content.
var zeros [256 << 10]byte

// writeZeros writes zeros from one offset up to another. It calls goOn before
// each piece and stops at its error.
func writeZeros(f vfs.File, from, to int64, goOn func() error) error {
	for from < to {
		if err := goOn(); err != nil {
			return err
		}
		n := min(to-from, int64(len(zeros)))
		if err := writeFull(f, zeros[:n], from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// always is a goOn that never stops.
func always() error { return nil }

// writeFull calls WriteAt. It adds the error that some file systems forget when
// they write less than was asked.
func writeFull(f vfs.File, b []byte, offset int64) error {
	n, err := f.WriteAt(b, offset)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// ensureDirectory creates dir and what is missing above it, each level durable
// before the next. The parent of a directory that exists already is synced too:
// an earlier start may have died between the two steps.
func ensureDirectory(fsys vfs.FS, dir string) error {
	parent := filepath.Dir(dir)
	if parent == dir {
		return nil
	}
	_, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := ensureDirectory(fsys, parent); err != nil {
			return err
		}
		if err := fsys.MkdirAll(dir); err != nil {
			return err
		}
		return fsys.SyncDir(parent)
	}
	if err != nil {
		return err
	}
	// A process that may not read the parent did not create the directory in it
	// either.
	if err := fsys.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
