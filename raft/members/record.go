package members

import "slices"

// Limits of a record.
const (
	MaxBytes         = 16 << 10 // of its encoding
	MaxMembers       = 32
	MaxVoters        = 9   // in either half
	MaxRemoved       = 64  // the oldest are dropped
	MaxChanges       = 32  // the oldest are dropped
	MaxJoinTokens    = 16  //
	MaxAddresses     = 2   // of a member, in addition to those of its peer and client ports
	MaxAddressBytes  = 255 // of one address
	MaxNameBytes     = 32  // of the name of an address
	MaxChangeIDBytes = 128 // of a change, and of a join token
)

// FirstGeneration is the generation of every cluster that was never recovered from the
// loss of its majority.
const FirstGeneration = 1

// Record is one edition of a cluster's register. It is immutable once it was encoded:
// a pointer to it may be kept and read by anyone. A new edition begins as a Clone.
type Record struct {
	UID        UID    // of the cluster
	Generation uint64 // FirstGeneration; raised only when a cluster that lost its majority is recovered
	// Level says what may be written and sent: a feature of a higher level may not be
	// used. It counts from the commit of the entry that raises it, and never falls.
	Level    uint32
	Settings Settings
	Members  []Member    // sorted by ID, each once
	Removed  []Removed   // in the order in which they left; the last MaxRemoved
	Changes  []Change    // in the order in which they were taken; the last MaxChanges
	Tokens   []JoinToken // sorted by ID, each once
}

// Settings are those of the cluster. They are replicated, and the same on all members.
type Settings struct {
	// Wanted is the number of voters that automation keeps to: odd, at most MaxVoters.
	Wanted int
	// Hold keeps the leader from raising the level.
	Hold bool
	// Promotion lets the leader make voters of learners whose member says Promote.
	Promotion bool
	// PromoteAfter is the time in milliseconds for which a learner must have kept up
	// before it is ready to vote.
	PromoteAfter uint32
	// Autopilot lets the leader replace and remove members that are dead.
	Autopilot bool
	// ReplaceAfter is the silence in milliseconds after which autopilot lets a learner
	// take the place of a voter; DeadAfter that after which it removes a member.
	ReplaceAfter, DeadAfter uint32
	// PeerTLS says that members speak TLS to each other, and to nobody without it.
	PeerTLS bool
	// JoinBy says what a server shows that wants to join.
	JoinBy JoinBy
}

// JoinBy says by which proof a server may join. Values are stored on disk.
type JoinBy uint8

const (
	JoinByToken       JoinBy = 0 // one of Record.Tokens
	JoinByCertificate JoinBy = 1 // the certificate of its connection, by the peer port
)

// DefaultSettings returns the settings of a cluster that begins with that many voters.
func DefaultSettings(voters int) Settings {
	wanted := voters | 1 // the next odd number
	if voters <= 1 {
		wanted = 3
	}
	return Settings{
		Wanted: min(wanted, MaxVoters), Promotion: true, PromoteAfter: 10_000,
		ReplaceAfter: 10 * 60_000, DeadAfter: 24 * 60 * 60_000,
	}
}

// Role is what a member is for. Values are stored on disk.
type Role uint8

const (
	Leaving Role = 0 // it voted before, and is gone when the change under way ends
	Voter   Role = 1 // it votes, also before the change under way ends
	Learner Role = 2 // it is sent the log, counts in nothing, and may be promoted
	Replica Role = 3 // as a learner, for good
)

func (r Role) String() string {
	switch r {
	case Leaving:
		return "leaving"
	case Voter:
		return "voter"
	case Learner:
		return "learner"
	case Replica:
		return "replica"
	}
	return "unknown role"
}

