package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// A node's data directory holds four things:
//
//	raftkv.toml   whose directory this is: cluster, node, members
//	life.toml     which of the directories of that node, and how often it was used
//	peers.toml    which directories the other nodes have
//	wal/          the log
//
// The log knows its cluster and node itself. The members are remembered beside
// it because a node that is started with another list would count majorities
// differently from its peers, and two majorities need not meet.
const (
	identityName = "raftkv.toml"
	logName      = "wal"
	tmpSuffix    = ".tmp" // of a file that is being written
)

// identityComment stands at the beginning of raftkv.toml.
const identityComment = "Whose data this is. Written by raftkv."

// formatNewest is the format of raftkv.toml and dev.toml that this code writes.
const formatNewest = 1

// maxSmallFileBytes bounds raftkv.toml and dev.toml.
const maxSmallFileBytes = 64 << 10

// owner says whose a data directory is.
type owner struct {
	Format    int      `toml:"format"`
	ClusterID string   `toml:"cluster-id"`
	NodeID    string   `toml:"id"`
	Members   []string `toml:"members"` // sorted
	// UID is the uid of the cluster, 32 hexadecimal digits; "" until its first leader
	// was heard of.
	UID string `toml:"uid,omitempty"`
}

func newOwner(clusterID string, id core.ID, m members) owner {
	ident := owner{Format: formatNewest, ClusterID: clusterID, NodeID: string(id)}
	for _, member := range m.ids() {
		ident.Members = append(ident.Members, string(member))
	}
	return ident
}

// checkDirectory says whether a node with this identity may use the data
// directory, before anything in it is touched. It returns what the directory says,
// nil if it does not say whose it is, as a new one does not.
func (want owner) checkDirectory(fsys vfs.FS, dir string) (*owner, error) {
	is := new(owner)
	known, err := readSmallFile(fsys, filepath.Join(dir, identityName), is, "restore it from a copy, or write it anew from those of the other nodes")
	switch {
	case err != nil || !known:
		return nil, err
	case is.NodeID != want.NodeID:
		return nil, fmt.Errorf("the data directory %s belongs to node %s, and --id says %s: give each node a directory of its own, or correct --id",
			dir, is.NodeID, want.NodeID)
	case is.ClusterID != want.ClusterID:
		return nil, fmt.Errorf("the data directory %s belongs to cluster %s, and --cluster-id says %s: give each cluster directories of its own, or correct --cluster-id",
			dir, is.ClusterID, want.ClusterID)
	case !slices.Equal(is.Members, want.Members):
		return nil, fmt.Errorf("the data directory %s belongs to a cluster of %s, and --cluster names %s: start the node with the members it knows (their addresses may change); another list does not change the membership",
			dir, strings.Join(is.Members, ", "), strings.Join(want.Members, ", "))
	}
	if _, err := parseUID(is.UID); err != nil {
		return nil, &failure{fmt.Errorf("%s is damaged (%w): write it anew from those of the other nodes", filepath.Join(dir, identityName), err)}
	}
	return is, checkLogIsThere(fsys, dir)
}

// uid returns the cluster's uid, zero if the directory does not know it.
func (is owner) uid() core.UID {
	uid, err := parseUID(is.UID)
	if err != nil {
		panic("raftkv: a uid that was checked is wrong: " + err.Error())
	}
	return uid
}

func parseUID(text string) (uid core.UID, err error) {
	b, err := hex.DecodeString(text)
	if text != "" && (err != nil || len(b) != len(uid)) {
		return uid, fmt.Errorf("%q is not the uid of a cluster", text)
	}
	copy(uid[:], b)
	return uid, nil
}

// checkUID refuses a directory whose log belongs to another cluster than the
// directory says: the log was copied into it.
func (is owner) checkUID(dir string, state core.State) error {
	inLog, ours := stateUID(state), is.uid()
	if inLog == (core.UID{}) || ours == (core.UID{}) || inLog == ours {
		return nil
	}
	return &failure{fmt.Errorf("the data directory %s belongs to the cluster with the uid %v, and the log in it to one with the uid %v: put back the log that belongs there, or empty the directory and start the node with --rejoin", dir, ours, inLog)}
}

// stateUID returns the uid that a log holds, zero if it holds none.
func stateUID(state core.State) core.UID {
	if state.Snapshot.UID != (core.UID{}) {
		return state.Snapshot.UID
	}
	uid, _ := entryUID(state.Entries)
	return uid
}

// entryUID returns the uid that one of the entries brings, and the index of that
// one; zeros if none does.
func entryUID(entries []core.Entry) (uid core.UID, at uint64) {
	for _, e := range entries {
		if e.Kind == core.KindNoop && len(e.Data) == len(core.UID{}) {
			return core.UID(e.Data), e.Index
		}
	}
	return core.UID{}, 0
}

// checkLogIsThere refuses a directory that says whose it is but has lost its
// log. A node that forgot how it voted and what it confirmed must not come back
// under its old name.
func checkLogIsThere(fsys vfs.FS, dir string) error {
	names, err := fsys.List(filepath.Join(dir, logName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &failure{err}
	}
	if slices.ContainsFunc(names, isSegmentName) {
		return nil
	}
	return &failure{fmt.Errorf("the data directory %s has lost its log (%s holds no segments): a node that forgot its log must not take part in its cluster as if nothing had happened; empty the directory and start the node with --rejoin",
		dir, filepath.Join(dir, logName))}
}

// isSegmentName reports whether package wal gives such names to segments.
func isSegmentName(name string) bool {
	generation, isSegment := strings.CutSuffix(name, ".wal")
	return isSegment && len(generation) == 16 && strings.Trim(generation, "0123456789abcdef") == ""
}

// readSmallFile decodes a TOML file of ours. found is false if there is none.
// remedy says what to do if it is damaged.
func readSmallFile(fsys vfs.FS, path string, into any, remedy string) (found bool, err error) {
	text, err := readWhole(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &failure{fmt.Errorf("reading %s: %w", path, err)}
	}
	var version struct {
		Format int `toml:"format"`
	}
	_, err = toml.Decode(text, &version)
	if err == nil && version.Format > formatNewest {
		return false, &failure{fmt.Errorf("%s has format %d and this raftkv knows formats up to %d: start the newer raftkv that wrote it", path, version.Format, formatNewest)}
	}
	if err == nil {
		_, err = toml.Decode(text, into)
	}
	if err == nil && version.Format < 1 {
		err = errors.New("it names no format")
	}
	if err != nil {
		return false, &failure{fmt.Errorf("%s is damaged (%w): %s", path, err, remedy)}
	}
	return true, nil
}

func readWhole(fsys vfs.FS, path string) (string, error) {
	file, err := fsys.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, 0, maxSmallFileBytes+1))
	if err == nil && len(text) > maxSmallFileBytes {
		err = fmt.Errorf("it is longer than %d bytes", maxSmallFileBytes)
	}
	return string(text), err
}

// writeSmallFile writes a TOML file of ours so that after a crash it is there
// whole or not at all.
func writeSmallFile(fsys vfs.FS, path, comment string, content any) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# %s\n", comment)
	if err := toml.NewEncoder(&text).Encode(content); err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	if err := replaceFile(fsys, path, text.Bytes()); err != nil {
		return &failure{fmt.Errorf("writing %s: %w", path, err)}
	}
	return nil
}

func replaceFile(fsys vfs.FS, path string, content []byte) error {
	tmp := path + tmpSuffix
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(content, 0)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}
