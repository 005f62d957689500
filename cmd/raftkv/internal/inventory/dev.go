package inventory

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// A dev cluster's data directory holds a data directory for each node, n1, n2, …, and a
// mark, dev.toml, which is made last, before any node runs. A removal first renames it to
// dev.removing and removes that last. So one of the two is there whenever a node's log
// may hold anything. A directory with neither is not removed unless its logs hold nothing.
const (
	devMarkName     = "dev.toml"
	devRemovingName = "dev.removing"
	// DevCAFile and DevCAKeyFile are the CA of a dev cluster with TLS.
	DevCAFile    = "dev-ca.pem"
	DevCAKeyFile = "dev-ca-key.pem"
	// DevTokenFile and DevHeaderFile hold the token of the admin of a dev cluster with --auth,
	// alone and as a line of a header.
	DevTokenFile  = "dev-admin.token"
	DevHeaderFile = "dev-admin.header"
	// DevClusterID is the cluster id of every dev cluster.
	DevClusterID = "dev"
	// MaxDevNodes is the largest number of nodes in one.
	MaxDevNodes = 7
)

// isDevMark reports whether only 'raftkv dev' makes such a file.
func isDevMark(name string) bool {
	return name == devMarkName || name == devMarkName+datadir.TmpSuffix || name == devRemovingName || isDevKey(name)
}

// isDevKey reports whether a name is that of a file of certificates or tokens of dev, or of
// one that was being written.
func isDevKey(name string) bool {
	if rest, unfinished := strings.CutSuffix(name, datadir.TmpSuffix); unfinished {
		name = rest[:max(strings.LastIndex(rest, "."), 0)]
	}
	if rest, unfinished := strings.CutPrefix(name, "."); unfinished {
		name = rest[:strings.LastIndex(rest, ".")+1]
		name = strings.TrimSuffix(name, ".")
	}
	if slices.Contains([]string{DevCAFile, DevCAKeyFile, DevTokenFile, DevHeaderFile}, name) {
		return true
	}
	for _, id := range devIDs() {
		if cert, key := DevKeyFiles(core.ID(id)); name == cert || name == key {
			return true
		}
	}
	return false
}

// DevKeyFiles returns the names of the certificate of a node of a dev cluster, and of its
// key.
func DevKeyFiles(id core.ID) (cert, key string) {
	return "dev-" + string(id) + ".pem", "dev-" + string(id) + "-key.pem"
}

// devMark is the content of dev.toml.
type devMark struct {
	Format int `toml:"format"`
	Nodes  int `toml:"nodes"`
}

// ReadDev returns how many nodes the cluster in dir has, 0 if there is none
// yet. A directory that holds anything else is refused.
func ReadDev(fsys vfs.FS, dir string) (nodes int, err error) {
	files, err := devFiles(fsys, dir)
	if err != nil {
		return 0, err
	}
	var mark devMark
	found, err := datadir.ReadFile(fsys, filepath.Join(dir, devMarkName), &mark, "start empty with --fresh")
	switch {
	case err != nil:
		return 0, err
	case !found && len(files) > 0:
		return 0, datadir.NewFault(fmt.Errorf("%s holds only part of a cluster of 'raftkv dev', because it was being made or removed when the process was killed: start empty with --fresh", dir))
	case !found:
		return 0, nil
	}
	if mark.Nodes < 1 || mark.Nodes > MaxDevNodes {
		return 0, datadir.NewFault(fmt.Errorf("%s says that the cluster has %d nodes: start empty with --fresh", filepath.Join(dir, devMarkName), mark.Nodes))
	}
	for i := range mark.Nodes {
		of := filepath.Join(dir, string(NodeID(i)))
		names, err := listIfThere(fsys, of)
		if err != nil {
			return 0, datadir.NewFault(err)
		}
		if !slices.Contains(names, datadir.OwnerFile) {
			return 0, datadir.NewFault(fmt.Errorf("%s is gone, though the cluster has run with it: restore it, or start empty with --fresh; a node that forgot its log must not take part in its cluster", of))
		}
	}
	return mark.Nodes, nil
}

// BegunWith returns with how many nodes the cluster in dir began, of which it holds held. One
// that has lost its disk, and came back, does not know it any more, and the others do.
func BegunWith(fsys vfs.FS, dir string, held int) (nodes int, err error) {
	for i := range held {
		owner, _, err := datadir.ReadOwner(fsys, filepath.Join(dir, string(NodeID(i))), "start empty with --fresh")
		if err != nil {
			return 0, err
		}
		nodes = max(nodes, len(owner.Members))
	}
	return nodes, nil
}