// Member is one server of the cluster.
type Member struct {
	ID   ID
	Role Role
	// WasVoter says that it votes in the old half. Without a change under way it is
	// true of the voters and of nobody else.
	WasVoter bool
	// Incarnation is the data directory from which its votes and confirmations count;
	// zero: none is pinned yet.
	Incarnation Incarnation
	// Added is the index of the entry that added it. 0 in a record that is not in the
	// log yet stands for that record's own index.
	Added uint64
	// Peer and HTTP are the addresses of its peer port and its client port, "" if they
	// are not known; Others are more of them, sorted by name.
	Peer, HTTP string
	Others     []Address
	// Promote lets automation make a voter of it; see Settings.Promotion.
	Promote bool
	// Replaces is the voter whose place it is to take when it is promoted; None if it
	// takes nobody's.
	Replaces ID
}

// Address is one more address of a member, by name.
type Address struct{ Name, Address string }

// votes returns the halves in which the member votes.
func (m *Member) votes() Half {
	var h Half
	if m.Role == Voter {
		h |= NewHalf
	}
	if m.WasVoter {
		h |= OldHalf
	}
	return h
}

// Removed names a data directory that is no member any more, and never again.
type Removed struct {
	ID          ID
	Incarnation Incarnation // zero: it was removed before it was pinned
	Added       uint64      // as of the member that it was
	Index       uint64      // of the entry that removed it; 0 stands for the record's own
}

// Change names a change that was taken, so that a second request for the same one can
// be answered as the first was.
type Change struct {
	ID    string
	Index uint64 // of the first entry of the change; 0 stands for the record's own
}

// JoinToken admits a server that shows the secret of which it holds the hash.
type JoinToken struct {
	ID     string
	Hash   [32]byte // SHA-256 of the secret
	Role   Role     // that the server gets: Learner or Replica
	For    ID       // the only ID that may use it; None: any
	Uses   uint32   // how often it may still be used, at least once
	Expiry uint64   // milliseconds since 1970, by the clock of the leader
}

// Clone returns a copy that shares nothing with r, so that it may be changed.
func (r *Record) Clone() Record {
	c := *r
	c.Members = slices.Clone(r.Members)
	for i := range c.Members {
		c.Members[i].Others = slices.Clone(c.Members[i].Others)
	}
	c.Removed = slices.Clone(r.Removed)
	c.Changes = slices.Clone(r.Changes)
	c.Tokens = slices.Clone(r.Tokens)
	return c
}

// Member returns the member with this ID, nil if there is none.
func (r *Record) Member(id ID) *Member {
	i, known := slices.BinarySearchFunc(r.Members, id, func(m Member, id ID) int { return compareIDs(m.ID, id) })
	if !known {
		return nil
	}
	return &r.Members[i]
}

// Put adds a member, or replaces the one with its ID.
func (r *Record) Put(m Member) {
	i, known := slices.BinarySearchFunc(r.Members, m.ID, func(m Member, id ID) int { return compareIDs(m.ID, id) })
	if known {
		r.Members[i] = m
		return
	}
	r.Members = slices.Insert(r.Members, i, m)
}

// Delete takes a member out; nothing happens if there is none with this ID.
func (r *Record) Delete(id ID) {
	r.Members = slices.DeleteFunc(r.Members, func(m Member) bool { return m.ID == id })
}

// Voters returns the IDs of the members that vote in the new half, sorted.
func (r *Record) Voters() []ID {
	var ids []ID
	for i := range r.Members {
		if r.Members[i].Role == Voter {
			ids = append(ids, r.Members[i].ID)
		}
	}
	return ids
}

// IsRemoved reports whether a data directory of this ID was removed for good. An
// incarnation that was never pinned, and so is not known, never was.
func (r *Record) IsRemoved(id ID, incarnation Incarnation) bool {
	return incarnation != Incarnation{} && slices.ContainsFunc(r.Removed, func(gone Removed) bool {
		return gone.ID == id && gone.Incarnation == incarnation
	})
}

// ChangeOf returns the change with this ID, if it is among the last.
func (r *Record) ChangeOf(id string) (Change, bool) {
	for _, c := range r.Changes {
		if c.ID == id {
			return c, true
		}
	}
	return Change{}, false
}

func compareIDs(a, b ID) int {
	switch {
	case a == b:
		return 0
	case a < b:
		return -1
	}
	return 1
}
