package vfs

import (
	"io"
	"io/fs"
	"os"
)

// ReadOnly is the file system of the operating system for a reader. It opens
// files for reading, and refuses every change with fs.ErrPermission, so that no
// bug can make one.
type ReadOnly struct{ OS }

// Open implements FS. The file cannot be written to.
func (ReadOnly) Open(name string) (File, error) {
	f, err := openRegular(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return newOSFile(f)
}

// MkdirAll implements FS by refusing.
func (ReadOnly) MkdirAll(dir string) error { return refuse("mkdir", dir) }

// Create implements FS by refusing.
func (ReadOnly) Create(name string) (File, error) { return nil, refuse("create", name) }

// Rename implements FS by refusing.
func (ReadOnly) Rename(oldName, _ string) error { return refuse("rename", oldName) }

// Remove implements FS by refusing.
func (ReadOnly) Remove(name string) error { return refuse("remove", name) }

// SyncDir implements FS by refusing.
func (ReadOnly) SyncDir(dir string) error { return refuse("sync", dir) }

// Lock implements FS by refusing: it would have to create the file.
func (ReadOnly) Lock(name string) (io.Closer, error) { return nil, refuse("lock", name) }

func refuse(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission}
}
