package main

import (
	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// A server whose data directory is its own, and whole, is not doubted by anybody
// whose word counts, whatever else answers at the addresses of its peers. One on
// a directory that was emptied, copied or put back is believed by no server that can
// tell.

func (s *server) impostor() bool { return s.aside != nil }

// believed: a server talks to a peer from now on.
func (o *oracles) believed(s, peer *server) {
	if peer.impostor() && peer.aside.refused && !s.impostor() {
		o.w.fail("identity", "%s talks to %s, which runs on a directory that is not its own", s.id, peer.id)
	}
}

// refusedPeer: a server refuses a peer. One that lost its disk and does not know the
// cluster's uid may have met a stray in the peer's place. Until one of the two
// learns the uid it cannot tell them apart, so it may refuse the peer: its word does
// not count, and it takes the peer once the uid is known.
func (o *oracles) refusedPeer(s, peer *server, reason identity.Reason) {
	inTheDark := s.identity().Life.Asking && s.uid() == (core.UID{}) && peer.uid() == (core.UID{})
	if inTheDark && s.disk.dir.metStray[peer.id] {
		return
	}
	if !s.impostor() && !peer.impostor() {
		o.w.fail("identity", "%s refuses %s, which runs on its own directory: %s", s.id, peer.id, reason)
	}
}

// doubted: the word of a peer against a server's directory counts.
func (o *oracles) doubted(s *server, by int) {
	if !s.impostor() {
		o.w.fail("identity", "%s runs on its own directory and believes %s, which says that it must not", s.id, o.w.servers[by].id)
	}
}
