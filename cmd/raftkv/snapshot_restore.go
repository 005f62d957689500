package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/address"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/inventory"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// restoreSettings are the flags of snapshot restore.
type restoreSettings struct {
	dataDir, id, cluster, clusterID string
	noLift                          bool // keep the revision of the backup
	resetAuth                       bool // without the identities of the backup
}

func newSnapshotRestoreCommand() *cobra.Command {
	var s restoreSettings
	command := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make the data directory of one node of a new cluster from a backup",
		Long: `Make the data directory of one node of a new cluster that begins with what a
backup holds: every key, revision, session and idempotency record. Run it for
every node of the new cluster, with the same file, and then start them all with
the same --id, --data-dir, --cluster and --cluster-id. Directories that were made
from different backups, or for other members, have another uid: their nodes
refuse each other.

The new cluster needs a name that the old one does not have, so that a node of
the old one that comes back can never take part in it. The data directory must
be empty or missing; a lost+found, and what else a file system keeps for itself,
does not count.

The store's revision is raised by 2^40, so that a revision which the old cluster
gave after the backup is never given to another value, and an If-Match that still
names it fails. Keys keep the revisions that they have. --no-lift goes on from the
revision of the backup.

Identities, tokens and whether they are enforced are those of the backup.
--reset-auth leaves them out, for a backup whose tokens nobody has any more: the new
cluster begins with identities enforced and none in its table, and its nodes start
with --auth-file alone, by which the first admin is made.`,
		Example: `  raftkv snapshot restore monday.snapshot --data-dir ./n1 --id n1 \
    --cluster n1=127.0.0.1:9701,n2=127.0.0.1:9702,n3=127.0.0.1:9703 --cluster-id restored`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return s.restore(args[0], command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.dataDir, "data-dir", "", "directory for the node's data; empty or missing")
	flags.StringVar(&s.id, "id", "", "name of the node, one of those in --cluster")
	flags.StringVar(&s.cluster, "cluster", "", "peer addresses of all nodes of the new cluster: n1=host:port,n2=host:port,…")
	flags.StringVar(&s.clusterID, "cluster-id", "", "name of the new cluster")
	flags.BoolVar(&s.noLift, "no-lift", false, "go on from the revision of the backup")
	flags.BoolVar(&s.resetAuth, "reset-auth", false, "without the backup's identities and tokens; the nodes then need --auth-file")
	return command
}

func (s *restoreSettings) restore(path string, stdout, stderr io.Writer) error {
	owner, err := s.owner()
	if err != nil {
		return err
	}
	if err := checkEmptyDirectory(s.dataDir); err != nil {
		return err
	}
	backup, err := readBackup(path, "checking", stderr)
	if err != nil {
		return err
	}
	if backup.Cluster == s.clusterID {
		return fmt.Errorf("the backup is of a cluster named %s, too: give the new one another --cluster-id, or nodes of the old one could take part in it", s.clusterID)
	}
	if s.noLift {
		err = backup.KeepRevision()
	} else if err = backup.Lift(); err != nil {
		err = fmt.Errorf("%w; restore with --no-lift, if no client can still know a revision that the old cluster gave after the backup", err)
	}
	if err != nil {
		return exit.Fail(err)
	}
	if s.resetAuth {
		backup.ResetAuth()
	}
	uid := s.uid(owner.Members, backup)
	if err := s.fill(owner, uid, backup, stderr); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: node %s of cluster %s, uid %s, with %d keys at revision %d\n", s.dataDir, s.id, s.clusterID, uid, backup.Keys, backup.Revision())
	return err
}

// owner checks the flags and returns whose directory it will be.
func (s *restoreSettings) owner() (datadir.Owner, error) {
	for _, needed := range []struct{ flag, value string }{
		{"data-dir", s.dataDir}, {"id", s.id}, {"cluster", s.cluster}, {"cluster-id", s.clusterID},
	} {
		if needed.value == "" {
			return datadir.Owner{}, fmt.Errorf("--%s is missing", needed.flag)
		}
	}
	for _, named := range []struct{ flag, value string }{{"id", s.id}, {"cluster-id", s.clusterID}} {
		if err := address.CheckName(named.value); err != nil {
			return datadir.Owner{}, fmt.Errorf("--%s %w", named.flag, err)
		}
	}
	m, err := address.ParseMembers(s.cluster)
	if err != nil {
		return datadir.Owner{}, err
	}
	if _, isMember := m[core.ID(s.id)]; !isMember {
		return datadir.Owner{}, fmt.Errorf("--cluster names %s and not this node, %s: add %s=host:port to it, or correct --id", core.JoinIDs(m.IDs(), ", "), s.id, s.id)
	}
	return datadir.NewOwner(s.clusterID, core.ID(s.id), m.IDs()), nil
}

