package kvserver

import (
	"context"
	"io"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/raft/snapshot"
)

// Frozen is the state of the store at one moment, with what a backup says of it.
type Frozen struct {
	View   *kv.View
	header snapshot.Header
}

// Backup returns the state as it is at one moment after the call began, for a
// backup. Any node gives it, and the log takes no part. The request has been
// admitted.
func (s *Server) Backup(ctx context.Context) (*Frozen, error) {
	if err := s.awaitLinearizable(ctx); err != nil {
		return nil, err
	}
	var f *Frozen
	var err error
	s.whileLeaderless(ctx, func() (done bool) {
		f, err = s.freezeWithTerm(ctx)
		return err == nil || failure.Detail(err) != "" || s.machine.Stopping()
	})
	switch {
	case err == nil, failure.Detail(err) != "":
		return f, err
	case s.machine.Stopping():
		return nil, failure.NodeStopping(err)
	}
	return nil, failure.Of(failure.ReadTimeout, err, "the log moved on faster than a backup could begin")
}

// freezeWithTerm freezes the store and asks for the term of the entry it stands at.
// Any other error than failure.Behind says that the log has forgotten that entry
// already; the next one is younger.
func (s *Server) freezeWithTerm(ctx context.Context) (*Frozen, error) {
	view := s.machine.Freeze()
	index := view.AppliedIndex()
	if index == 0 {
		return nil, failure.Of(failure.Behind, nil, "the cluster has not begun its log: there is nothing to back up")
	}
	term, err := s.config.Consensus.TermAt(ctx, index)
	if err != nil {
		return nil, err
	}
	h := snapshot.Header{ClusterID: s.config.ClusterID, Index: index, Term: term, UID: s.config.Consensus.Status().UID}
	return &Frozen{View: view, header: h}, nil
}

// WriteBackup writes a state as a snapshot that a new cluster can begin with. If the
// error says that the memory of this node was damaged, the node is quarantined.
func (s *Server) WriteBackup(to io.Writer, f *Frozen) error {
	container, err := snapshot.NewWriter(to, f.header)
	if err != nil {
		return err
	}
	if err := machine.WriteState(container, f.View, f.header.Index); err != nil {
		s.machine.Damaged(err)
		return err
	}
	return container.Close()
}
