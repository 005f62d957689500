package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"raftkv/raft/vfs"
)

// maxRetired bounds the segments that wait to be used again. A snapshot makes
// several superfluous at once: kvserver takes one every 64 MiB of log, which are four
// segments of the usual size and a part of a fifth. With five, a busy log fills no
// file with zeros any more; with two it would still fill every second one. They take
// no more room on the disk than the log took just before that snapshot.
const maxRetired = 5

// retiredName returns the name of a segment that waits to be used again, counted
// from 1.
func retiredName(n int) string { return fmt.Sprintf("%s.%d", spareName, n) }

// isRetiredName reports whether retiredName returns such a name.
func isRetiredName(name string) bool {
	for n := 1; n <= maxRetired; n++ {
		if name == retiredName(n) {
			return true
		}
	}
	return false
}

// trim takes away the files that recorded snapshots made superfluous: it renames up
// to keep segments in all, so that they can be used again, and removes everything
// else. The record is durable, so it does not matter how much of this a crash undoes.
// Only when the new names are durable may anything write to the renamed files: else
// a crash could give the old name to a file with new content. A disk that has no
// room for a name is an error that ends nothing: noRoom. The caller must hold
// spareMu.
func (w *WAL) trim(keep int) (noRoom, err error) {
	w.removing.Lock()
	defer w.removing.Unlock()
	w.mu.Lock()
	garbage, retiring := w.garbage, w.retiring
	w.garbage, w.retiring = nil, nil
	w.mu.Unlock()
	if len(garbage)+len(retiring) == 0 {
		return nil, nil
	}
	retired := slices.Clone(w.retired)
	for _, name := range retiring {
		to := w.freeName(retired)
		if to == "" || len(retired) >= keep {
			garbage = append(garbage, name)
			continue
		}
		path := filepath.Join(w.dir, name)
		switch err := w.fs.Rename(path, filepath.Join(w.dir, to)); {
		case err == nil:
			retired = append(retired, to)
			w.countRemoved()
		case vfs.IsNoSpace(err):
			garbage, noRoom = append(garbage, name), diskError("renaming", path, err)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, diskError("renaming", path, err)
		}
	}
	for _, name := range garbage {
		if err := w.remove(name); err != nil {
			return nil, err
		}
		w.countRemoved()
	}
	if err := w.syncDir(); err != nil {
		return nil, err
	}
	w.retired = retired
	return noRoom, nil
}

// freeName returns a name for one more segment that waits to be used again; "" if
// enough of them do.
func (w *WAL) freeName(retired []string) string {
	for n := 1; n <= maxRetired; n++ {
		name := retiredName(n)
		if !slices.Contains(retired, name) && (w.spare == nil || filepath.Base(w.spare.path) != name) {
			return name
		}
	}
	return ""
}

// takeRetired makes one of the segments that wait to be used again the spare, if
// there is one of the size that is wanted now. Its content does not matter, and so
// neither does what became of it in a crash: see segmentHeader.decode. The caller
// must hold spareMu.
func (w *WAL) takeRetired() error {
	for w.spare == nil && len(w.retired) > 0 {
		path := filepath.Join(w.dir, w.retired[0])
		file, err := w.fs.Open(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diskError("opening", path, err)
		}
		w.retired = w.retired[1:]
		if err != nil {
			continue
		}
		size, err := file.Size()
		if err != nil {
			file.Close()
			return diskError("asking for the size of", path, err)
		}
		if size == w.segmentBytes {
			w.setSpare(&spare{file: file, path: path, size: size, recycled: true})
			return nil
		}
		file.Close()
		if err := w.remove(filepath.Base(path)); err != nil {
			return err
		}
	}
	return nil
}

// giveRoom removes the segments that wait to be used again. The caller must hold
// spareMu.
func (w *WAL) giveRoom() error {
	if len(w.retired) == 0 {
		return nil
	}
	for _, name := range w.retired {
		if err := w.remove(name); err != nil {
			return err
		}
	}
	w.retired = nil
	return w.syncDir()
}

// clearRest fills the rest of a full recycled segment with zeros, durably, before
// the next segment is begun. So behind the end of every segment but the last there
// are zeros and nothing else, and every bit of it can be checked. The rest is less
// than the batch that did not fit. Releases that know no recycled segments read such
// a log, too.
func (w *WAL) clearRest(s *segment) error {
	from := s.blankTo(s.end)
	if !s.recycled() || from >= s.size {
		return nil
	}
	if err := writeZeros(s.file, from, s.size, always); err != nil {
		return diskError("clearing the rest of", s.path, err)
	}
	return w.sync(s.file, s.path)
}

// listRetired returns the names among names of segments that wait to be used again.
func listRetired(names []string) (retired []string) {
	for _, name := range names {
		if strings.HasPrefix(name, spareName) && isRetiredName(name) {
			retired = append(retired, name)
		}
	}
	return retired
}
