package flight

import (
	"errors"
	"io/fs"
	"path/filepath"

	"raftkv/kvserver/recorder"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
)

// directory returns where the flight files of a data directory are.
func directory(dataDir string) string { return filepath.Join(dataDir, datadir.FlightDir) }

// disk is the recorder.Disk of a directory. Nothing in it is synced.
type disk struct {
	fs   vfs.FS
	dir  string
	name string   // of the file that is open
	file vfs.File // nil: none is
}

// Read implements recorder.Disk.
func (d *disk) Read(name string) ([]byte, error) {
	f, err := d.fs.Open(filepath.Join(d.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	content := make([]byte, min(size, recorder.MaxFileBytes))
	n, err := f.ReadAt(content, 0)
	if n == len(content) {
		err = nil
	}
	return content[:n], err
}

// Cut implements recorder.Disk.
func (d *disk) Cut(name string, size int64) error {
	if err := d.open(name); err != nil {
		return err
	}
	return d.file.Truncate(size)
}

// Write implements recorder.Disk.
func (d *disk) Write(name string, at int64, b []byte) error {
	if err := d.open(name); err != nil {
		return err
	}
	_, err := d.file.WriteAt(b, at)
	return err
}

// open opens a file and closes the one before. It makes what is missing.
func (d *disk) open(name string) error {
	if d.file != nil && d.name == name {
		return nil
	}
	d.close()
	path := filepath.Join(d.dir, name)
	file, err := d.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = d.fs.MkdirAll(d.dir); err == nil {
			file, err = d.fs.Create(path)
		}
	}
	if err != nil {
		return err
	}
	d.name, d.file = name, file
	return nil
}

// close closes the file that is open.
func (d *disk) close() {
	if d.file != nil {
		d.file.Close() // nothing in it was to be durable
		d.file = nil
	}
}

// ReadDirectory reads the flight files of a node's data directory, oldest boot first.
// The node may run meanwhile.
func ReadDirectory(fsys vfs.FS, dataDir string) ([]recorder.Ring, error) {
	d := &disk{fs: fsys, dir: directory(dataDir)}
	return recorder.ReadFiles(d)
}
