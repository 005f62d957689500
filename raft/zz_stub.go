package raft

import "context"

// TermAt stands in until the real one is merged.
func (rf *Raft) TermAt(_ context.Context, index uint64) (uint64, error) { return rf.Status().Term, nil }
