package stage

import (
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"raftkv/raft/vfs"
)

// Disk is a file system that can be slow, hang, fail, or be that of a process that is gone.
// It may be used by several goroutines at once.
type Disk struct {
	vfs.FS

	mu    sync.Mutex // guards the fields below
	delay time.Duration
	hung  chan struct{} // closed when the disk goes on; nil: it does not hang
	err   error         // of every change; nil: there is none
	lost  error         // of every sync; nil: there is none
}

// NewDisk returns a disk that does what inner does.
func NewDisk(inner vfs.FS) *Disk { return &Disk{FS: inner} }

// errKilled is that of every change by a process that is gone.
var errKilled = errors.New("the process is gone")

// Slow makes every sync take this much longer; 0: not any more.
func (d *Disk) Slow(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = by
}

// Hang keeps every write and sync from ending until Go is called.
func (d *Disk) Hang() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hung == nil {
		d.hung = make(chan struct{})
	}
}

// Go ends Hang.
func (d *Disk) Go() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hung != nil {
		close(d.hung)
		d.hung = nil
	}
}

// Fail makes every change fail from now on, with what hangs. nil: not any more.
func (d *Disk) Fail(err error) {
	d.mu.Lock()
	d.err = err
	d.mu.Unlock()
	d.Go()
}

// FailSyncs makes every sync fail from now on, while writes go on. nil: not any more.
func (d *Disk) FailSyncs(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = err
}

// State says how the disk is; "" if it is as usual.
func (d *Disk) State() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.hung != nil:
		return "hangs"
	case d.delay > 0:
		return "slow by " + d.delay.String()
	}
	return ""
}

// change waits as long as the disk makes a change wait, and returns why it fails.
func (d *Disk) change(op, path string, syncs bool) error {
	d.mu.Lock()
	hung, delay := d.hung, d.delay
	d.mu.Unlock()
	if hung != nil {
		<-hung
	}
	if syncs && delay > 0 {
		time.Sleep(delay)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.err
	if err == nil && syncs {
		err = d.lost
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

// MkdirAll implements vfs.FS.
func (d *Disk) MkdirAll(dir string) error {
	if err := d.change("mkdir", dir, false); err != nil {
		return err
	}
	return d.FS.MkdirAll(dir)
}

// Create implements vfs.FS.
func (d *Disk) Create(name string) (vfs.File, error) {
	if err := d.change("create", name, false); err != nil {
		return nil, err
	}
	return d.wrap(name)(d.FS.Create(name))
}

// Open implements vfs.FS.
func (d *Disk) Open(name string) (vfs.File, error) { return d.wrap(name)(d.FS.Open(name)) }

// Rename implements vfs.FS.
func (d *Disk) Rename(oldName, newName string) error {
	if err := d.change("rename", oldName, false); err != nil {
		return err
	}
	return d.FS.Rename(oldName, newName)
}

// Remove implements vfs.FS.
func (d *Disk) Remove(name string) error {
	if err := d.change("remove", name, false); err != nil {
		return err
	}
	return d.FS.Remove(name)
}

// SyncDir implements vfs.FS.
func (d *Disk) SyncDir(dir string) error {
	if err := d.change("sync", dir, true); err != nil {
		return err
	}
	return d.FS.SyncDir(dir)
}

// Lock implements vfs.FS.
func (d *Disk) Lock(name string) (io.Closer, error) { return d.FS.Lock(name) }

func (d *Disk) wrap(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		return &file{f, d, name}, nil
	}
}

// file is an open file on a Disk.
type file struct {
	vfs.File
	disk *Disk
	name string
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(b []byte, at int64) (int, error) {
	if err := f.disk.change("write", f.name, false); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	if err := f.disk.change("sync", f.name, true); err != nil {
		return err
	}
	return f.File.Sync()
}

// Truncate implements vfs.File.
func (f *file) Truncate(size int64) error {
	if err := f.disk.change("truncate", f.name, false); err != nil {
		return err
	}
	return f.File.Truncate(size)
}
