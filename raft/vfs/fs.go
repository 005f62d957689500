// Package vfs is the seam between the durable parts of raftkv and the file
// system they write to.
//
// The mental model is a disk behind a cache. Every write, creation, renaming or
// removal is visible at once and durable only later: a file's bytes when
// [File.Sync] has returned, a directory's entries when [FS.SyncDir] has returned.
// In between, a power cut may keep any part of it. Code that is right under this
// model is right on every file system worth using.
//
// Three implementations share the interface:
//
//   - [OS] is the real file system.
//   - [Crashable] lives in memory and knows for every byte and every directory
//     entry whether it is durable, so that [Crashable.Crash] can cut the power
//     and [Crashable.Kill] can kill the process. Given the same calls and the
//     same seed, it always leaves the same disk behind.
//   - [Faulty] wraps one of them, counts operations, makes chosen ones fail
//     and calls a hook before each, which is where a simulator pulls the plug.
//
// The package knows nothing about logs, records or Raft. It starts no
// goroutine and reads no clock.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// FS is a file system. All methods may be called from several goroutines at
// once. Paths use the separators of the platform; errors satisfy errors.Is with
// fs.ErrNotExist and fs.ErrExist where these apply.
type FS interface {
	// MkdirAll creates dir, readable by its owner alone, and every missing
	// directory above it. A directory that exists already is left as it is.
	// The new entries are durable after SyncDir of the directories that hold
	// them.
	MkdirAll(dir string) error

	// Create makes an empty file and opens it. It fails with fs.ErrExist when
	// the name is taken: nothing is ever truncated by accident. The entry is
	// durable after SyncDir of its directory, the content after Sync.
	Create(name string) (File, error)

	// Open opens an existing regular file for reading and writing.
	Open(name string) (File, error)

	// Rename gives the file oldName the name newName, and replaces the file that
	// had that name before. Readers see the one or the other, never neither. It is
	// durable after SyncDir of the directory.
	Rename(oldName, newName string) error

	// Remove deletes a file or an empty directory. It is durable after SyncDir
	// of the directory.
	Remove(name string) error

	// List returns the base names of a directory's entries, sorted.
	List(dir string) ([]string, error)

	// SyncDir makes the entries of dir durable as they are now. Like Sync it
	// must not be tried again after a failure.
	SyncDir(dir string) error

	// Lock takes an exclusive lock on the file of that name, which it creates
	// when missing. It never waits: it fails with ErrLocked when any other
	// process, or another Lock in this one, holds it. Closing the result, or
	// the end of the process, gives the lock back. The result may be a Holder.
	Lock(name string) (io.Closer, error)
}

// File is an open file. ReadAt and WriteAt may be called from several
// goroutines at once as long as the ranges do not overlap; the rest belongs to
// one goroutine.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Sync makes the content durable, with the metadata that reading it back
	// takes: the size, but not the time of the last change. After an error it is
	// not known which bytes are durable. Another Sync proves nothing: the kernel
	// may have dropped the data and report success. The caller must give up.
	Sync() error

	// Truncate cuts the file to size bytes or extends it with zeros.
	Truncate(size int64) error

	// Size returns the length of the file in bytes.
	Size() (int64, error)

	// CheckName returns an error that satisfies errors.Is with ErrLost when name
	// leads to another file than this one, or to none. It returns nil when the
	// answer is not known.
	CheckName(name string) error

	// DropCache makes later reads see the content of the disk, where the platform
	// can do it. The two differ after a failed sync: the kernel may have called
	// data clean that it could not write, and go on showing it. Data that waits
	// for a sync is not dropped.
	DropCache()
}

// Errors in addition to those of package io/fs.
var (
	// ErrLocked says that another process, or another Lock in this one, holds the
	// lock.
	ErrLocked = errors.New("locked by another process or another open")
	// ErrCrashed is returned by every operation on a Crashable after its power was
	// cut or its process was killed.
	ErrCrashed = errors.New("the simulated machine has crashed")
	// ErrNotRegular says that a name does not belong to a regular file, but to a
	// symbolic link, a directory or a device.
	ErrNotRegular = errors.New("not a regular file")
)

// IsShortage reports whether err means that a file or directory could not be
// opened for lack of a file descriptor or of memory. The process or the machine
// may lack it. The failed call had no effect, so it may be made again; the error
// says nothing about the disk.
func IsShortage(err error) bool {
	var opening *fs.PathError
	if !errors.As(err, &opening) || opening.Op != "open" {
		return false
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN} {
		if errors.Is(opening.Err, errno) {
			return true
		}
	}
	return false
}

// IsNoSpace reports whether err means that the disk, or the owner's quota on it,
// is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
