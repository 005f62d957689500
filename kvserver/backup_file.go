package kvserver

import (
	"fmt"
	"io"

	"raftkv/kvserver/kv"
	"raftkv/raft"
	"raftkv/raft/snapshot"
)

// Backup says what a backup file holds.
type Backup struct {
	Cluster string `json:"cluster"`
	UID     string `json:"uid"`   // of the cluster, 32 hexadecimal digits; "" if it was not known
	Index   uint64 `json:"index"` // of the log entry it stands at
	Term    uint64 `json:"term"`  // of that entry

	Keys               int    `json:"keys"`
	Bytes              int    `json:"bytes"` // of keys and values
	Revision           uint64 `json:"revision"`
	Sessions           int    `json:"sessions"`
	IdempotencyRecords int    `json:"idempotency_records"`
	Digest             string `json:"digest"`
	Hash               string `json:"hash"` // SHA-256 of the content, in whatever container
}

// RevisionLift is by how much the revision of a restored store exceeds that of
// its backup, unless this is not wanted: more than a cluster makes changes after
// any backup.
const RevisionLift = kv.RevisionLift

// BackupState is the content of a backup, in memory, from which a new cluster can
// begin. It is for one goroutine.
type BackupState struct {
	Backup
	store *kv.Store
}

// ReadBackup reads a whole backup and checks everything in it, as ReadBackupState
// does.
func ReadBackup(from io.Reader) (Backup, error) {
	b, err := ReadBackupState(from)
	if err != nil {
		return Backup{}, err
	}
	return b.Backup, nil
}

// ReadBackupState reads a whole backup and checks everything in it: the
// container's checksums and the digest of the content. It takes as much memory as
// a server with that content. Errors are those of package snapshot, wrap
// kv.ErrBadSnapshot or are the reader's.
func ReadBackupState(from io.Reader) (*BackupState, error) {
	container, err := snapshot.NewReader(from)
	if err != nil {
		return nil, err
	}
	h := container.Header()
	store, err := kv.Restore(container)
	if err != nil {
		return nil, err
	}
	if store.AppliedIndex() != h.Index {
		return nil, fmt.Errorf("%w: a state at index %d in a container for index %d", kv.ErrBadSnapshot, store.AppliedIndex(), h.Index)
	}
	return &BackupState{store: store, Backup: Backup{
		Cluster: h.ClusterID, UID: raft.UID(h.UID).String(), Index: h.Index, Term: h.Term,
		Keys: store.Len(), Bytes: store.Bytes(), Revision: store.Revision(),
		Sessions: store.Sessions(), IdempotencyRecords: store.IdempotencyRecords(),
		Digest: store.Digest().String(), Hash: fmt.Sprintf("%x", store.Hash()),
	}}, nil
}

// Lift raises the revision of the state by RevisionLift, so that no revision that
// the backed-up cluster gave after the backup is given again. The description of
// the backup stays as it was read.
func (b *BackupState) Lift() error { return b.store.Lift(RevisionLift) }

// KeepRevision makes the state that of a cluster which goes on from the backup's
// revision. The history begins anew, as behind Lift: the backed-up cluster may have
// gone on in another way.
func (b *BackupState) KeepRevision() error { return b.store.Lift(0) }

// ResetAuth takes the identities and tokens out of the state.
func (b *BackupState) ResetAuth() { b.store.ResetAuth() }

// Revision returns the revision of the state, which Lift raises.
func (b *BackupState) Revision() uint64 { return b.store.Revision() }

// WriteTo writes the state as the payload of a snapshot.
func (b *BackupState) WriteTo(w io.Writer) (int64, error) { return b.store.WriteTo(w) }