// WriteDev writes down that all nodes' directories are made.
func WriteDev(fsys vfs.FS, dir string, nodes int) error {
	return datadir.WriteFile(fsys, filepath.Join(dir, devMarkName), "A cluster of 'raftkv dev'. Written by raftkv, once.", devMark{Format: datadir.FormatNewest, Nodes: nodes})
}

// ShrinkDev writes down that a dev cluster has only its first nodes, and removes the
// directories of the others, on which no node runs.
func ShrinkDev(fsys vfs.FS, dir string, nodes int) error {
	if err := WriteDev(fsys, dir, nodes); err != nil {
		return err
	}
	for i := nodes; i < MaxDevNodes; i++ {
		of := filepath.Join(dir, string(NodeID(i)))
		names, err := listIfThere(fsys, of)
		if err == nil && len(names) > 0 {
			var inside []string
			inside, err = nodeFiles(fsys, of)
			for _, path := range append(inside, of) {
				if err == nil {
					err = fsys.Remove(path)
				}
			}
		}
		if err != nil {
			return datadir.NewFault(err)
		}
	}
	return fsys.SyncDir(dir)
}

// RemoveDev removes a dev cluster, and nothing else: a directory that holds
// anything that dev did not make is refused whole, and so is one that is in use.
// The directory itself stays.
func RemoveDev(fsys vfs.FS, dir string) error {
	found, err := devFiles(fsys, dir)
	if err != nil {
		return err
	}
	for i := 0; i < len(found); i++ {
		if filepath.Base(found[i]) != datadir.LogDir {
			continue
		}
		// As a node locks it: a running one holds the directory, too, and its LOCK may
		// have been removed.
		path := filepath.Join(found[i], logLockName)
		if !slices.Contains(found, path) {
			found = slices.Insert(found, i, path)
			i++
		}
		lock, err := fsys.Lock(path)
		if errors.Is(err, vfs.ErrLocked) {
			return datadir.NewFault(fmt.Errorf("%s is in use: stop the cluster that runs on it before starting one with --fresh", dir))
		}
		if err != nil {
			return datadir.NewFault(err)
		}
		defer func(lock io.Closer) { lock.Close() }(lock)
	}
	if len(found) == 0 {
		return nil
	}
	if err := removeAll(fsys, dir, found); err != nil {
		return datadir.NewFault(fmt.Errorf("--fresh: %w", err))
	}
	return nil
}

