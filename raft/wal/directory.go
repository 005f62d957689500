package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"raftkv/raft/vfs"
)

// Names in the directory of a log.
const (
	lockName      = "LOCK"
	spareName     = "spare" // zeros, to become the next segment
	segmentSuffix = ".wal"
)

// segmentName is the name of the segment of a generation: 1, 2, 3, …
func segmentName(generation uint64) string {
	return fmt.Sprintf("%016x%s", generation, segmentSuffix)
}

// parseSegmentName is the reverse of segmentName.
func parseSegmentName(name string) (generation uint64, ok bool) {
	generation, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 16, 64)
	return generation, err == nil && generation > 0 && name == segmentName(generation)
}

// listSegments returns the generations of the segments in dir, in order.
func listSegments(fsys vfs.FS, dir string) ([]uint64, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, diskError("listing", dir, err)
	}
	var generations []uint64
	for _, name := range names {
		if !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		generation, ok := parseSegmentName(name)
		if !ok {
			return nil, fmt.Errorf("wal: %s is not a name that this log gives to a segment: move it out of the directory if it is a copy, give it its own name back if it was renamed",
				filepath.Join(dir, name))
		}
		generations = append(generations, generation)
	}
	return generations, nil
}

// zeros is what files are filled with and compared to.
var zeros [256 << 10]byte

// writeZeros writes zeros from one offset up to another. Between pieces it asks
// whether to go on.
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

// writeFull is WriteAt for file systems that forget to say why they wrote less.
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
	// Whoever may not read the parent did not create the directory in it either.
	if err := fsys.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
