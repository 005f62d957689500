package pipeline

import (
	"fmt"
	"path/filepath"

	"raftkv/raft/vfs"
)

// fileBytes is the length of each process's file. Records wrap around: blocks that
// were written before cost least, because no metadata changes.
const fileBytes = 64 << 20

// file is a zero-filled file to which batches are written one after the other.
type file struct {
	vfs.File
	size int64
	at   int64 // where the next batch goes
}

// newFile makes a file of size bytes, a multiple of 64 KiB, in a directory that it
// makes, too.
func newFile(dir string, size int64) (*file, error) {
	disk := vfs.OS{}
	if err := disk.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("the pipeline's directory: %w", err)
	}
	f, err := disk.Create(filepath.Join(dir, "pipeline"))
	if err != nil {
		return nil, fmt.Errorf("the pipeline's file: %w", err)
	}
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return nil, fmt.Errorf("filling the pipeline's file: %w", err)
		}
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("filling the pipeline's file: %w", err)
	}
	return &file{File: f, size: size}, nil
}

// save makes a batch durable: one write, unless the file's end is reached, and one
// sync.
func (f *file) save(batch []byte) error {
	for len(batch) > 0 {
		n := min(len(batch), int(f.size-f.at))
		if _, err := f.WriteAt(batch[:n], f.at); err != nil {
			return fmt.Errorf("writing to the pipeline's file: %w", err)
		}
		batch = batch[n:]
		f.at = (f.at + int64(n)) % f.size
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing the pipeline's file: %w", err)
	}
	return nil
}