// removeAll removes the files of a dev cluster. While it does, dev.removing says
// that it may; a removal that was interrupted is finished by the next one.
func removeAll(fsys vfs.FS, dir string, found []string) error {
	mark, removing := filepath.Join(dir, devMarkName), filepath.Join(dir, devRemovingName)
	if err := fsys.Rename(mark, removing); err == nil {
		if err := fsys.SyncDir(dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, path := range found {
		if path == mark || path == removing {
			continue
		}
		if err := fsys.Remove(path); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	if err := fsys.Remove(removing); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// logLockName is the name of the file that package wal locks.
const logLockName = "LOCK"

// devFiles lists everything that a dev cluster has in dir, the content of a directory
// before the directory. The error names an entry that dev did not make.
func devFiles(fsys vfs.FS, dir string) ([]string, error) {
	holds, err := Take(fsys, dir)
	if err != nil {
		return nil, err
	}
	switch {
	case holds.contents == holdsNode || holds.contents == holdsPartOfNode:
		return nil, fmt.Errorf("%s is the data directory of one node of 'raftkv serve', not of a dev cluster: choose another --data-dir; nothing is removed", dir)
	case holds.foreign != "":
		return nil, foreign(dir, holds.foreign)
	}
	var paths []string
	for _, name := range holds.marks {
		paths = append(paths, filepath.Join(dir, name))
	}
	for _, name := range holds.nodes {
		path := filepath.Join(dir, name)
		inside, err := nodeFiles(fsys, path)
		if err != nil {
			return nil, err
		}
		if err := checkMadeByDev(fsys, path, name, holds.contents == holdsDev); err != nil {
			return nil, err
		}
		paths = append(append(paths, inside...), path)
	}
	return paths, nil
}

// checkMadeByDev refuses a node's directory that dev did not make: that of a node of
// serve may be the only copy of its data. marked says that there is a mark of dev next to
// it. Without one, dev has made the directory only if its log holds nothing, because a
// cluster of serve may have the name that dev uses, too.
func checkMadeByDev(fsys vfs.FS, path, name string, marked bool) error {
	is, known, err := datadir.ReadOwner(fsys, path,
		"nobody can tell whether 'raftkv dev' made the directory, so nothing is removed: choose another --data-dir, or move it away")
	switch {
	case err != nil:
		return err
	case known && (is.ClusterID != DevClusterID || is.NodeID != name):
		return fmt.Errorf("%s is node %s of cluster %s, made by 'raftkv serve' or 'raftkv snapshot restore', not by 'raftkv dev': nothing is removed; choose another --data-dir", path, is.NodeID, is.ClusterID)
	case known && marked:
		return nil
	}
	return checkVoidLog(fsys, path, name)
}

// checkVoidLog refuses a node's directory whose log holds anything, or belongs
// to another cluster or node.
func checkVoidLog(fsys vfs.FS, path, name string) error {
	log := filepath.Join(path, datadir.LogDir)
	names, err := listIfThere(fsys, log)
	if err != nil {
		return datadir.NewFault(err)
	}
	refused := func(what string) error {
		return fmt.Errorf("%s holds %s, and nothing says that 'raftkv dev' made it: nothing is removed; choose another --data-dir, or move it away", path, what)
	}
	for _, file := range names {
		if filepath.Ext(file) == snapshotSuffix {
			return refused("a snapshot (" + file + ")")
		}
	}
	if !slices.ContainsFunc(names, wal.IsSegment) {
		return nil
	}
	err = wal.Inspect(fsys, log, func(r wal.Record) error {
		switch {
		case r.Type == wal.TypeSegment && (r.ClusterID != DevClusterID || r.NodeID != name):
			return refused(fmt.Sprintf("the log of node %s of cluster %s", r.NodeID, r.ClusterID))
		case r.Type == wal.TypeBatch || r.Type == wal.TypeSnapshot || r.Type == wal.TypeTorn:
			return refused("a log that has been written to")
		}
		return nil
	})
	var damage *wal.CorruptionError
	if errors.As(err, &damage) {
		return refused("a log that cannot be read (" + damage.Error() + ")")
	}
	return err
}

// snapshotSuffix ends the names that package wal gives to snapshots.
const snapshotSuffix = ".snap"

// nodeFiles lists the files in a node's data directory, raftkv.toml last: as long as any
// file of a node is there, that one says whose it is.
func nodeFiles(fsys vfs.FS, dir string) ([]string, error) {
	if to, isLink := linkAt(fsys, dir); isLink {
		return nil, fmt.Errorf("%s is a symbolic link to %s, which 'raftkv dev' does not make: nothing is removed; choose another --data-dir", dir, to)
	}
	names, err := fsys.List(dir)
	if err != nil {
		return nil, datadir.NewFault(err)
	}
	var paths, last []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		_, isLink := linkAt(fsys, path)
		switch {
		case isLink || !isNodeEntry(fsys, dir, name):
			return nil, foreign(dir, path)
		case name == datadir.OwnerFile:
			last = append(last, path)
			continue
		case name == datadir.LogDir, name == datadir.FlightDir:
			inside, err := fsys.List(path)
			if err != nil {
				return nil, datadir.NewFault(err)
			}
			for _, name := range inside {
				paths = append(paths, filepath.Join(path, name))
			}
		}
		paths = append(paths, path)
	}
	return append(paths, last...), nil
}

func foreign(dir, path string) error {
	return fmt.Errorf("%s does not look like the data of a dev cluster: it holds %s; choose another --data-dir, or move that away", dir, path)
}

// NodeID returns the name of the i-th node of a dev cluster: n1, n2, ….
func NodeID(i int) core.ID { return core.ID(fmt.Sprintf("n%d", i+1)) }

// devIDs lists the names that nodes of dev clusters can have.
func devIDs() []string {
	var ids []string
	for i := range MaxDevNodes {
		ids = append(ids, string(NodeID(i)))
	}
	return ids
}

// listIfThere lists a directory. A directory that does not exist has no entries.
func listIfThere(fsys vfs.FS, dir string) ([]string, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}
