package core

import (
	"errors"
	"math/rand/v2"

	"raftkv/raft/members"
)

// ID names a server; UID tells clusters of one name apart. They are those of package
// members.
type (
	ID  = members.ID
	UID = members.UID
)

// None is the ID of nobody.
const None = members.None

// MaxIDBytes bounds the length of an ID on disk and on the wire.
const MaxIDBytes = members.MaxIDBytes

// JoinIDs writes IDs one after the other, with a separator between them.
func JoinIDs(ids []ID, separator string) string {
	var text []byte
	for i, id := range ids {
		if i > 0 {
			text = append(text, separator...)
		}
		text = append(text, id...)
	}
	return string(text)
}

// State is what a server finds on its disk when it starts (Figure 2
// "Persistent state on all servers"). The zero State is a server that never
// ran.
type State struct {
	Term     uint64
	VotedFor ID
	Snapshot Snapshot
	Entries  []Entry // dense, from Snapshot.Index+1
	// Commit is the Commit of the last Write: what was committed up to there stays
	// committed, whatever a leader says. 0 where it is not kept.
	Commit uint64
	// Rejoining is On in the State of a server whose disk took the place of a lost
	// one: it is to be given with a State that is zero otherwise.
	Rejoining Rejoining
}

// Snapshot stands for the log up to an entry (§7 "lastIncludedIndex,
// lastIncludedTerm"). The zero value is "no snapshot".
type Snapshot struct {
	Index uint64 // of the last entry it replaces
	Term  uint64 // of that entry
	UID   UID    // of the cluster, if the log up to Index holds it
	// Members is the newest configuration of the log up to Index, with the index of its
	// own entry; zero if there is none.
	Members members.Version
	// Data is the state machine at Index, as its service wrote it. The core only
	// passes it on; it is nil where the driver keeps it elsewhere.
	Data []byte
}

