package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"raftkv/kvserver/recorder"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// contents says what a directory holds, as far as names and raftkv.toml tell.
// All commands that are given a data directory judge it here, so that "empty"
// and "ours" mean one thing:
//
//	              serve     serve --rejoin  restore  dev      dev --fresh
//	nothing       begins    comes back      fills    begins   begins
//	a node        its own*  its own*        refuses  refuses  refuses
//	part of one   goes on   comes back**    refuses  refuses  refuses
//	dev           refuses   refuses         refuses  its own  removes
//	nodes         refuses   refuses         refuses  refuses  refuses
//	foreign       warns     warns           refuses  refuses  refuses
//
// (*) if cluster, id and members are its own; (**) if its log holds nothing.
type contents int

const (
	holdsNothing    contents = iota // missing, or empty but for what a file system keeps for itself
	holdsNode                       // raftkv.toml says whose the directory is
	holdsPartOfNode                 // files of a node without raftkv.toml: a first start or a restore was interrupted
	holdsDev                        // a mark says that 'raftkv dev' made the directory
	holdsNodes                      // no mark, but data directories that nodes of dev could have, too
	holdsForeign                    // anything else
)

// Inventory says what a directory holds.
type Inventory struct {
	contents contents
	// foreign is the path of the first entry that does not belong to the contents;
	// empty if there is none. A node's directory may hold such entries, too.
	foreign string
	// nodes are the names of the directories in it that are named like nodes of dev.
	nodes []string
	// marks are the names of the marks of dev in it.
	marks []string
}

// Take looks at a directory and changes nothing. The error says why it cannot be looked
// at.
func Take(fsys vfs.FS, dir string) (Inventory, error) {
	if err := CheckTilde("the data directory", dir); err != nil {
		return Inventory{}, err
	}
	names, err := listDataDir(fsys, dir)
	if err != nil {
		return Inventory{}, err
	}
	v := Inventory{}
	var ofNode, others []string
	for _, name := range names {
		switch {
		case isDevMark(name):
			v.marks = append(v.marks, name)
		case slices.Contains(devIDs(), name):
			v.nodes = append(v.nodes, name)
		case isNodeEntry(fsys, dir, name):
			ofNode = append(ofNode, name)
		default:
			others = append(others, name)
		}
	}
	var strange []string
	switch {
	case slices.Contains(ofNode, datadir.OwnerFile):
		v.contents, strange = holdsNode, slices.Concat(others, v.marks, v.nodes)
	case len(v.marks) > 0:
		v.contents, strange = holdsDev, slices.Concat(others, ofNode)
	case len(v.nodes) > 0:
		v.contents, strange = holdsNodes, slices.Concat(others, ofNode)
	case len(ofNode) > 0:
		v.contents, strange = holdsPartOfNode, others
	case len(others) > 0:
		v.contents, strange = holdsForeign, others
	}
	if len(strange) > 0 {
		v.foreign = filepath.Join(dir, strange[0])
	}
	return v, nil
}

// isNodeEntry reports whether a node's data directory has an entry of this name. A folder
// named as the log, or as that of the flight files, counts only if everything in it
// belongs there.
func isNodeEntry(fsys vfs.FS, dir, name string) bool {
	switch strings.TrimSuffix(name, datadir.TmpSuffix) {
	case datadir.OwnerFile, datadir.LifeFile, datadir.PeersFile, datadir.HoldFile, datadir.SecureFile:
		return true
	case datadir.LogDir:
		inside, err := fsys.List(filepath.Join(dir, name))
		return err == nil && name == datadir.LogDir && !slices.ContainsFunc(inside, func(n string) bool { return !wal.Owns(n) })
	case datadir.FlightDir:
		inside, err := fsys.List(filepath.Join(dir, name))
		return err == nil && name == datadir.FlightDir && !slices.ContainsFunc(inside, func(n string) bool { return !slices.Contains(recorder.Files[:], n) })
	}
	return false
}

// volumeRemains lists what file systems, their servers and desktops put into a
// directory by themselves, above all into the root of a volume.
var volumeRemains = []string{
	"lost+found", ".snapshot", ".snapshots", ".zfs", "aquota.user", "aquota.group",
	".DS_Store", ".Spotlight-V100", ".Trashes", ".fseventsd", "System Volume Information", "$RECYCLE.BIN",
}

// isHarmless reports whether a name says nothing about whose a directory is.
func isHarmless(name string) bool {
	return slices.Contains(volumeRemains, name) || strings.HasPrefix(name, ".Trash-") || strings.HasPrefix(name, ".nfs")
}

// listDataDir lists a data directory without its harmless entries. A directory that does
// not exist has no entries. The error says what is in its place.
func listDataDir(fsys vfs.FS, dir string) ([]string, error) {
	names, err := fsys.List(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if to, isLink := linkAt(fsys, dir); isLink {
			return nil, datadir.NewFault(fmt.Errorf("the data directory %s is a symbolic link to %s, which does not exist: mount or make that directory, or correct the path", dir, to))
		}
		return nil, nil
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("the data directory %s is a file, or lies below one: name a directory, or one that can be made", dir)
	case err != nil:
		return nil, datadir.NewFault(fmt.Errorf("the data directory cannot be read: %w", err))
	}
	return slices.DeleteFunc(names, isHarmless), nil
}

// CheckTilde refuses a path in which somebody expected a shell to put the home
// directory: it would become a directory called "~" wherever the command runs.
func CheckTilde(what, path string) error {
	if path != "~" && !strings.HasPrefix(path, "~/") {
		return nil
	}
	return fmt.Errorf("%s is %q, and only a shell puts the home directory for \"~\": write the path in full, or ./%s if a directory of that name is meant", what, path, path)
}

// linkAt returns the target of a symbolic link. File systems of tests have none.
func linkAt(fsys vfs.FS, path string) (to string, isLink bool) {
	if _, real := fsys.(vfs.OS); !real {
		return "", false
	}
	to, err := os.Readlink(path)
	return to, err == nil
}

// IsNew reports whether no node has begun in the directory.
func (v Inventory) IsNew() bool { return v.contents != holdsNode }

// CheckForServe returns an error if no node may use the directory, as far as that can be
// told before raftkv.toml is compared. strange is an entry to warn about; empty if there
// is none.
func (v Inventory) CheckForServe(dir string) (strange string, err error) {
	switch v.contents {
	case holdsDev:
		return "", fmt.Errorf("%s holds a cluster of 'raftkv dev', not the data of one node: choose another --data-dir", dir)
	case holdsNodes:
		return "", fmt.Errorf("%s holds data directories of nodes (%s): --data-dir must name the one of this node, such as %s",
			dir, strings.Join(v.nodes, ", "), filepath.Join(dir, v.nodes[0]))
	}
	return v.foreign, nil
}

// CheckForRestore returns an error if no backup may be restored into the directory.
func (v Inventory) CheckForRestore(dir string) error {
	const rest = "nothing is restored over what is there; choose another directory"
	switch v.contents {
	case holdsNothing:
		return nil
	case holdsNode:
		return fmt.Errorf("the data directory %s is not empty, it holds %s: it is a node's already; %s", dir, datadir.OwnerFile, rest)
	case holdsPartOfNode:
		return fmt.Errorf("the data directory %s is not empty, it holds part of a node's data, as an interrupted restore leaves it: %s, or empty it", dir, rest)
	case holdsDev, holdsNodes:
		return fmt.Errorf("the data directory %s is not empty, it holds data directories of nodes: %s", dir, rest)
	}
	return fmt.Errorf("the data directory %s is not empty, it holds %s: %s", dir, filepath.Base(v.foreign), rest)
}
