package vfs

import (
	"fmt"
	"io"
	"sync"
)

// Kind is a kind of operation on a file system or a file.
type Kind uint8

// The kinds, named as the methods.
const (
	OpMkdirAll Kind = iota
	OpCreate
	OpOpen
	OpRename
	OpRemove
	OpList
	OpSyncDir
	OpLock
	OpRead
	OpWrite
	OpSync
	OpTruncate
	OpSize
	OpClose
	kinds
)

// Kinds lists all of them.
var Kinds = func() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}()

func (k Kind) String() string {
	names := [kinds]string{"mkdirall", "create", "open", "rename", "remove", "list", "syncdir",
		"lock", "read", "write", "sync", "truncate", "size", "close"}
	if k < kinds {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Op is one operation that is about to happen.
type Op struct {
	Kind Kind
	Path string // of the file or directory; the old name of a rename
	Nth  int    // number of operations of its kind so far, this one included
	Step int    // number of operations so far, this one included
}

// Fault makes an operation fail.
type Fault struct {
	Kind Kind
	Nth  int   // the operation of that kind it strikes, from 1; see Op.Nth
	Err  error // the error that the operation returns; io errors such as syscall.EIO
	// Sticky makes all later operations of the kind fail too.
	Sticky bool
	// Short lets this many bytes of a write through before it fails.
	Short int
	// Lie makes a failed Sync count its data as clean, so that the next Sync
	// succeeds and a power cut still loses the data. The file system underneath
	// must be a Crashable.
	Lie bool
}

// Faulty is a file system that fails on demand. It counts the operations that
// pass through it, makes the chosen ones fail, and calls a hook before each. It
// may be used by several goroutines at once.
type Faulty struct {
	inner FS

	mu     sync.Mutex // guards what follows
	hook   func(Op) error
	faults []Fault
	counts [kinds]int
	steps  int
}

// NewFaulty wraps inner. Without faults and a hook it only counts.
func NewFaulty(inner FS) *Faulty { return &Faulty{inner: inner} }

// Inject adds a fault. Several may be pending at once; the first that fits
// strikes.
func (f *Faulty) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fault)
}

// Hook makes hook run before every operation. If it returns an error, the
// operation does not happen and returns that error. The hook may crash the
// Crashable underneath: that is a crash between two operations. nil removes it.
func (f *Faulty) Hook(hook func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// Count returns the number of operations of a kind that were asked for, including
// the failed ones.
func (f *Faulty) Count(kind Kind) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[kind]
}

// Steps returns the number of operations of all kinds that were asked for.
func (f *Faulty) Steps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(dir string) error {
	return f.plain(OpMkdirAll, dir, func() error { return f.inner.MkdirAll(dir) })
}

// Create implements FS.
func (f *Faulty) Create(name string) (File, error) { return f.open(OpCreate, name, f.inner.Create) }

// Open implements FS.
func (f *Faulty) Open(name string) (File, error) { return f.open(OpOpen, name, f.inner.Open) }

// Rename implements FS.
func (f *Faulty) Rename(oldName, newName string) error {
	return f.plain(OpRename, oldName, func() error { return f.inner.Rename(oldName, newName) })
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	return f.plain(OpRemove, name, func() error { return f.inner.Remove(name) })
}

// List implements FS.
func (f *Faulty) List(dir string) (names []string, err error) {
	err = f.plain(OpList, dir, func() error {
		names, err = f.inner.List(dir)
		return err
	})
	return names, err
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(dir string) error {
	return f.plain(OpSyncDir, dir, func() error { return f.inner.SyncDir(dir) })
}

// Lock implements FS.
func (f *Faulty) Lock(name string) (lock io.Closer, err error) {
	err = f.plain(OpLock, name, func() error {
		lock, err = f.inner.Lock(name)
		return err
	})
	return lock, err
}

func (f *Faulty) open(kind Kind, name string, open func(string) (File, error)) (File, error) {
	var file File
	err := f.plain(kind, name, func() (err error) {
		file, err = open(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &faultyFile{fs: f, name: name, inner: file}, nil
}

// plain runs an operation that either happens or does not.
func (f *Faulty) plain(kind Kind, name string, run func() error) error {
	if _, err := f.before(kind, name); err != nil {
		return err
	}
	return run()
}

// before counts an operation, runs the hook and looks for a fault that strikes.
// The hook runs without the lock, so that it may use f itself.
func (f *Faulty) before(kind Kind, name string) (Fault, error) {
	f.mu.Lock()
	f.counts[kind]++
	f.steps++
	op := Op{Kind: kind, Path: name, Nth: f.counts[kind], Step: f.steps}
	hook := f.hook
	var strikes Fault
	for _, fault := range f.faults {
		if fault.Kind == kind && (fault.Nth == op.Nth || fault.Sticky && fault.Nth < op.Nth) {
			strikes = fault
			break
		}
	}
	f.mu.Unlock()
	if hook != nil {
		if err := hook(op); err != nil {
			return Fault{}, fmt.Errorf("%s %s: %w", kind, name, err)
		}
	}
	if strikes.Err != nil {
		return strikes, fmt.Errorf("%s %s (number %d): %w", kind, name, op.Nth, strikes.Err)
	}
	return Fault{}, nil
}

// faultyFile is an open file of a Faulty.
type faultyFile struct {
	fs    *Faulty
	name  string
	inner File
}

// ReadAt implements io.ReaderAt.
func (f *faultyFile) ReadAt(p []byte, offset int64) (int, error) {
	if _, err := f.fs.before(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.inner.ReadAt(p, offset)
}

// WriteAt implements io.WriterAt.
func (f *faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	fault, err := f.fs.before(OpWrite, f.name)
	if err == nil {
		return f.inner.WriteAt(p, offset)
	}
	short := min(fault.Short, len(p))
	if short == 0 {
		return 0, err
	}
	n, inner := f.inner.WriteAt(p[:short], offset)
	if inner != nil {
		return n, inner
	}
	return n, err
}

// Sync implements File.
func (f *faultyFile) Sync() error {
	fault, err := f.fs.before(OpSync, f.name)
	if err == nil {
		return f.inner.Sync()
	}
	if fault.Lie {
		forgetful, ok := f.inner.(interface{ forgetPending() error })
		if !ok {
			panic("vfs: Fault.Lie needs a Crashable underneath")
		}
		if inner := forgetful.forgetPending(); inner != nil {
			return inner
		}
	}
	return err
}

// Truncate implements File.
func (f *faultyFile) Truncate(size int64) error {
	return f.fs.plain(OpTruncate, f.name, func() error { return f.inner.Truncate(size) })
}

// DropCache implements File. It is no operation: it can neither fail nor change
// the disk.
func (f *faultyFile) DropCache() { f.inner.DropCache() }

// CheckName implements File. It is no operation, as DropCache.
func (f *faultyFile) CheckName(name string) error { return f.inner.CheckName(name) }

// Size implements File.
func (f *faultyFile) Size() (int64, error) {
	if _, err := f.fs.before(OpSize, f.name); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

// Close implements io.Closer. The inner file is closed even when the operation
// is made to fail, as the kernel does.
func (f *faultyFile) Close() error {
	_, err := f.fs.before(OpClose, f.name)
	inner := f.inner.Close()
	if err != nil {
		return err
	}
	return inner
}
