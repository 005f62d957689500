package kvserver

import (
	"fmt"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// maxApplyBatch bounds how many commands are applied under one lock, and so how
// long a read waits for it: about a millisecond.
const maxApplyBatch = 256

// applyLoop is the applier: the only writer of the store. It ends when applyCh
// is closed or the server's life ends. It recovers from nothing: a panic in the
// store means that this node cannot tell what its state is, and a wrong node is
// worse than a dead one.
func (s *Server) applyLoop() {
	defer close(s.applierDone)
	batch := make([]raft.ApplyMsg, 0, maxApplyBatch)
	results := make([]kv.Result, 0, maxApplyBatch)
	for {
		select {
		case msg, open := <-s.config.ApplyCh:
			if !open {
				s.end(errStopping)
				return
			}
			batch = append(batch[:0], msg)
		case <-s.life.Done():
			return
		}
		batch = s.drain(batch)
		results = s.applyBatch(batch, results[:0])
		last := uint64(batch[len(batch)-1].CommandIndex)
		// Values and commands must not live on in the spare room of the slices.
		clear(batch)
		s.waiting.finish(results)
		clear(results)
		s.applied.advance(last)
	}
}

// drain adds what is there already, without waiting. A closed channel is left
// for the loop to see.
func (s *Server) drain(batch []raft.ApplyMsg) []raft.ApplyMsg {
	for len(batch) < maxApplyBatch {
		select {
		case msg, open := <-s.config.ApplyCh:
			if !open {
				return batch
			}
			batch = append(batch, msg)
		default:
			return batch
		}
	}
	return batch
}

// applyBatch applies messages under one lock and appends to results those of
// commands that this server proposed in this life.
func (s *Server) applyBatch(batch []raft.ApplyMsg, results []kv.Result) []kv.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, msg := range batch {
		index := uint64(msg.CommandIndex)
		switch {
		case msg.SnapshotValid:
			panic(fmt.Sprintf("kvserver: consensus delivered a snapshot at index %d, which this store cannot take", msg.SnapshotIndex))
		case !msg.CommandValid:
			s.store.Advance(index)
		default:
			command, ok := msg.Command.([]byte)
			if !ok {
				panic(fmt.Sprintf("kvserver: the command at index %d is a %T, not bytes", index, msg.Command))
			}
			if r := s.store.Apply(index, command); r.ID.Origin == s.origin {
				results = append(results, r)
			}
		}
	}
	return results
}
