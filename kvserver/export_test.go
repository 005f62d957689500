package kvserver

import "raftkv/raft"

// Raft returns the server's Raft, which the labs' own testers reach by the
// field.
func (s *KVServer) Raft() *raft.Raft { return s.rf }
