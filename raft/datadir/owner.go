package datadir

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// Names in a data directory.
const (
	OwnerFile = "raftkv.toml"
	LifeFile  = "life.toml"
	PeersFile = "peers.toml"
	HoldFile  = "level.toml"
	// SecureFile is the node program's: it says under which rules the directory was begun.
	SecureFile = "secure.toml"
	LogDir     = "wal"
	FlightDir  = "flight" // what the node noted of its own life (kvserver/recorder); it may be removed at any time
)

// ownerComment stands at the beginning of raftkv.toml.
const ownerComment = "Whose data this is. Written by raftkv."

// Owner says whose a data directory is. It is the content of raftkv.toml.
type Owner struct {
	Format    int      `toml:"format"`
	ClusterID string   `toml:"cluster-id"`
	NodeID    string   `toml:"id"`
	Members   []string `toml:"members"` // sorted
	// UID is the uid of the cluster, 32 hexadecimal digits; "" until its first leader
	// was heard of.
	UID string `toml:"uid,omitempty"`
}

// NewOwner returns the owner of a new directory. members are sorted and include id.
func NewOwner(clusterID string, id core.ID, members []core.ID) Owner {
	o := Owner{Format: FormatNewest, ClusterID: clusterID, NodeID: string(id)}
	for _, member := range members {
		o.Members = append(o.Members, string(member))
	}
	return o
}

// ReadOwner reads whose the directory dir is. found is false if the directory does
// not say it. remedy is as in ReadFile.
func ReadOwner(fsys vfs.FS, dir, remedy string) (o Owner, found bool, err error) {
	found, err = ReadFile(fsys, filepath.Join(dir, OwnerFile), &o, remedy)
	return o, found, err
}

// Write says whose the directory dir is. Its log must be there already.
func (o Owner) Write(fsys vfs.FS, dir string) error {
	return WriteFile(fsys, filepath.Join(dir, OwnerFile), ownerComment, o)
}

// uid returns the cluster's uid, zero if the directory does not know it.
func (o Owner) uid() core.UID {
	uid, err := parseUID(o.UID)
	if err != nil {
		panic("datadir: a uid that was checked is wrong: " + err.Error())
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

// check says whether the node want may use the directory dir, before anything in it
// is touched. found is false if the directory does not say whose it is, as a new one
// does not.
func (want Owner) check(fsys vfs.FS, dir string) (is Owner, found bool, err error) {
	is, found, err = ReadOwner(fsys, dir, "restore it from a copy, or write it anew from those of the other nodes")
	switch {
	case err != nil || !found:
		return is, false, err
	case is.NodeID != want.NodeID:
		return is, false, fmt.Errorf("the data directory %s belongs to node %s, and --id says %s: give each node a directory of its own, or correct --id",
			dir, is.NodeID, want.NodeID)
	case is.ClusterID != want.ClusterID:
		return is, false, fmt.Errorf("the data directory %s belongs to cluster %s, and --cluster-id says %s: give each cluster directories of its own, or correct --cluster-id",
			dir, is.ClusterID, want.ClusterID)
	}
	if _, err := parseUID(is.UID); err != nil {
		return is, false, &Fault{fmt.Errorf("%s is damaged (%w): write it anew from those of the other nodes", filepath.Join(dir, OwnerFile), err)}
	}
	if err := checkLogIsThere(fsys, dir); err != nil {
		return is, true, err
	}
	if !slices.Equal(is.Members, want.Members) {
		return is, true, &otherMembersError{dir, is.Members, want.Members}
	}
	return is, true, nil
}

// otherMembersError says that a node was given another list of members than its directory
// has. It matters as long as the log does not name the members.
type otherMembersError struct {
	dir      string
	is, want []string
}

func (e *otherMembersError) Error() string {
	if len(e.is) == 0 {
		return fmt.Sprintf("the data directory %s is that of a node that joins a cluster and has not heard of its members so far, and --cluster names %s: start the node with --join", e.dir, strings.Join(e.want, ", "))
	}
	return fmt.Sprintf("the data directory %s belongs to a cluster of %s, and --cluster names %s: start the node with the members it knows (their addresses may change); another list does not change the membership",
		e.dir, strings.Join(e.is, ", "), strings.Join(e.want, ", "))
}

// hasConfiguration reports whether a log names the members.
func hasConfiguration(state *core.State) bool {
	return state.Snapshot.Members.Record != nil || slices.ContainsFunc(state.Entries, func(e core.Entry) bool { return e.Kind == core.KindConfiguration })
}

// checkUID refuses a directory whose log belongs to another cluster than the
// directory says: the log was copied into it.
func (o Owner) checkUID(dir string, state *core.State) error {
	inLog, ours := state.UID(), o.uid()
	if inLog == (core.UID{}) || ours == (core.UID{}) || inLog == ours {
		return nil
	}
	return &Fault{fmt.Errorf("the data directory %s belongs to the cluster with the uid %v, and the log in it to one with the uid %v: put back the log that belongs there, or empty the directory and start the node with --rejoin", dir, ours, inLog)}
}

// checkLogIsThere refuses a directory that says whose it is but has lost its log. A
// node that forgot how it voted and what it confirmed must not come back under its
// old name.
func checkLogIsThere(fsys vfs.FS, dir string) error {
	names, err := fsys.List(filepath.Join(dir, LogDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Fault{err}
	}
	if slices.ContainsFunc(names, wal.IsSegment) {
		return nil
	}
	return &Fault{fmt.Errorf("the data directory %s has lost its log (%s holds no segments): a node that forgot its log must not take part in its cluster as if nothing had happened; empty the directory and start the node with --rejoin",
		dir, filepath.Join(dir, LogDir))}
}
