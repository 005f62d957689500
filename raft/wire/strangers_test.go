package wire

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/raft/certs"
	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// everyKind lists the kinds of frames that may come at some moment in some direction.
func everyKind() map[kind]bool {
	all := map[kind]bool{}
	for _, some := range []limits{
		strangerFrames, greetingFrames, transferGreetingFrames, requestFrames, answerFrames, joinFrames, joinReplyFrames,
		offerFrames, offerReplyFrames, chunkFrames, installReplyFrames,
	} {
		for k := range some {
			all[k] = true
		}
	}
	return all
}

// Goal (S1, S3): of no kind of frame does a peer port take one from a connection that does not
// prove to be the peer that its hello names: nothing comes to the Handler, from which alone terms,
// logs and votes change, nor to the snapshots, nor to what lets servers join; and it is counted.
// A kind that is added needs its row here.
// Method: a frame of each kind behind a hello that fits, in clear, and in turns without a
// certificate, with one of another CA, and with that of another node; and, so that it is not void,
// with that of the peer.
func TestNoKindIsTakenFromAStranger(t *testing.T) {
	a, b := newTrust(t, "a"), newTrust(t, "b")
	dead := listen(t, "127.0.0.1:0") // n2 itself is not there
	dead.Close()
	var joins atomic.Int32
	snapshots := newShelf()
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": dead.Addr().String()}, func(c *Config) {
		c.TLS, c.Snapshots = a.secure(t, "n1", true, true), snapshots
		c.Join = func(context.Context, core.ID, []byte) []byte { joins.Add(1); return []byte("{}") }
	}, nil)
	e := newEncoder()
	requests := map[kind]core.Request{
		kindRequestVote: &core.RequestVote{Term: 99, CandidateID: "n2", LastLogIndex: 99, LastLogTerm: 98}, kindAppendEntries: &core.AppendEntries{Term: 99, LeaderID: "n2"},
		kindTimeoutNow: &core.TimeoutNow{Term: 99, LeaderID: "n2"}, kindReadIndex: &core.ReadIndex{Term: 99}, kindRejoin: &core.Rejoin{},
	}
	hello, transfer := e.hello(nil, kindHello, validHello("n2", "n1")), e.hello(nil, kindTransferHello, validHello("n2", "n1"))
	behind := func(greeting []byte, k kind, body string) []byte {
		return append(append([]byte{}, greeting...), e.opaque(nil, k, []byte(body))...)
	}
	rows := map[kind][]byte{
		kindHello: hello, kindTransferHello: transfer, kindRefusal: append(append([]byte{}, hello...), e.refusal(nil, &rejection{reason: ReasonSender, detail: "no"}, validHello("n2", "n1"))...),
		kindStanding: append(append([]byte{}, hello...), e.standing(nil, identity.Standing{Term: 99, Last: 99, LastTerm: 99, Commit: 99}, core.UID{5})...),
		kindJoin:     behind(e.hello(nil, kindHello, validHello("n2", core.None)), kindJoin, "{}"), kindJoinReply: behind(hello, kindJoinReply, "{}"),
		kindSnapshotOffer: behind(transfer, kindSnapshotOffer, "\x90"), kindSnapshotOfferReply: behind(transfer, kindSnapshotOfferReply, "\x90"),
		kindSnapshotChunk: append(append([]byte{}, transfer...), e.chunk(nil, 0, []byte("data"))...), kindInstallSnapshotReply: behind(transfer, kindInstallSnapshotReply, "\x90"),
		kindSnapshotFailed: behind(transfer, kindSnapshotFailed, "\x90"),
	}
	for _, k := range []kind{kindNoReply, kindOvertakes, kindRequestVoteReply, kindAppendEntriesReply, kindTimeoutNowReply, kindReadIndexReply, kindRejoinReply} {
		rows[k] = behind(hello, k, "\x90")
	}
	for k, request := range requests {
		frame, err := e.request(nil, request)
		if err != nil {
			t.Fatal(err)
		}
		rows[k] = append(append([]byte{}, hello...), frame...)
	}
	strangers := map[string]*tls.Config{"in clear": nil}
	for name, set := range map[string]*certs.Set{
		"no certificate": a.set(t, ofNode("n2"), a.CertPEM, nil), "another CA": b.set(t, ofNode("n2"), a.CertPEM, nil), "another node": a.set(t, ofNode("n3"), a.CertPEM, nil),
		"the peer": a.set(t, ofNode("n2"), a.CertPEM, nil),
	} {
		strangers[name] = certs.PeerDialer(certs.NewStore(set), a.identity, "n1")
	}
	strangers["no certificate"].GetClientCertificate = nil
	say := func(what *tls.Config, bytes []byte) {
		conn, err := net.Dial("tcp", s.config.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		stream := net.Conn(conn)
		if what != nil {
			stream = tls.Client(conn, what)
		}
		_, _ = stream.Write(bytes)
		r := newRaw(stream)
		_, _, _ = r.frames.next(greetingFrames)
	}
	proved := []string{"no certificate", "another CA", "another node"}
	for i, k := range slices.Sorted(maps.Keys(everyKind())) {
		row := rows[k]
		if row == nil {
			t.Errorf("what does a frame of kind 0x%02x do that comes from a stranger?", uint8(k))
			continue
		}
		for _, name := range []string{"in clear", proved[i%len(proved)]} { // a handshake costs 10 ms
			before := s.Stats().Rejected[ReasonIdentity]
			say(strangers[name], row)
			eventually(t, fmt.Sprintf("kind 0x%02x, %s, is counted", uint8(k), name), func() bool { return s.Stats().Rejected[ReasonIdentity] == before+1 })
			if n := len(s.received()); n != 0 || joins.Load() != 0 || len(snapshots.resumed) != 0 {
				t.Fatalf("a frame of kind 0x%02x of a stranger, %s, is taken: %d requests, %d wishes to join, %d snapshots", uint8(k), name, n, joins.Load(), len(snapshots.resumed))
			}
		}
	}
	say(strangers["the peer"], rows[kindRequestVote])
	eventually(t, "the vote that the peer asks for", func() bool { return len(s.received()) == 1 })
}
