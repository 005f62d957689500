package api

// Status is the answer to GET /v1/status: one node's view of itself and, on a
// leader, of its peers.
type Status struct {
	Node    string `json:"node"`
	Cluster string `json:"cluster"`
	UID     string `json:"uid,omitempty"` // of the cluster, 32 hexadecimal digits; "" until its first leader is known
	Role    string `json:"role"`          // leader, follower, candidate, pre-candidate
	Term    uint64 `json:"term"`
	Leader  string `json:"leader"` // "" if none is known
	Commit  uint64 `json:"commit"` // last log index known to be committed
	Applied uint64 `json:"applied"`
	Log     Log    `json:"log"`
	Peers   []Peer `json:"peers,omitempty"`
	// Changes counts what this node had to do with changes of leadership.
	Changes Changes `json:"leader_changes"`
	Store   Store   `json:"store"`
	Load    Load    `json:"load"`
	Limits  Limits  `json:"limits"`
	Disk    Disk    `json:"disk,omitzero"`
	Process Process `json:"process,omitzero"`
	// Rejoin is how far the node has come back after it lost its disk; nil on a full
	// member.
	Rejoin *Rejoin `json:"rejoin,omitempty"`
	// Integrity is what the node knows of its state being the others'.
	Integrity Integrity `json:"integrity"`
	Build     string    `json:"build"`
}

// Rejoin says what a node that lost its disk waits for before it votes again.
type Rejoin struct {
	Goal    uint64   `json:"goal"`              // log index to be committed here; 0 while the others are asked
	Unheard []string `json:"unheard,omitempty"` // nodes that have not answered yet
	Too     []string `json:"too,omitempty"`     // nodes that have lost their disks as well
}

// Integrity says whether a node's state was found to be that of the others.
type Integrity struct {
	// Result is how the last comparison ended: ok; unknown, if too few nodes
	// answered; mismatch, if a node differs and no majority says which of them is
	// wrong; diverged, if it is this one. "" before the first.
	Result string `json:"result"`
	// OKIndex is the log index at which the states were last found equal.
	OKIndex      uint64 `json:"ok_index"`
	OKSecondsAgo int64  `json:"ok_seconds_ago"`
	// Fault says why the node serves nothing; "" while it does.
	Fault string `json:"fault,omitempty"`
}

// Log is the range of indices that a node holds of the log.
type Log struct {
	First    uint64 `json:"first"` // in memory; on disk the log begins behind Snapshot
	Last     uint64 `json:"last"`
	Snapshot uint64 `json:"snapshot"` // where the newest snapshot stands; 0 if there is none
	// Stalled says that the disk under the log hangs.
	Stalled bool `json:"stalled"`
	// CommitP99Seconds is what the slowest hundredth of the entries of this leader
	// took from their proposal to their commitment, over the last minute; 0 if
	// there were none.
	CommitP99Seconds float64 `json:"commit_p99_seconds,omitzero"`
}

// Changes are counts since the start of a process.
type Changes struct {
	Elected     uint64 `json:"elected"`      // elections that this node won
	Transferred uint64 `json:"transferred"`  // times that leadership was handed to it
	LostQuorum  uint64 `json:"lost_quorum"`  // times that it gave up because no majority answered
	StalledDisk uint64 `json:"stalled_disk"` // and because its disk hung
}

// Disk is what a node keeps on its disk and how fast that is.
type Disk struct {
	// FsyncP99Seconds is what the slowest hundredth of the syncs took, over the
	// last minute; 0 if there were none.
	FsyncP99Seconds float64 `json:"fsync_p99_seconds"`
	LogBytes        int64   `json:"log_bytes"`
	SnapshotBytes   int64   `json:"snapshot_bytes"` // of the newest
	FreeBytes       int64   `json:"free_bytes"`     // room for the node; -1 if that is not known
}

// Process is the process that a node is.
type Process struct {
	UptimeSeconds int64 `json:"uptime_seconds"`
	MemoryBytes   int64 `json:"memory_bytes"` // that Go has of the system
	Goroutines    int   `json:"goroutines"`
}

// Peer is what a leader knows of one follower.
type Peer struct {
	Node  string `json:"node"`
	Match uint64 `json:"match"` // last index known to be on the peer's disk
	Next  uint64 `json:"next"`  // first index to be sent to it next
	Lag   uint64 `json:"lag"`   // entries of the leader's log that the peer is not known to have
	// LastContactMs is how long ago the peer last answered, in milliseconds; -1
	// if it has not in this term.
	LastContactMs int64 `json:"last_contact_ms"`
	// State is how it is replicated to: probe, while the leader looks for where its
	// log ends; pipeline; snapshot, while one is under way to it; silent, if the
	// last call to it was lost.
	State            string `json:"state"`
	InflightMessages int    `json:"inflight_messages"` // with entries, under way to it
	InflightBytes    int    `json:"inflight_bytes"`    // of those entries
}

// Store sums up the key/value store of a node.
type Store struct {
	Keys     int    `json:"keys"`
	Bytes    int    `json:"bytes"` // of keys and values
	Revision uint64 `json:"revision"`
	Quota    uint64 `json:"quota_bytes"` // how many bytes writes may fill when this node leads; 0: no limit
	Sessions int    `json:"sessions"`
	// IdempotencyRecords is how many requests with an idempotency key are
	// remembered.
	IdempotencyRecords int `json:"idempotency_records"`
}

// Load is what a node is doing at the moment.
type Load struct {
	Writes  Lane `json:"writes"` // puts and appends
	Deletes Lane `json:"deletes"`
	Reads   Lane `json:"reads"`
	// ApplyLag is how many committed entries the store is behind the log.
	ApplyLag    uint64      `json:"apply_lag"`
	Connections Connections `json:"connections"`
}

// Lane is the requests of one kind.
type Lane struct {
	InFlight  int64   `json:"in_flight"`
	Limit     int64   `json:"limit"` // how many may be in flight at the present pace
	Waiting   int     `json:"waiting"`
	PerSecond float64 `json:"per_second"` // that ended, over the last second
}

// Connections are those of clients.
type Connections struct {
	Open    int    `json:"open"`
	Evicted uint64 `json:"evicted"` // closed to make room for others, since the start
	Refused uint64 `json:"refused"` // for want of room, since the start
}

// Limits are a node's settings that clients may want to know.
type Limits struct {
	ValueBytes         int64 `json:"value_bytes"`
	IdempotencySeconds int64 `json:"idempotency_seconds"`
	IdempotencyRecords int   `json:"idempotency_records"`
	Connections        int   `json:"connections"`
}
