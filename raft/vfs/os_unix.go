//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"os"
	"syscall"
)

// noFollow makes an open of a symbolic link fail instead of following it.
const noFollow = syscall.O_NOFOLLOW

// isSymlinkError reports whether an open failed because of noFollow. Some BSDs
// return EMLINK or EFTYPE where the others return ELOOP. Only the common one is
// worth a better error text.
func isSymlinkError(err error) bool { return errors.Is(err, syscall.ELOOP) }

// lockFile takes the lock of the open file description: it conflicts with every
// other open, in this process too. It goes away with the last close, however the
// process ends.
func lockFile(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			if result = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB); result != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if result == syscall.EWOULDBLOCK {
		return ErrLocked
	}
	return result
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// syncOpenDir makes the entries of a directory that is open durable.
func syncOpenDir(d *os.File) error { return d.Sync() }
