package main

import (
	"errors"
	"strings"
	"syscall"

	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// before is asked about every operation on the disk.
func (d *disk) before(op vfs.Op) error {
	switch {
	case d.plug == 0:
		return vfs.ErrCrashed
	case d.plug > 0:
		d.plug--
	}
	if f := d.strike; f != nil && op.Kind == f.Kind {
		if f.Nth--; f.Nth == 0 {
			return f.Err
		}
	}
	if d.full > 0 && op.Kind == vfs.OpCreate {
		return syscall.ENOSPC // what is there can be written over
	}
	return nil
}

// drawDiskError draws the failure that the next save meets.
func drawDiskError(d dice) *vfs.Fault {
	switch d.IntN(4) {
	case 0:
		return &vfs.Fault{Kind: vfs.OpSync, Nth: 1, Err: syscall.EIO, Lie: true}
	case 1:
		return &vfs.Fault{Kind: vfs.OpSync, Nth: 1, Err: syscall.EIO}
	case 2:
		return &vfs.Fault{Kind: vfs.OpWrite, Nth: 1, Err: syscall.EIO, Short: d.IntN(100)}
	}
	return &vfs.Fault{Kind: vfs.OpWrite, Nth: 1, Err: syscall.ENOSPC, Short: d.IntN(100)}
}

// drawSpoiling draws the failure that the next snapshot meets.
func drawSpoiling(d dice) *vfs.Fault {
	kind := []vfs.Kind{vfs.OpCreate, vfs.OpWrite, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir}[d.IntN(6)]
	err := []error{syscall.EIO, syscall.ENOSPC, syscall.ENOSPC}[d.IntN(3)]
	if err == syscall.ENOSPC && (kind == vfs.OpSync || kind == vfs.OpSyncDir) {
		err = syscall.EIO // for lack of room, too, nobody knows what is durable then
	}
	return &vfs.Fault{Kind: kind, Nth: 1 + d.IntN(2), Err: err}
}

// rot changes a byte of a snapshot, or of a segment that is full: a server must
// never serve what it holds. (At the end of the log a damaged batch cannot always
// be told from one that a crash interrupted.)
func (d *disk) rot(dice dice, snapshots bool) bool {
	dir := "data/" + string(d.s.id)
	names, err := d.fs.List(dir)
	if err != nil {
		return false
	}
	var files []string
	segments := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".wal") {
			segments++
		}
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".wal") {
			if segments--; segments == 0 {
				continue // the last one
			}
		}
		if strings.HasSuffix(name, ".wal") || snapshots && strings.HasSuffix(name, ".snap") {
			files = append(files, name)
		}
	}
	if len(files) == 0 {
		return false
	}
	d.rotFile = dir + "/" + files[dice.IntN(len(files))]
	d.rotten = d.flip(dice.Uint64())
	return d.rotten
}

// flip changes one bit of the file that rots, durably; a second time it changes
// it back.
func (d *disk) flip(at uint64) bool {
	f, err := d.fs.Open(d.rotFile)
	if err != nil {
		return false
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size == 0 {
		return false
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], int64(at%uint64(size))); err != nil {
		return false
	}
	b[0] ^= 1 << (at >> 32 % 8)
	_, err = f.WriteAt(b[:], int64(at%uint64(size)))
	d.rotAt = at
	return err == nil && f.Sync() == nil
}

// mended repairs a disk that was refused for the damage done to it, as an
// operator would with a copy.
func (d *disk) mended(err error) bool {
	var damage *wal.CorruptionError
	if !errors.As(err, &damage) {
		return false
	}
	d.s.w.counts.DamagedSegments++
	d.rotten = false
	return d.flip(d.rotAt)
}
