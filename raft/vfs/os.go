package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// Modes of the files that OS creates. A log holds the data of every client, so
// only its owner may read it.
const (
	fileMode      fs.FileMode = 0o600
	directoryMode fs.FileMode = 0o700
)

// OS is the file system of the operating system. It never opens a symbolic link
// in place of a file, where the platform can tell: a link planted in the data
// directory must not lead writes elsewhere. (The data directory itself may be
// reached through one.)
//
// The zero value is ready for use; see NewOS for one that keeps directories open.
type OS struct {
	kept *keptDirs // nil: directories are opened for each SyncDir
}

// MkdirAll implements FS.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, directoryMode) }

// Create implements FS.
func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	return newOSFile(f)
}

// Open implements FS.
func (OS) Open(name string) (File, error) {
	f, err := openRegular(name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	return newOSFile(f)
}

// Rename implements FS.
func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// List implements FS.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir implements FS.
func (o OS) SyncDir(dir string) error {
	if done, err := o.syncKept(dir); done {
		return err
	}
	return syncDir(dir)
}

// Lock implements FS. The result is a Holder.
func (o OS) Lock(name string) (io.Closer, error) {
	l, err := o.lock(name)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// openRegular opens name unless it is a link, a device or a directory.
func openRegular(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, flag|noFollow, fileMode)
	if err != nil {
		if isSymlinkError(err) {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("a symbolic link: %w", ErrNotRegular)}
		}
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// osFile is an open file of the operating system.
type osFile struct {
	*os.File
	dataSync func() error
}

func newOSFile(f *os.File) (File, error) {
	dataSync, err := dataSyncer(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osFile{File: f, dataSync: dataSync}, nil
}

// Sync implements File with the cheapest call that makes data durable.
func (f *osFile) Sync() error { return f.dataSync() }

// DropCache implements File.
func (f *osFile) DropCache() { dropCache(f.File) }

// Size implements File.
func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