// Config is fixed for the lifetime of a Raft. Times are in ticks, whose length is
// the driver's affair.
type Config struct {
	ID ID // this server
	// Peers are the servers with which the cluster began, in any order: the voters until
	// the log holds the first record of its members, and of no meaning from then on. They
	// must be the same in every life of this server, for that record may be truncated.
	// Empty on a server that joins; otherwise this server is one of them.
	Peers []ID

	// ElectionTicks is the minimum time without a leader before a server campaigns; the
	// time is drawn anew from [ElectionTicks, 2×ElectionTicks) (§5.2). It must be larger
	// than HeartbeatTicks. With CheckQuorum, a leader that heard from no majority for
	// ElectionTicks steps down.
	ElectionTicks int
	// PromptStart lets a server that has never seen a term wait only a time drawn
	// from [0, ElectionTicks) before its first campaign. That campaign is for
	// term 1, which unseats nobody: a leader that it does not know of yet has at
	// least that term already.
	PromptStart bool
	// HeartbeatTicks is the time between two heartbeats of an idle leader.
	HeartbeatTicks int
	// PromptTicks is how long a leader lets a follower wait for what only the
	// next heartbeat would bring: news of a higher commit index, or the first attempt
	// after a call was lost. Whatever else is sent in that time carries the news.
	// 0 means that both wait for the heartbeat.
	PromptTicks int

	// MaxAppendBytes bounds the entries of one AppendEntries; one entry always
	// fits. 0 means 1 MiB.
	MaxAppendBytes int
	// Window bounds the number of AppendEntries with entries in flight to one
	// follower. 0 means 64.
	Window int
	// WindowBytes bounds the entries in flight to one follower; one AppendEntries
	// always fits. 0 means 8 MiB.
	WindowBytes int
	// BatchBytes is the size from which on entries leave for a follower at once. Less
	// than that is held back while the leader's own disk has a write and something is in
	// flight to that follower, for a tick at most, and leaves in one AppendEntries with
	// what is proposed meanwhile. 0 means 64 KiB; 1 holds nothing back.
	BatchBytes int
	// MaxEntryBytes bounds one command; a longer one is refused with
	// ErrTooLarge. 0 means 4 MiB.
	MaxEntryBytes int
	// MaxApplyBytes bounds one apply batch; one entry always fits. 0 means 4 MiB.
	MaxApplyBytes int
	// MaxWriteBytes bounds the entries of one Write; one entry always fits. The log
	// on the disk must be able to take that much at once. 0 means 8 MiB.
	MaxWriteBytes int
	// MaxUncommittedBytes bounds the entries a leader holds that are not yet
	// committed, and those that are not yet on its own disk; beyond it Propose
	// answers ErrOverloaded. 0 means 64 MiB.
	MaxUncommittedBytes int

	// TrailingBytes is how many bytes of applied entries stay in memory, so that a
	// follower slightly behind needs no snapshot, whenever the last one was taken. It
	// bounds what memory holds of the log to about twice as much, in addition to what
	// is not applied yet. If it is set, Status.SnapshotWanted must be heeded. 0 means
	// that memory holds all entries since the newest snapshot, and none before it.
	TrailingBytes int
	// FollowerBytes bounds, with TrailingBytes, the applied entries that stay in memory
	// for a follower that answers and is slow. A follower that lacks more gets a
	// snapshot. What follows that snapshot stays until the follower has caught up, and
	// is bounded by FollowerBytes again. 0 means 256 MiB.
	FollowerBytes int
	// MaxUnappliedBytes bounds what a follower confirms while its state machine is
	// slow. With more than that committed and not applied it confirms no entries, so
	// the leader sends it no more than Window and WindowBytes beyond. 0 means 256 MiB.
	MaxUnappliedBytes int
	// SnapshotPatience is the number of election timeouts after which a snapshot that
	// was neither answered nor reported lost is sent again. Below 0 it never is, for a
	// driver that always reports losses. 0 means 10.
	SnapshotPatience int

	// StallTicks is the time after which a write that is still outstanding means that
	// the disk hangs. A leader then hands over and steps down, and no server campaigns
	// before that write is saved. 0 means never.
	StallTicks int

	PreVote bool // thesis 9.6: ask before raising the term
	// PreVoteAgain lets only those campaigns ask first that follow one without
	// success: one since a leader was heard or a vote was given. The common election
	// then takes no more messages, and a server that is cut off raises its term once.
	PreVoteAgain bool
	CheckQuorum  bool // a leader without a majority steps down; voters with a leader withhold their vote
	Noop         bool // §8: a new leader appends an empty entry

	// NewUID is the UID that this server gives its cluster if it is the first to
	// lead it; it must be drawn at random. Zero, or without Noop: none is given.
	NewUID UID

	// CommitTicks is the time after which a commit index that only memory knows is
	// written on its own, if no other write has taken it along. 0 means never.
	CommitTicks int

	// Rand draws election timeouts and must be seeded differently on every
	// server. Nothing else in the algorithm is random.
	Rand *rand.Rand
}

// Tag is the driver's name for a request that it handed to Receive or Read. The core
// only gives it back.
type Tag uint64

// Errors of Propose, Reconfigure, Read and Transfer. None of them leaves anything behind:
// what was asked did not happen and will not.
var (
	// ErrNotLeader says that another server must be asked; Status names the
	// leader where one is known.
	ErrNotLeader = errors.New("not the leader")
	// ErrOverloaded says that the leader holds Config.MaxUncommittedBytes already; ask
	// again after a pause.
	ErrOverloaded = errors.New("too much uncommitted work")
	// ErrTooLarge says that the command exceeds Config.MaxEntryBytes.
	ErrTooLarge = errors.New("command too large for a log entry")
	// ErrChangeInProgress says that the configuration in force is not committed yet, or
	// leads to another one that is not there yet, or that this leader has committed
	// nothing in its term yet; ask again in an instant.
	ErrChangeInProgress = errors.New("a change of the members has not ended")
	// ErrConfigurationChanged says that the change was made for a configuration that is
	// not the newest any more.
	ErrConfigurationChanged = errors.New("the configuration is another one by now")
	// ErrTransferring says that leadership is just being handed to another
	// server; ask again in an instant.
	ErrTransferring = errors.New("leadership is being transferred")
	// ErrNobodyElse says that every other server would rather not lead; see
	// Raft.RatherNot.
	ErrNobodyElse = errors.New("every other server says that it cannot serve now")
)
