package datadir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/BurntSushi/toml"

	"raftkv/raft/vfs"
)

// FormatNewest is the format of the small files that this code writes.
const FormatNewest = 1

// maxFileBytes bounds a small file.
const maxFileBytes = 64 << 10

// TmpSuffix ends the name of a file that is being written.
const TmpSuffix = ".tmp"

// Fault is an error of the directory or its disk, and not of the caller's request.
type Fault struct{ err error }

// NewFault returns a Fault with a cause, for commands that look into data directories.
func NewFault(cause error) *Fault { return &Fault{cause} }

func (f *Fault) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.err }

// ReadFile decodes a small TOML file that WriteFile wrote. found is false if there is
// none. remedy is the end of the error's sentence if the file is damaged: what to do
// then. Errors are of type *Fault.
func ReadFile(fsys vfs.FS, path string, into any, remedy string) (found bool, err error) {
	text, err := readWhole(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &Fault{fmt.Errorf("reading %s: %w", path, err)}
	}
	var version struct {
		Format int `toml:"format"`
	}
	_, err = toml.Decode(text, &version)
	if err == nil && version.Format > FormatNewest {
		return false, &Fault{fmt.Errorf("%s has format %d and this raftkv knows formats up to %d: start the newer raftkv that wrote it", path, version.Format, FormatNewest)}
	}
	if err == nil {
		_, err = toml.Decode(text, into)
	}
	if err == nil && version.Format < 1 {
		err = errors.New("it names no format")
	}
	if err != nil {
		return false, &Fault{fmt.Errorf("%s is damaged (%w): %s", path, err, remedy)}
	}
	return true, nil
}

func readWhole(fsys vfs.FS, path string) (string, error) {
	file, err := fsys.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, 0, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("it is longer than %d bytes", maxFileBytes)
	}
	return string(text), err
}

// WriteFile writes a small TOML file with a comment at its beginning, so that after a
// crash the file is there whole or not at all. content must have a field for the key
// "format" that holds FormatNewest.
func WriteFile(fsys vfs.FS, path, comment string, content any) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# %s\n", comment)
	if err := toml.NewEncoder(&text).Encode(content); err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	if err := replaceFile(fsys, path, text.Bytes()); err != nil {
		return &Fault{fmt.Errorf("writing %s: %w", path, err)}
	}
	return nil
}

func replaceFile(fsys vfs.FS, path string, content []byte) error {
	tmp := path + TmpSuffix
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(content, 0)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}
