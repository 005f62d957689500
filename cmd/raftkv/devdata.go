package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// A dev cluster's data directory holds a data directory per node, n1, n2, …,
// and dev.toml, which is the last to be made, before any node runs, and the
// first to be removed. Without it the rest is only part of a cluster.
const devMarkName = "dev.toml"

// devMark is the content of dev.toml.
type devMark struct {
	Format int `toml:"format"`
	Nodes  int `toml:"nodes"`
}

// readDevData returns how many nodes the cluster in dir has, 0 if there is none
// yet. A directory that holds anything else is refused.
func readDevData(fsys vfs.FS, dir string) (nodes int, err error) {
	files, err := devFiles(fsys, dir)
	if err != nil {
		return 0, err
	}
	var mark devMark
	found, err := readSmallFile(fsys, filepath.Join(dir, devMarkName), &mark, "start empty with --fresh")
	switch {
	case err != nil:
		return 0, err
	case !found && len(files) > 0:
		return 0, &failure{fmt.Errorf("%s holds only part of a cluster, because it was being made or removed when the process was killed: start empty with --fresh", dir)}
	case !found:
		return 0, nil
	}
	if mark.Nodes < 1 || mark.Nodes > mostDevNodes {
		return 0, &failure{fmt.Errorf("%s says that the cluster has %d nodes: start empty with --fresh", filepath.Join(dir, devMarkName), mark.Nodes)}
	}
	for i := range mark.Nodes {
		of := filepath.Join(dir, string(devID(i)))
		names, err := listIfThere(fsys, of)
		if err != nil {
			return 0, &failure{err}
		}
		if !slices.Contains(names, identityName) {
			return 0, &failure{fmt.Errorf("%s is gone, though the cluster has run with it: restore it, or start empty with --fresh; a node that forgot its log must not take part in its cluster", of)}
		}
	}
	return mark.Nodes, nil
}

// writeDevData writes down that all nodes' directories are made.
func writeDevData(fsys vfs.FS, dir string, nodes int) error {
	return writeSmallFile(fsys, filepath.Join(dir, devMarkName), "A cluster of 'raftkv dev'. Written by raftkv, once.", devMark{Format: formatNewest, Nodes: nodes})
}

// removeDevData removes a dev cluster, and nothing else: a directory that holds
// anything that dev would not have put there is refused whole, and one that is
// in use, too. The directory itself stays.
func removeDevData(fsys vfs.FS, dir string) error {
	found, err := devFiles(fsys, dir)
	if err != nil {
		return err
	}
	for _, path := range found {
		if filepath.Base(path) != logLockName {
			continue
		}
		lock, err := fsys.Lock(path)
		if errors.Is(err, vfs.ErrLocked) {
			return &failure{fmt.Errorf("%s is in use: stop the cluster that runs on it before starting one with --fresh", dir)}
		}
		if err != nil {
			return &failure{err}
		}
		defer func(lock io.Closer) { lock.Close() }(lock)
	}
	for _, path := range found {
		if err := fsys.Remove(path); err != nil {
			return &failure{fmt.Errorf("--fresh: %w", err)}
		}
	}
	return nil
}

// logLockName is the name of the file that package wal locks.
const logLockName = "LOCK"

// devFiles lists all that a dev cluster has in dir, what is inside a directory
// before the directory, and the mark first: while it is gone, the rest counts
// for nothing. The error names what is not ours.
func devFiles(fsys vfs.FS, dir string) ([]string, error) {
	names, err := listIfThere(fsys, dir)
	if err != nil {
		return nil, &failure{err}
	}
	var paths []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		var inside []string
		switch {
		case name == devMarkName || name == devMarkName+tmpSuffix:
			paths = slices.Insert(paths, 0, path)
			continue
		case slices.ContainsFunc(devIDs(), func(id string) bool { return id == name }):
			inside, err = nodeFiles(fsys, path)
		case name == identityName:
			err = fmt.Errorf("%s is the data directory of one node of 'raftkv serve', not of a dev cluster: choose another --data-dir", dir)
		default:
			err = foreign(dir, path)
		}
		if err != nil {
			return nil, err
		}
		paths = append(append(paths, inside...), path)
	}
	return paths, nil
}

// nodeFiles lists what is in a node's data directory.
func nodeFiles(fsys vfs.FS, dir string) ([]string, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, &failure{err}
	}
	var paths []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		switch name {
		case identityName, identityName + tmpSuffix, lifeName, lifeName + tmpSuffix, peersName, peersName + tmpSuffix:
		case logName:
			inside, err := fsys.List(path)
			if err != nil {
				return nil, &failure{err}
			}
			for _, name := range inside {
				if !wal.Owns(name) {
					return nil, foreign(dir, filepath.Join(path, name))
				}
				paths = append(paths, filepath.Join(path, name))
			}
		default:
			return nil, foreign(dir, path)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func foreign(dir, path string) error {
	return fmt.Errorf("%s does not look like the data of a dev cluster: it holds %s; choose another --data-dir, or move that away", dir, path)
}

// devIDs lists the names that nodes of dev clusters can have.
func devIDs() []string {
	var ids []string
	for i := range mostDevNodes {
		ids = append(ids, string(devID(i)))
	}
	return ids
}

// listIfThere lists a directory; one that does not exist has no entries.
func listIfThere(fsys vfs.FS, dir string) ([]string, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}
