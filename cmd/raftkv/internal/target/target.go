package target

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"raftkv/cmd/raftkv/internal/exit"
)

// File is a file that a command makes: under another name, which becomes its
// own when all of it is on the disk.
type File struct {
	Path   string
	Force  bool        // what is there is replaced
	Output bool        // the command takes - for standard output, and refusals say so
	Mode   fs.FileMode // 0 is 0600, for the user alone
}

// Check looks what the name is before anybody is asked for what is to stand under
// it. Only a file is ever replaced: never a directory, a device, a pipe or a link.
func (t File) Check() error {
	if t.Path == "" {
		return errors.New("the name of the file is empty")
	}
	is, err := os.Lstat(t.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t.checkDirectory()
	case err != nil:
		return exit.Fail(lookError(t.Path, err))
	case is.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(t.Path)
		if err != nil {
			return exit.Fail(err)
		}
		return fmt.Errorf("%s is a symbolic link to %s, and links are not replaced: name the file itself%s", t.Path, to, t.orOutput())
	case !is.Mode().IsRegular():
		advice := "name a file"
		if !is.IsDir() {
			advice += t.orOutput()
		}
		return fmt.Errorf("%s is %s and no file; it is not replaced: %s", t.Path, KindOf(is.Mode()), advice)
	case !t.Force:
		return fmt.Errorf("%s is there already: choose another name, or say --force to replace it", t.Path)
	}
	return nil
}

// orOutput is what else a user may name instead of what is no file.
func (t File) orOutput() string {
	if t.Output {
		return ", or - for standard output"
	}
	return ""
}

// checkDirectory refuses a name in what is no directory.
func (t File) checkDirectory() error {
	dir := filepath.Dir(t.Path)
	is, err := os.Stat(dir)
	switch {
	case os.IsPathSeparator(t.Path[len(t.Path)-1]):
		return fmt.Errorf("%s names a directory: name a file", t.Path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory %s does not exist", dir)
	case err != nil:
		return exit.Fail(lookError(dir, err))
	case !is.IsDir():
		return fmt.Errorf("%s is %s and no directory", dir, KindOf(is.Mode()))
	}
	return nil
}

func lookError(path string, err error) error {
	return fmt.Errorf("%s cannot be looked at: %w", path, exit.LastCause(err))
}

// KindOf names what is no file.
func KindOf(mode fs.FileMode) string {
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

// Write makes the file of what fill writes. An error of this machine is a
// exit.Failure; nothing is left of the file then.
func (t File) Write(fill func(to io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(t.Path), filepath.Base(t.Path)+".*.tmp")
	if err != nil {
		return exit.Fail(fmt.Errorf("no file can be made in %s: %w", filepath.Dir(t.Path), exit.LastCause(err)))
	}
	to := &diskWriter{file: file}
	err = fill(to)
	if to.err != nil {
		err = exit.Fail(fmt.Errorf("writing %s: %w", file.Name(), to.err))
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
func (t File) finish(file *os.File) error {
	err := file.Chmod(cmp.Or(t.Mode, 0o600)) // it may hold everything that the cluster does
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return exit.Fail(fmt.Errorf("writing %s: %w", file.Name(), err))
	}
	if err := t.Check(); err != nil { // it may have become something else meanwhile
		return exit.Fail(err)
	}
	if err := os.Rename(file.Name(), t.Path); err != nil {
		return exit.Fail(err)
	}
	dir, err := os.Open(filepath.Dir(t.Path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return exit.Fail(fmt.Errorf("making the name %s durable: %w", t.Path, err))
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
