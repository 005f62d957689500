package flight

import (
	"time"

	"raftkv/kvserver/recorder"
	"raftkv/raft/core"
	"raftkv/raft/wire"
)

// Kinds and reasons of consensus and of the transport have numbers of their own, which
// are not kept for ever. These tables give them the recorder's.

var coreKinds = map[core.NoteKind]recorder.Kind{
	core.NoteTimeout: recorder.Timeout, core.NoteSuspected: recorder.Suspected, core.NotePreVote: recorder.PreVote,
	core.NoteCampaign: recorder.Campaign, core.NotePreVoteGranted: recorder.PreVoteGranted, core.NotePreVoteRefused: recorder.PreVoteRefused,
	core.NoteVoteGranted: recorder.VoteGranted, core.NoteVoteRefused: recorder.VoteRefused, core.NoteElected: recorder.Elected,
	core.NoteSteppedDown: recorder.SteppedDown, core.NoteTransfer: recorder.Transfer, core.NoteTransferGivenUp: recorder.TransferGivenUp,
	core.NoteTransferTaken: recorder.TransferTaken, core.NoteFollowed: recorder.Followed, core.NoteFirstCommit: recorder.FirstCommit,
	core.NoteTruncated: recorder.Truncated, core.NoteMismatch: recorder.Mismatch, core.NoteSilent: recorder.Silent, core.NoteHeard: recorder.Heard,
	core.NoteSnapshotSent: recorder.SnapshotSent, core.NoteSnapshotTaken: recorder.SnapshotTaken, core.NoteInstalled: recorder.Installed,
	core.NoteForgot: recorder.Forgot, core.NoteDiskHangs: recorder.DiskHangs, core.NoteDiskBack: recorder.DiskBack,
	core.NoteRejoinGoal: recorder.RejoinGoal, core.NoteRejoined: recorder.Rejoined,
}

var coreWhys = map[core.Why]recorder.Why{
	core.WhyNone: recorder.None, core.WhyOlderTerm: recorder.OlderTerm, core.WhyHearsLeader: recorder.HearsLeader, core.WhyVoted: recorder.Voted,
	core.WhyLogBehind: recorder.LogBehind, core.WhyDiskHangs: recorder.HangingDisk, core.WhyRejoining: recorder.Rejoining,
	core.WhyNewerTerm: recorder.NewerTerm, core.WhyLostMajority: recorder.LostMajority, core.WhyTransfer: recorder.HandedOver,
}

var wireKinds = map[wire.NoteKind]recorder.Kind{
	wire.NoteConnected: recorder.Connected, wire.NoteAccepted: recorder.Accepted, wire.NoteEnded: recorder.Ended,
	wire.NoteUnreachable: recorder.Unreachable, wire.NoteRejected: recorder.Rejected,
}

var wireWhys = map[wire.Why]recorder.Why{
	wire.WhyNone: recorder.None, wire.WhyClosedByPeer: recorder.ClosedByPeer, wire.WhyReset: recorder.Reset, wire.WhyHostSilent: recorder.HostSilent,
	wire.WhyCallTimeout: recorder.CallTimeout, wire.WhyStalled: recorder.Stalled, wire.WhyMalformed: recorder.Malformed,
	wire.WhyReplaced: recorder.Replaced, wire.WhyByUs: recorder.ByUs, wire.WhyRefused: recorder.NobodyListens, wire.WhyNoAnswer: recorder.NoAnswer,
	wire.WhyNoRoute: recorder.NoRoute, wire.WhyTurnedDown: recorder.TurnedDown, wire.WhyWeTurnDown: recorder.WeTurnDown, wire.WhyOther: recorder.Other,
	wire.WhyDirectory: recorder.WrongData, wire.WhyOtherCluster: recorder.OtherCluster, wire.WhyVersion: recorder.OtherVersion,
	wire.WhyTooMany: recorder.TooMany, wire.WhyNoHello: recorder.NoHello, wire.WhyIdentity: recorder.NoIdentity,
}

// Noted records what consensus noted in a turn; see node.Observer. It is called by one
// goroutine at a time.
func (r *Recording) Noted(notes []core.Note, still time.Duration) {
	if r == nil {
		return
	}
	for _, n := range notes {
		e := recorder.Event{
			Kind: coreKinds[n.Kind], Why: coreWhys[n.Why], Peer: r.recorder.Peer(string(n.Peer)),
			Term: n.Term, Index: n.Index, A: int64(n.A), B: int64(n.B),
		}
		switch n.Kind {
		case core.NoteTimeout, core.NoteSuspected, core.NoteDiskHangs, core.NoteDiskBack:
			e.A *= int64(r.config.Tick)
		case core.NoteSteppedDown:
			if n.Why != core.WhyNewerTerm && n.Why != core.WhyTransfer {
				e.A *= int64(r.config.Tick)
			}
		case core.NoteFirstCommit:
			e.A = int64(still)
		}
		switch n.Kind {
		case core.NoteElected, core.NoteFollowed:
			r.timeouts, r.preVotes = wait{}, wait{}
		case core.NoteTimeout:
			if !r.timeouts.passes(&e, time.Now()) {
				continue
			}
		case core.NotePreVote:
			if !r.preVotes.passes(&e, time.Now()) {
				continue
			}
		}
		r.recorder.Record(e)
	}
}

// Connection records what the transport noted.
func (r *Recording) Connection(n wire.Note) {
	if r == nil {
		return
	}
	e := recorder.Event{Kind: wireKinds[n.Kind], Why: wireWhys[n.Why], Peer: r.recorder.Peer(string(n.Peer)), A: int64(n.Boot)}
	if n.Inbound {
		e.B = 1
	}
	r.recorder.Record(e)
}

// Late records that the loop of consensus woke late; see node.Observer.
func (r *Recording) Late(by time.Duration) {
	if r != nil && by >= slowTurn {
		r.recorder.Record(recorder.Event{Kind: recorder.LoopLate, A: int64(by)})
	}
}

// Slow is what takes eight times as long as is usual, and at least this.
const (
	slowTurn   = 20 * time.Millisecond
	slowCommit = 20 * time.Millisecond
	slowSave   = 5 * time.Millisecond
	slowFactor = 8
)

// Saved records a write that was slow. It is called by the writer.
func (r *Recording) Saved(write *core.Write, took time.Duration) {
	if r == nil {
		return
	}
	r.slowestSave.note(took)
	usual := r.saves.note(took, time.Now())
	if took >= slowSave && took >= slowFactor*usual {
		r.recorder.Record(recorder.Event{Kind: recorder.SlowSave, Index: write.Seq, A: int64(took), B: int64(usual)})
	}
}

// Committed records an entry whose commitment was slow. It is called by the loop.
func (r *Recording) Committed(took time.Duration) {
	if r == nil {
		return
	}
	r.slowestCommit.note(took)
	usual := r.commits.note(took, time.Now())
	if took >= slowCommit && took >= slowFactor*usual {
		r.recorder.Record(recorder.Event{Kind: recorder.SlowCommit, A: int64(took), B: int64(usual)})
	}
}
