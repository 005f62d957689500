package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Crashable is a file system in memory that remembers which of its content is
// durable. Use it like any other. Then Crash cuts the power and returns the disk
// as the next boot finds it; Kill ends the process but not the machine. After
// either, the Crashable itself, its open files and its locks are dead.
//
// It is more hostile than any real disk on purpose: entries of one directory
// reach the disk in any order, and syncing a file says nothing about its name.
type Crashable struct {
	mu    sync.Mutex // guards everything below, and every node reachable from root
	dead  bool
	root  *node
	locks map[string]bool
}

// NewCrashable returns an empty file system. Its root, "/" or ".", is durable.
func NewCrashable() *Crashable {
	return &Crashable{root: newDirectory(), locks: map[string]bool{}}
}

// MkdirAll implements FS.
func (c *Crashable) MkdirAll(dir string) error {
	return c.do("mkdir", dir, func() error {
		at := c.root
		for _, name := range split(dir) {
			next := at.live[name]
			if next == nil {
				next = newDirectory()
				at.change(entryChange{add: name, target: next})
			}
			if !next.isDirectory() {
				return errNotDirectory
			}
			at = next
		}
		return nil
	})
}

// Create implements FS.
func (c *Crashable) Create(name string) (f File, err error) {
	err = c.do("create", name, func() error {
		dir, base, err := c.parent(name)
		if err != nil {
			return err
		}
		if dir.live[base] != nil {
			return fs.ErrExist
		}
		n := &node{}
		dir.change(entryChange{add: base, target: n})
		f = &crashableFile{fs: c, name: name, node: n}
		return nil
	})
	return f, err
}

// Open implements FS.
func (c *Crashable) Open(name string) (f File, err error) {
	err = c.do("open", name, func() error {
		n, err := c.lookup(name)
		if err != nil {
			return err
		}
		if n.isDirectory() {
			return ErrNotRegular
		}
		f = &crashableFile{fs: c, name: name, node: n}
		return nil
	})
	return f, err
}

// Rename implements FS.
func (c *Crashable) Rename(oldName, newName string) error {
	return c.do("rename", oldName, func() error {
		from, oldBase, err := c.parent(oldName)
		if err != nil {
			return err
		}
		to, newBase, err := c.parent(newName)
		if err != nil {
			return err
		}
		n := from.live[oldBase]
		if n == nil {
			return fs.ErrNotExist
		}
		if from == to {
			from.change(entryChange{remove: oldBase, add: newBase, target: n})
			return nil
		}
		to.change(entryChange{add: newBase, target: n})
		from.change(entryChange{remove: oldBase})
		return nil
	})
}

// Remove implements FS.
func (c *Crashable) Remove(name string) error {
	return c.do("remove", name, func() error {
		dir, base, err := c.parent(name)
		if err != nil {
			return err
		}
		n := dir.live[base]
		if n == nil {
			return fs.ErrNotExist
		}
		if len(n.live) > 0 {
			return errNotEmpty
		}
		dir.change(entryChange{remove: base})
		return nil
	})
}

// List implements FS.
func (c *Crashable) List(dir string) (names []string, err error) {
	err = c.do("list", dir, func() error {
		n, err := c.directory(dir)
		if err != nil {
			return err
		}
		names = slices.Sorted(maps.Keys(n.live))
		return nil
	})
	return names, err
}

// SyncDir implements FS.
func (c *Crashable) SyncDir(dir string) error {
	return c.do("syncdir", dir, func() error {
		n, err := c.directory(dir)
		if err != nil {
			return err
		}
		n.synced = maps.Clone(n.live)
		n.pendingEntries = nil
		return nil
	})
}

// Lock implements FS.
func (c *Crashable) Lock(name string) (lock io.Closer, err error) {
	err = c.do("lock", name, func() error {
		dir, base, err := c.parent(name)
		if err != nil {
			return err
		}
		key := strings.Join(split(name), "/")
		if c.locks[key] {
			return ErrLocked
		}
		if dir.live[base] == nil {
			dir.change(entryChange{add: base, target: &node{}})
		}
		c.locks[key] = true
		lock = &crashableLock{fs: c, key: key}
		return nil
	})
	return lock, err
}

// do runs one operation under the lock, unless the machine is dead, and puts
// the path into its error.
func (c *Crashable) do(op, name string, run func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := ErrCrashed
	if !c.dead {
		err = run()
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// lookup finds the node of a path.
func (c *Crashable) lookup(name string) (*node, error) {
	at := c.root
	for _, part := range split(name) {
		if !at.isDirectory() {
			return nil, errNotDirectory
		}
		if at = at.live[part]; at == nil {
			return nil, fs.ErrNotExist
		}
	}
	return at, nil
}

// directory finds the node of a directory.
func (c *Crashable) directory(name string) (*node, error) {
	n, err := c.lookup(name)
	if err == nil && !n.isDirectory() {
		err = errNotDirectory
	}
	return n, err
}

// parent finds the directory that holds, or would hold, the name.
func (c *Crashable) parent(name string) (dir *node, base string, err error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", fs.ErrInvalid
	}
	last := len(parts) - 1
	dir, err = c.directory(strings.Join(parts[:last], "/"))
	return dir, parts[last], err
}

// split cuts a path into its names; "/", "." and "" have none.
func split(name string) []string {
	clean := strings.Trim(path.Clean("/"+filepath.ToSlash(name)), "/")
	if clean == "" {
		return nil
	}
	return strings.Split(clean, "/")
}

var (
	errNotDirectory = errors.New("not a directory")
	errNotEmpty     = errors.New("directory not empty")
)

// crashableLock is a held lock; it dies with its file system.
type crashableLock struct {
	fs  *Crashable
	key string
}

// Close gives the lock back.
func (l *crashableLock) Close() error {
	return l.fs.do("unlock", l.key, func() error {
		if !l.fs.locks[l.key] {
			return fs.ErrClosed
		}
		delete(l.fs.locks, l.key)
		return nil
	})
}
