//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package vfs

import (
	"errors"
	"os"
)

// noFollow is empty: the platform cannot tell a link while opening it.
const noFollow = 0

func isSymlinkError(error) bool { return false }

// lockFile refuses: without a lock that dies with its process, two servers could
// write one log. A node that does not start is better than that.
func lockFile(*os.File) error {
	return errors.New("raftkv cannot lock a data directory on this platform; run it on Linux, macOS or a BSD")
}

// syncDir does nothing: the platform offers no call for it.
func syncDir(string) error { return nil }

func syncOpenDir(*os.File) error { return nil }
