package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// ErrLost says that a name no longer leads to the file that was opened or locked
// under it, but to another file or to none.
var ErrLost = errors.New("moved, removed or replaced while it was in use")

// Holder is implemented by locks that know whether their names still lead to the
// locked files. A lock is taken on a file and not on its name: once the name
// leads elsewhere, another process can take a lock of the same name.
type Holder interface {
	// Held returns an error that satisfies errors.Is with ErrLost when a name
	// leads elsewhere. It returns nil when the answer is not known at the moment.
	Held() error
}

// keptDirs are the directories that a file system keeps open, by cleaned path.
type keptDirs struct {
	mu  sync.Mutex
	all map[string]*os.File
}

// NewOS returns an OS that keeps the directory of every lock open until the lock
// is given back. SyncDir of such a directory needs no new file descriptor, so it
// cannot fail for lack of one.
func NewOS() OS { return OS{kept: &keptDirs{all: map[string]*os.File{}}} }

// osLock is a lock on a file and, where the platform can do it, on the directory
// that the file is in. The file alone could be removed from under the lock.
type osLock struct {
	on      OS
	name    string
	file    *os.File
	dir     *os.File
	wholeAt bool // the directory is locked as well
}

// lock takes both locks.
func (o OS) lock(name string) (*osLock, error) {
	file, err := openRegular(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	l := &osLock{on: o, name: name, file: file}
	if err := lockFile(file); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: name, Err: err}, file.Close())
	}
	dir := filepath.Dir(name)
	if l.dir, err = os.Open(dir); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	err = lockFile(l.dir)
	if errors.Is(err, ErrLocked) {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: dir, Err: err}, l.dir.Close(), file.Close())
	}
	l.wholeAt = err == nil // some file systems lock files only
	o.keep(dir, l.dir)
	return l, nil
}

// Held implements Holder.
func (l *osLock) Held() error {
	if err := sameAs(l.dir, filepath.Dir(l.name), os.Stat); err != nil {
		return err
	}
	if l.wholeAt {
		return nil
	}
	return sameAs(l.file, l.name, os.Lstat)
}

// Close gives the locks back.
func (l *osLock) Close() error {
	l.on.forget(filepath.Dir(l.name), l.dir)
	return errors.Join(l.dir.Close(), l.file.Close())
}

// sameAs returns nil if a name leads to an open file, and an error with ErrLost
// if it leads elsewhere.
func sameAs(f *os.File, name string, stat func(string) (os.FileInfo, error)) error {
	open, err := f.Stat()
	if err != nil {
		return nil // it was closed, or the disk does not answer
	}
	there, err := stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", name, ErrLost)
	case err == nil && !os.SameFile(open, there):
		return fmt.Errorf("%s: %w", name, ErrLost)
	}
	return nil
}

func (o OS) keep(dir string, f *os.File) {
	if o.kept == nil {
		return
	}
	o.kept.mu.Lock()
	defer o.kept.mu.Unlock()
	o.kept.all[filepath.Clean(dir)] = f
}

func (o OS) forget(dir string, f *os.File) {
	if o.kept == nil {
		return
	}
	o.kept.mu.Lock()
	defer o.kept.mu.Unlock()
	if o.kept.all[filepath.Clean(dir)] == f {
		delete(o.kept.all, filepath.Clean(dir))
	}
}

// syncKept syncs a directory that is kept open; done is false if it is not.
func (o OS) syncKept(dir string) (done bool, err error) {
	if o.kept == nil {
		return false, nil
	}
	o.kept.mu.Lock()
	f := o.kept.all[filepath.Clean(dir)]
	o.kept.mu.Unlock()
	if f == nil {
		return false, nil
	}
	return true, syncOpenDir(f)
}

// CheckName implements File.
func (f *osFile) CheckName(name string) error { return sameAs(f.File, name, os.Lstat) }

var _ interface {
	io.Closer
	Holder
} = (*osLock)(nil)
