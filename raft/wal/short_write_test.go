package wal

import (
	"errors"
	"io"
	"testing"

	"raftkv/raft/vfs"
)

// forgetfulFile writes less than it is given and does not say why.
type forgetfulFile struct{ vfs.File }

func (forgetfulFile) WriteAt(p []byte, _ int64) (int, error) { return len(p) - 1, nil }

// Goal: a write that comes up short is an error, also on a file system that forgets
// to say so. Method: such a file.
func TestAShortWriteIsNoWrite(t *testing.T) {
	if err := writeFull(forgetfulFile{}, []byte("ab"), 0); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("one of two bytes was written: %v", err)
	}
	if err := writeZeros(forgetfulFile{}, 0, 10, always); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("nine of ten zeros were written: %v", err)
	}
}
