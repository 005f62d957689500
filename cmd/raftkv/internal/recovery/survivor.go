// Package recovery is the command recover: it makes a cluster of one of a data directory
// that is left when a majority of the voters is lost for good.
//
// It works on a directory on which no node runs. [Open] reads it and holds its log;
// [Survivor.Print] says what is in it and what may be missing; [Survivor.Recover] appends
// one batch to the log, so that a crash leaves the old cluster or the new one. The batch has
//
//   - the next term and the node's own vote in it, so that no vote of before counts;
//   - a configuration of the node alone, of the next generation. All other directories are
//     removed by it, and every node that belongs to an older generation is refused by
//     every server that has heard of this one;
//   - a command that raises the store's revision by 2^40, as a restore from a backup does:
//     no ETag, bookmark or lock token of before names another thing;
//   - if that is asked for, a command that ends the enforcing of identities.
//
// Entries behind the last one that is known to be committed stay: it would be worse to lose
// an acknowledged write than to keep one whose outcome was unknown.
package recovery

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver"
	"raftkv/kvserver/kv"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
	"raftkv/raft/members"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// Survivor is a data directory that is left. It is for one goroutine.
type Survivor struct {
	fsys      vfs.FS
	dir       string
	owner     datadir.Owner
	directory identity.Incarnation
	log       *wal.WAL
	state     core.State
	newest    members.Version // the configuration with which the log ends
}

// Open reads a data directory and holds its log until Close. The error says why it cannot be
// recovered from: a node runs on it, it is no node's, it was removed or is fenced, or its log
// is damaged or has no record of the members.
func Open(fsys vfs.FS, dir string) (*Survivor, error) {
	owner, directory, err := datadir.Survivor(fsys, dir)
	if err != nil {
		return nil, err
	}
	s := &Survivor{fsys: fsys, dir: dir, owner: owner, directory: directory}
	s.log, s.state, err = wal.Open(wal.Options{FS: fsys, Dir: filepath.Join(dir, datadir.LogDir), ClusterID: owner.ClusterID, NodeID: owner.NodeID})
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("a node runs on the data directory %s: stop it first, or leave everything as it is: %w", dir, err)
	}
	if err != nil {
		return nil, err
	}
	if s.newest, err = newest(&s.state); err == nil {
		err = s.check()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close lets go of the log.
func (s *Survivor) Close() error { return s.log.Close() }

// newest returns the configuration with which a log ends, the zero one if it has none.
func newest(state *core.State) (members.Version, error) {
	v := state.Snapshot.Members
	for i := range state.Entries {
		if e := &state.Entries[i]; e.Kind == core.KindConfiguration {
			record, err := members.Decode(e.Data)
			if err != nil {
				return v, fmt.Errorf("the log entry at index %d: %w", e.Index, err)
			}
			v = members.Version{Index: e.Index, Record: record}
		}
	}
	return v, nil
}

// check says what keeps the directory from being recovered from.
func (s *Survivor) check() error {
	known, err := levels.Of(levels.Newest)
	if err != nil {
		return err
	}
	r := s.newest.Record
	switch {
	case r == nil:
		return fmt.Errorf("the log in %s has no record of the members: the cluster works at level 2, where a recovery cannot tell the nodes that come back that they were left behind; restore a backup (raftkv snapshot restore)", s.dir)
	case !known.Knows(r.Level):
		return fmt.Errorf("the cluster of the data directory %s works at level %d, and this program at levels %v: use the newer raftkv that ran here; nothing was changed", s.dir, r.Level, known)
	}
	if _, err := r.Recovered(s.id(), members.Incarnation(s.directory)); err != nil {
		return fmt.Errorf("the data directory %s is not that of a member, by the record in its own log (entry %d): %w", s.dir, s.newest.Index, err)
	}
	return nil
}

func (s *Survivor) id() members.ID { return members.ID(s.owner.NodeID) }

// last returns the last entry of the log.
func (s *Survivor) last() (index, term uint64) {
	if n := len(s.state.Entries); n > 0 {
		return s.state.Entries[n-1].Index, s.state.Entries[n-1].Term
	}
	return s.state.Snapshot.Index, s.state.Snapshot.Term
}

// Print says what is in the directory, what may be missing, and what a recovery makes of it.
func (s *Survivor) Print(to io.Writer) error {
	var b strings.Builder
	r := s.newest.Record
	index, term := s.last()
	fmt.Fprintf(&b, "%s: node %s of cluster %s, uid %s, generation %d, level %d\n", s.dir, s.owner.NodeID, s.owner.ClusterID, r.UID, r.Generation, r.Level)
	fmt.Fprintf(&b, "log        ends with entry %d of term %d; term %d; snapshot at entry %d\n", index, term, s.state.Term, s.state.Snapshot.Index)
	fmt.Fprintf(&b, "members    by entry %d:%s\n", s.newest.Index, described(r, s.id()))
	committed := max(s.state.Commit, s.state.Snapshot.Index)
	if committed < index {
		fmt.Fprintf(&b, "uncertain  entries %d to %d may never have been committed. They stay, so a write whose client\n           was told not_applied or unknown may appear.\n", committed+1, index)
	}
	fmt.Fprintf(&b, "missing    what the other nodes acknowledged behind entry %d, if there was anything: it cannot be\n           told from here. If several directories are left, look at each with --plan, and go on\n           with the one whose log ends latest: the higher term of its last entry, then the higher\n           index.\n", index)
	fmt.Fprintf(&b, "afterwards %s is a cluster of one, of generation %d. All other directories are refused for good.\n           Revisions go on 2^40 higher, watches begin anew, and join tokens are void.\n", s.owner.NodeID, r.Generation+1)
	_, err := io.WriteString(to, b.String())
	return err
}

// described lists the members.
func described(r *members.Record, own members.ID) string {
	var b strings.Builder
	for i := range r.Members {
		m := &r.Members[i]
		fmt.Fprintf(&b, " %s %v", m.ID, m.Role)
		switch {
		case m.ID == own:
			b.WriteString(" (this one)")
		case m.Peer != "":
			b.WriteString(" at " + m.Peer)
		}
		if i < len(r.Members)-1 {
			b.WriteString(",")
		}
	}
	return b.String()
}

// Recover makes the directory that of a cluster of one. When it returns nil, that is durable;
// after an error or a crash the log is as it was, or it is done. With resetAuth identities are
// not enforced afterwards, and the directory says so before the log does: its node must not
// start beyond its machine because of what was enforced once.
func (s *Survivor) Recover(resetAuth bool) error {
	record, err := s.newest.Record.Recovered(s.id(), members.Incarnation(s.directory))
	if err != nil {
		return err
	}
	index, _ := s.last()
	term := s.state.Term + 1
	record.Stamp(index + 1)
	data, err := record.Encode()
	if err != nil {
		return err
	}
	entries := []core.Entry{
		core.NewEntry(index+1, term, core.KindConfiguration, data),
		core.NewEntry(index+2, term, core.KindCommand, kv.EncodeCommand(kv.Raise(kvserver.RevisionLift))),
	}
	if resetAuth {
		entries = append(entries, core.NewEntry(index+3, term, core.KindCommand, kv.EncodeCommand(kv.EndEnforcing())))
		if err := secure.Remember(s.fsys, s.dir, false); err != nil {
			return fmt.Errorf("noting that identities are not enforced any more: %w", err)
		}
	}
	return s.log.Save(&core.Write{
		Seq: 1, Term: term, VotedFor: s.id(), From: index + 1, Commit: s.state.Commit, Entries: entries,
	})
}
