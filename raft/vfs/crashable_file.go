package vfs

import (
	"io"
	"io/fs"
	"slices"
)

// node is a file or a directory of a Crashable, apart from its name.
type node struct {
	// A directory's entries: as every reader sees them, the least that a power cut
	// leaves of them, and the changes between the two, in order. live is nil for a
	// file.
	live           map[string]*node
	synced         map[string]*node
	pendingEntries []entryChange

	// A file's bytes, likewise.
	content        []byte
	syncedContent  []byte
	pendingContent []contentChange
}

// entryChange is one change of a directory: an entry taken away, an entry put
// in, or both at once, which is a rename.
type entryChange struct {
	remove string // "" for none
	add    string // "" for none
	target *node  // what add names
}

// contentChange is one write, or a change of the length to offset bytes.
type contentChange struct {
	offset   int64
	data     []byte
	truncate bool
}

func newDirectory() *node {
	return &node{live: map[string]*node{}, synced: map[string]*node{}}
}

func (n *node) isDirectory() bool { return n.live != nil }

// change applies a change to the visible entries and keeps it as pending.
func (n *node) change(change entryChange) {
	change.applyTo(n.live)
	n.pendingEntries = append(n.pendingEntries, change)
}

func (change entryChange) applyTo(entries map[string]*node) {
	if change.remove != "" {
		delete(entries, change.remove)
	}
	if change.add != "" {
		entries[change.add] = change.target
	}
}

// applyTo returns content after the change; content may be overwritten.
func (change contentChange) applyTo(content []byte) []byte {
	if change.truncate {
		return resize(content, change.offset)
	}
	end := change.offset + int64(len(change.data))
	if end > int64(len(content)) {
		content = resize(content, end)
	}
	copy(content[change.offset:end], change.data)
	return content
}

// resize returns content cut or zero-extended to size bytes. Its allocations
// double, so that a file of zeros written in pieces costs no more than its size.
func resize(content []byte, size int64) []byte {
	old := int64(len(content))
	if size <= old {
		return content[:size:size]
	}
	if size > int64(cap(content)) {
		content = slices.Grow(content, int(max(size, 2*old)-old))
	}
	content = content[:size]
	clear(content[old:])
	return content
}

// crashableFile is an open file of a Crashable. It outlives its name, as files
// do.
type crashableFile struct {
	fs     *Crashable
	name   string
	node   *node
	closed bool // guarded by fs.mu
}

// ReadAt implements io.ReaderAt.
func (f *crashableFile) ReadAt(p []byte, offset int64) (n int, err error) {
	var end error
	err = f.do("read", func() error {
		if offset < 0 {
			return fs.ErrInvalid
		}
		if offset < int64(len(f.node.content)) {
			n = copy(p, f.node.content[offset:])
		}
		if n < len(p) {
			end = io.EOF
		}
		return nil
	})
	if err == nil {
		err = end // bare, as io.ReaderAt has it
	}
	return n, err
}

// WriteAt implements io.WriterAt.
func (f *crashableFile) WriteAt(p []byte, offset int64) (int, error) {
	err := f.change("write", contentChange{offset: offset, data: append([]byte(nil), p...)})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Truncate implements File.
func (f *crashableFile) Truncate(size int64) error {
	return f.change("truncate", contentChange{offset: size, truncate: true})
}

// Sync implements File.
func (f *crashableFile) Sync() error {
	return f.do("sync", func() error {
		n := f.node
		for _, change := range n.pendingContent {
			n.syncedContent = change.applyTo(n.syncedContent)
		}
		n.pendingContent = nil
		return nil
	})
}

// Size implements File.
func (f *crashableFile) Size() (size int64, err error) {
	err = f.do("stat", func() error {
		size = int64(len(f.node.content))
		return nil
	})
	return size, err
}

// CheckName implements File. Files do not move under a simulated process.
func (f *crashableFile) CheckName(string) error { return nil }

// DropCache implements File: data that the kernel wrongly calls clean vanishes.
func (f *crashableFile) DropCache() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.dead || f.closed {
		return
	}
	content := slices.Clone(f.node.syncedContent)
	for _, change := range f.node.pendingContent {
		content = change.applyTo(content)
	}
	f.node.content = content
}

// Close implements io.Closer.
func (f *crashableFile) Close() error {
	return f.do("close", func() error {
		f.closed = true
		return nil
	})
}

// change applies a change to the visible content and keeps it as pending.
func (f *crashableFile) change(op string, change contentChange) error {
	return f.do(op, func() error {
		if change.offset < 0 {
			return fs.ErrInvalid
		}
		f.node.content = change.applyTo(f.node.content)
		f.node.pendingContent = append(f.node.pendingContent, change)
		return nil
	})
}

// forgetPending imitates a kernel after a failed sync: the dirty pages count as
// clean from then on. Every reader still sees the data, until DropCache. No later
// sync writes it, and a power cut loses it.
func (f *crashableFile) forgetPending() error {
	return f.do("sync", func() error {
		f.node.pendingContent = nil
		return nil
	})
}

func (f *crashableFile) do(op string, run func() error) error {
	return f.fs.do(op, f.name, func() error {
		if f.closed {
			return fs.ErrClosed
		}
		return run()
	})
}
