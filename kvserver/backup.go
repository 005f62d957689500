package kvserver

import (
	"fmt"
	"io"

	"raftkv/kvserver/kv"
	"raftkv/raft/snapshot"
)

// Backup says what a backup file holds.
type Backup struct {
	Cluster string `json:"cluster"`
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

// ReadBackup reads a whole backup and checks everything in it: the container's
// checksums and the digest of the content. It takes as much memory as a server
// with that content. Errors are those of package snapshot, wrap kv.ErrBadSnapshot
// or are the reader's.
func ReadBackup(from io.Reader) (Backup, error) {
	container, err := snapshot.NewReader(from)
	if err != nil {
		return Backup{}, err
	}
	h := container.Header()
	store, err := kv.Restore(container)
	if err != nil {
		return Backup{}, err
	}
	if store.AppliedIndex() != h.Index {
		return Backup{}, fmt.Errorf("%w: a state at index %d in a container for index %d", kv.ErrBadSnapshot, store.AppliedIndex(), h.Index)
	}
	return Backup{
		Cluster: h.ClusterID, Index: h.Index, Term: h.Term,
		Keys: store.Len(), Bytes: store.Bytes(), Revision: store.Revision(),
		Sessions: store.Sessions(), IdempotencyRecords: store.IdempotencyRecords(),
		Digest: store.Digest().String(), Hash: fmt.Sprintf("%x", store.Hash()),
	}, nil
}
