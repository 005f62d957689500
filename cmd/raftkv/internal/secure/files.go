package secure

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"raftkv/raft/certs"
)

// maxFileBytes bounds a file of certificates.
const maxFileBytes = 8 << 20

// read returns the content of a file; the zero File if none is named.
func read(name string) (certs.File, error) {
	if name == "" {
		return certs.File{}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return certs.File{}, explainOpen(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return certs.File{}, fmt.Errorf("%s cannot be read: %w", name, err)
	}
	if len(content) > maxFileBytes {
		return certs.File{}, fmt.Errorf("%s has more than %d bytes, which no file of certificates has", name, maxFileBytes)
	}
	return certs.File{Name: name, PEM: content}, nil
}

// explainOpen says what to do about a file that cannot be opened.
func explainOpen(err error) error {
	var at *fs.PathError
	switch {
	case errors.As(err, &at) && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist; correct the path, or make the file with raftkv cert", at.Path)
	case errors.As(err, &at) && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s cannot be read by this user; let it own the file", at.Path)
	}
	return err
}

// readKey is read for a key, which others may not read.
func readKey(name string) (certs.File, error) {
	if name == "" {
		return certs.File{}, nil
	}
	f, err := read(name)
	if err != nil {
		return certs.File{}, err
	}
	if bytes.Contains(f.PEM, []byte("-----BEGIN CERTIFICATE-----")) && !bytes.Contains(f.PEM, []byte("PRIVATE KEY-----")) {
		return certs.File{}, fmt.Errorf("%s was given as a key, and holds a certificate: the two files are swapped, or the certificate was given twice", name)
	}
	if info, err := os.Stat(name); err == nil {
		if err := checkSecret(name, info); err != nil {
			return certs.File{}, err
		}
	}
	return f, nil
}

// checkSecret refuses a key that anybody could read, or others could replace. A group may
// read what root owns: so orchestrators give a key to a user.
func checkSecret(name string, info os.FileInfo) error {
	mode := info.Mode().Perm()
	ofRoot := false
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		ofRoot = stat.Uid == 0
	}
	if mode&0o007 != 0 || mode&0o020 != 0 || mode&0o040 != 0 && !ofRoot {
		return fmt.Errorf("the key %s can be read by others (mode %04o); chmod 600 %s", name, mode, name)
	}
	return nil
}

// CloseDirectory makes a data directory, if it is there, one that nobody else can enter. A
// directory that is another user's, as orchestrators give one to the group of a node, stays
// as it is. A fresh one in which others can write is refused: what is in it tomorrow may not
// be this node's. One that a node has used goes on, with a warning, since an upgrade must not
// be what stops a cluster. shared says that the directory holds other things, too: who may
// enter it is then not the node's to change.
func CloseDirectory(dir string, fresh, shared bool, logger *slog.Logger) error {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return nil // whoever opens it says what is wrong
	}
	owner := -1
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(stat.Uid)
	}
	mode := info.Mode().Perm()
	closes, open := judgeDirectory(mode, owner, os.Getuid())
	if open && fresh {
		return fmt.Errorf("others can write in the data directory %s (mode %04o): chmod 700 it, or name a directory in it, such as %s, which is made for this user alone", dir, mode, filepath.Join(dir, "data"))
	}
	if shared {
		closes = false
	}
	if closes {
		err := os.Chmod(dir, mode&0o700)
		if err != nil && !fresh {
			logger.Warn("the data directory can be entered by others, and that cannot be changed; chmod 700 it, or move it to a file system that has modes", "directory", dir, "mode", fmt.Sprintf("%04o", mode), "error", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("the data directory %s can be entered by others (mode %04o), and that cannot be changed: %w", dir, mode, err)
		}
		logger.Info("the data directory could be entered by others; it is this user's alone now", "was", fmt.Sprintf("%04o", mode))
		return nil
	}
	if open {
		logger.Warn("others can write in the data directory; chmod 700 it, or move it to where they cannot", "directory", dir, "mode", fmt.Sprintf("%04o", mode), "owner", owner)
	}
	return nil
}

// judgeDirectory decides about a directory by its mode, its owner and the user of this
// process: whether it is to be closed to others, and whether everybody can write in it.
func judgeDirectory(mode os.FileMode, owner, user int) (closes, open bool) {
	return mode&0o077 != 0 && owner == user, mode&0o002 != 0
}

// digest is the content of a group of files, for telling whether it has changed.
type digest [sha256.Size]byte

func digestOf(files ...certs.File) (d digest) {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d %d ", len(f.Name), len(f.PEM))
		h.Write(f.PEM)
	}
	h.Sum(d[:0])
	return d
}
