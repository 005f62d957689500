package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// targetFile is a file that a command makes: under another name, which becomes its
// own when all of it is on the disk.
type targetFile struct {
	path  string
	force bool // what is there is replaced
}

// check looks what the name is before anybody is asked for what is to stand under
// it. Only a file is ever replaced: never a directory, a device, a pipe or a link.
func (t targetFile) check() error {
	if t.path == "" {
		return errors.New("the name of the file is empty")
	}
	is, err := os.Lstat(t.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t.checkDirectory()
	case err != nil:
		return &failure{lookError(t.path, err)}
	case is.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(t.path)
		if err != nil {
			return &failure{err}
		}
		return fmt.Errorf("%s is a symbolic link to %s, and links are not replaced: name the file itself, or - for standard output", t.path, to)
	case !is.Mode().IsRegular():
		advice := "name a file"
		if !is.IsDir() {
			advice = "name a file, or - for standard output"
		}
		return fmt.Errorf("%s is %s and no file; it is not replaced: %s", t.path, kindOf(is.Mode()), advice)
	case !t.force:
		return fmt.Errorf("%s is there already: choose another name, or say --force to replace it", t.path)
	}
	return nil
}

// checkDirectory refuses a name in what is no directory.
func (t targetFile) checkDirectory() error {
	dir := filepath.Dir(t.path)
	is, err := os.Stat(dir)
	switch {
	case os.IsPathSeparator(t.path[len(t.path)-1]):
		return fmt.Errorf("%s names a directory: name a file", t.path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory %s does not exist", dir)
	case err != nil:
		return &failure{lookError(dir, err)}
	case !is.IsDir():
		return fmt.Errorf("%s is %s and no directory", dir, kindOf(is.Mode()))
	}
	return nil
}

func lookError(path string, err error) error {
	return fmt.Errorf("%s cannot be looked at: %w", path, lastCause(err))
}

// kindOf names what is no file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

// write makes the file of what fill writes. An error of this machine is a
// *failure; nothing is left of the file then.
func (t targetFile) write(fill func(to io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(t.path), filepath.Base(t.path)+".*.tmp")
	if err != nil {
		return &failure{fmt.Errorf("no file can be made in %s: %w", filepath.Dir(t.path), lastCause(err))}
	}
	to := &diskWriter{file: file}
	err = fill(to)
	if to.err != nil {
		err = &failure{fmt.Errorf("writing %s: %w", file.Name(), to.err)}
	}
	if err == nil {
		err = t.finish(file)
	}
	if err != nil {
		file.Close() // again, perhaps
		os.Remove(file.Name())
	}
	return err
}

// finish makes a file durable under its name.
func (t targetFile) finish(file *os.File) error {
	err := file.Chmod(0o600) // it holds everything that the cluster does
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return &failure{fmt.Errorf("writing %s: %w", file.Name(), err)}
	}
	if err := t.check(); err != nil { // it may have become something else meanwhile
		return &failure{err}
	}
	if err := os.Rename(file.Name(), t.path); err != nil {
		return &failure{err}
	}
	dir, err := os.Open(filepath.Dir(t.path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return &failure{fmt.Errorf("making the name %s durable: %w", t.path, err)}
	}
	return nil
}

// diskWriter remembers that it was the disk that failed.
type diskWriter struct {
	file *os.File
	err  error
}

func (w *diskWriter) Write(p []byte) (n int, err error) {
	n, w.err = w.file.Write(p)
	return n, w.err
}
