package main

// The file system of the host (raft/vfs).
var vfsMutants = []mutant{
	inTests("HO8", "TestWhatIsAShortage", "a sync that failed for lack of memory is tried again", "raft/vfs/fs.go",
		"if !errors.As(err, &opening) || opening.Op != \"open\" {", "if !errors.As(err, &opening) {"),
	inTests("HO5", "TestALockIsNotLost", "only the lock file is locked, and it can be removed", "raft/vfs/hold.go",
		"\terr = lockFile(l.dir)\n", "\terr = nil\n"),
	{
		id: "V1", bug: "anything that is no regular file is opened as one",
		file:    "raft/vfs/os.go",
		old:     "if err == nil && !info.Mode().IsRegular() {",
		new:     "if err == nil && info.Mode().IsDir() {",
		oracles: []string{"test ./raft/vfs"},
	},
	{
		id: "V5", bug: "a file that is to be created may be there already",
		file: "raft/vfs/os.go", old: "os.O_RDWR|os.O_CREATE|os.O_EXCL", new: "os.O_RDWR|os.O_CREATE",
		oracles: []string{"test ./raft/vfs"},
	},
	{
		id: "V6", bug: "a symbolic link is followed",
		file: "raft/vfs/os.go", old: "os.OpenFile(name, flag|noFollow, fileMode)", new: "os.OpenFile(name, flag, fileMode)",
		oracles: []string{"test ./raft/vfs"},
	},
	{
		id: "V7", bug: "others may read what the log holds",
		file: "raft/vfs/os.go", old: "fileMode      fs.FileMode = 0o600", new: "fileMode      fs.FileMode = 0o644",
		oracles: []string{"test ./raft/vfs"},
	},
	{
		id: "V2", bug: "a directory may be locked twice",
		file:    "raft/vfs/os_unix.go",
		old:     "\t\treturn ErrLocked\n",
		new:     "\t\treturn nil\n",
		oracles: []string{"test ./raft/vfs"},
	},
	{
		id: "V3", bug: "a directory is never synced on a real disk",
		file: "raft/vfs/os_unix.go", old: "return errors.Join(d.Sync(), d.Close())", new: "return d.Close()",
		oracles: []string{"test ./raft/vfs"},
	},
	{
		id: "V4", bug: "the error of a real sync is not reported",
		file: "raft/vfs/sync_linux.go", old: "\t\tif result != nil {\n", new: "\t\tif result == syscall.EINTR {\n",
		oracles: []string{"test ./raft/vfs"},
	},
}