// checkEmptyDirectory refuses a directory that holds anything but what a file
// system keeps for itself.
func checkEmptyDirectory(path string) error {
	holds, err := inventory.Take(vfs.OS{}, path)
	if err != nil {
		return err
	}
	return holds.CheckForRestore(path)
}

// uid returns the uid of the new cluster. It follows from what the cluster begins
// with: the backup, whether the revision is raised and identities are left out, the name
// and the members. So
// the directories of one cluster agree without having spoken, and a directory that
// began otherwise is another cluster's.
func (s *restoreSettings) uid(members []string, backup *kvserver.BackupState) (uid core.UID) {
	h := sha256.New()
	text := func(t string) { fmt.Fprintf(h, "%d:%s,", len(t), t) }
	number := func(n uint64) { fmt.Fprintf(h, "%d,", n) }
	text("raftkv: the uid of a restored cluster, 1")
	text(backup.UID)
	number(backup.Index)
	number(backup.Term)
	text(backup.Hash)
	number(backup.Revision())
	text(s.clusterID)
	number(uint64(len(members)))
	for _, id := range members { // sorted
		text(id)
	}
	if s.resetAuth {
		text("without identities")
	}
	copy(uid[:], h.Sum(nil))
	return uid
}

// fill makes the log and then says whose the directory is, in the order in which
// a node does it. A directory that was filled in part is emptied again, or the
// next attempt would be refused.
func (s *restoreSettings) fill(owner datadir.Owner, uid core.UID, backup *kvserver.BackupState, stderr io.Writer) error {
	bar := terminal.StartProgress(stderr, "restoring", int64(backup.Bytes))
	defer bar.Finish()
	ctx, endOfSignals := awaitEnd(true)
	defer endOfSignals()
	fsys := vfs.OS{}
	err := wal.Initialize(
		wal.Options{FS: fsys, Dir: filepath.Join(s.dataDir, datadir.LogDir), ClusterID: s.clusterID, NodeID: s.id},
		backup.Term, core.Snapshot{Index: backup.Index, Term: backup.Term, UID: uid},
		func(to io.Writer) error {
			_, err := backup.WriteTo(&terminal.WatchedWriter{To: untilEnd{ctx, to}, Bar: bar})
			return err
		})
	if err == nil {
		err = s.mark().Write(fsys, s.dataDir) // it is a new cluster's
	}
	if err == nil {
		owner.UID = uid.String()
		err = owner.Write(fsys, s.dataDir)
	}
	if err != nil {
		return exit.Fail(errors.Join(fmt.Errorf("making %s: %w", s.dataDir, err), s.clear()))
	}
	return nil
}

// mark is what the directory remembers of the rules under which its node runs.
func (s *restoreSettings) mark() (m secure.Mark) {
	if s.resetAuth {
		m.Identities = secure.Begins
	}
	return m
}

// untilEnd writes until ctx ends, so that a restore that is told to end removes
// what it has made.
type untilEnd struct {
	ctx context.Context
	to  io.Writer
}

func (u untilEnd) Write(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, errors.New("the restore was ended by a signal")
	}
	return u.to.Write(p)
}

// clear removes what fill has made.
func (s *restoreSettings) clear() error {
	return errors.Join(os.RemoveAll(filepath.Join(s.dataDir, datadir.LogDir)),
		os.RemoveAll(filepath.Join(s.dataDir, datadir.SecureFile)), os.RemoveAll(filepath.Join(s.dataDir, datadir.SecureFile+datadir.TmpSuffix)),
		os.RemoveAll(filepath.Join(s.dataDir, datadir.OwnerFile)), os.RemoveAll(filepath.Join(s.dataDir, datadir.OwnerFile+datadir.TmpSuffix)))
}
