package process

import "syscall"

// FreeBytes returns how many bytes a process without privileges may still write
// to the disk that holds dir.
func FreeBytes(dir string) (uint64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// NoInodes reports whether the disk that holds dir has no inode left for another
// file. A file system that makes inodes as it needs them has none to count.
func NoInodes(dir string) bool {
	var fs syscall.Statfs_t
	return syscall.Statfs(dir, &fs) == nil && fs.Files > 0 && fs.Ffree == 0
}
