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
	// Groups are the Raft groups of the node: one, of which the fields above tell the same.
	// A document that gathers the statuses of all nodes leaves them out.
	Groups []Group `json:"groups,omitempty"`
	// Changes counts the changes of leadership that this node took part in.
	Changes Changes `json:"leader_changes"`
	Store   Store   `json:"store"`
	Load    Load    `json:"load"`
	Limits  Limits  `json:"limits"`
	Disk    Disk    `json:"disk,omitzero"`
	Process Process `json:"process,omitzero"`
	// Rejoin is the node's progress in coming back after it lost its disk; nil on
	// a full member.
	Rejoin *Rejoin `json:"rejoin,omitempty"`
	// Membership is the members, as this node knows them.
	Membership *Members `json:"membership,omitempty"`
	// ListDiffers says that --cluster of this node names others than the record, which rules.
	ListDiffers bool `json:"bootstrap_list_differs,omitempty"`
	// Autopilot is what the leader does by itself about dead members.
	Autopilot *Autopilot `json:"autopilot,omitempty"`
	// Integrity is the result of comparing this node's state with its peers'.
	Integrity Integrity `json:"integrity"`
	// Transport is how the node's ports speak.
	Transport Transport `json:"transport,omitzero"`
	// Recorded is the number of the newest event in the node's recorder.
	Recorded uint64 `json:"recorded,omitempty"`
	Build    string `json:"build"`
}

// OnlyGroup is the number of the Raft group that every node has.
const OnlyGroup = 1

// Group is one Raft group, as one of its nodes knows it.
type Group struct {
	ID      uint32 `json:"id"`
	Role    string `json:"role"` // leader, follower, candidate, pre-candidate
	Term    uint64 `json:"term"`
	Leader  string `json:"leader"` // "" if none is known
	Commit  uint64 `json:"commit"` // last log index known to be committed
	Applied uint64 `json:"applied"`
	Log     Log    `json:"log"`
	Peers   []Peer `json:"peers,omitempty"` // on its leader
}

// Rejoin names the conditions that a node that lost its disk waits for before it
// votes again.
type Rejoin struct {
	Goal    uint64   `json:"goal"`              // log index to be committed here; 0 while the other nodes are asked
	Unheard []string `json:"unheard,omitempty"` // nodes that have not answered yet
	Too     []string `json:"too,omitempty"`     // nodes that have lost their disks as well
}

// Integrity is the result of comparing a node's state with that of the others.
type Integrity struct {
	// Result is the end of the last comparison: ok; unknown, if too few nodes
	// answered; mismatch, if a node differs and no majority shows which of them is
	// wrong; diverged, if it is this one. "" before the first.
	Result string `json:"result"`
	// OKIndex is the log index at which the states were last found equal.
	OKIndex      uint64 `json:"ok_index"`
	OKSecondsAgo int64  `json:"ok_seconds_ago"`
	// Fault is the reason why the node serves nothing; "" while it serves.
	Fault string `json:"fault,omitempty"`
}

// Transport is how a node's ports speak: off, accept, prefer (peers only) or require.
type Transport struct {
	ClientTLS string `json:"client_tls,omitempty"`
	PeerTLS   string `json:"peer_tls,omitempty"`
	// Open is what is open beyond the node's machine: client, peer, auth.
	Open []string `json:"insecure,omitempty"`
	// SharedCertificate says that one certificate stands for all nodes of the cluster.
	SharedCertificate bool `json:"shared_certificate,omitempty"`
}

// Log is the range of indices that a node holds of the log.
type Log struct {
	First    uint64 `json:"first"` // of the log in memory; on disk the log begins behind Snapshot
	Last     uint64 `json:"last"`
	Snapshot uint64 `json:"snapshot"` // index of the newest snapshot; 0 if there is none
	// Stalled says that the disk under the log hangs.
	Stalled bool `json:"stalled"`
	// CommitP99Seconds is the 99th percentile of the time from the proposal to the
	// commitment of this leader's entries, over the last minute; 0 if there were
	// none.
	CommitP99Seconds float64 `json:"commit_p99_seconds,omitzero"`
}

// Changes are counts since the start of a process.
type Changes struct {
	Elected     uint64 `json:"elected"`      // elections that this node won
	Transferred uint64 `json:"transferred"`  // times that leadership was transferred to it
	LostQuorum  uint64 `json:"lost_quorum"`  // times that it gave up because no majority answered
	StalledDisk uint64 `json:"stalled_disk"` // and because its disk hung
}

// Disk is the content of a node's disk and the disk's speed.
type Disk struct {
	// FsyncP99Seconds is the 99th percentile of the time of a sync, over the last
	// minute; 0 if there were none.
	FsyncP99Seconds float64 `json:"fsync_p99_seconds"`
	LogBytes        int64   `json:"log_bytes"`
	SnapshotBytes   int64   `json:"snapshot_bytes"` // of the newest
	FreeBytes       int64   `json:"free_bytes"`     // room for the node; -1 if that is not known
}

// Process is the operating system's process of a node.
type Process struct {
	UptimeSeconds int64 `json:"uptime_seconds"`
	MemoryBytes   int64 `json:"memory_bytes"` // that Go has of the system
	Goroutines    int   `json:"goroutines"`
}

// Peer is a leader's knowledge of one follower.
type Peer struct {
	Node  string `json:"node"`
	Match uint64 `json:"match"` // last index known to be on the peer's disk
	Next  uint64 `json:"next"`  // first index to be sent to it next
	Lag   uint64 `json:"lag"`   // entries of the leader's log that the peer is not known to have
	// LastContactMs is the time since the peer's last answer, in milliseconds; -1
	// if it has not answered in this term.
	LastContactMs int64 `json:"last_contact_ms"`
	// State is the state of replication to the peer: probe, while the leader
	// searches the end of the peer's log; pipeline; snapshot, while one is being
	// sent to it; silent, if the last call to it was lost.
	State            string `json:"state"`
	InflightMessages int    `json:"inflight_messages"` // with entries, in flight to it
	InflightBytes    int    `json:"inflight_bytes"`    // of those entries
}

// Store sums up the key/value store of a node.
type Store struct {
	Keys     int    `json:"keys"`
	Bytes    int    `json:"bytes"` // of keys and values
	Revision uint64 `json:"revision"`
	Quota    uint64 `json:"quota_bytes"` // bytes that writes may fill when this node leads; 0: no limit
	Sessions int    `json:"sessions"`
	// IdempotencyRecords is the number of requests with an idempotency key that
	// are remembered.
	IdempotencyRecords int `json:"idempotency_records"`
}

// Load is the present load of a node.
type Load struct {
	Writes  Queue `json:"writes"` // puts and appends
	Deletes Queue `json:"deletes"`
	Reads   Queue `json:"reads"`
	// ApplyLag is the number of committed entries that the store has not applied
	// yet.
	ApplyLag    uint64      `json:"apply_lag"`
	Connections Connections `json:"connections"`
}

// Queue is the load of one kind of requests.
type Queue struct {
	InFlight  int64   `json:"in_flight"`
	Limit     int64   `json:"limit"` // number that may be in flight at the present rate
	Waiting   int     `json:"waiting"`
	PerSecond float64 `json:"per_second"` // that ended, over the last second
}

// Connections counts the connections of clients.
type Connections struct {
	Open    int    `json:"open"`
	Evicted uint64 `json:"evicted"` // closed to make room for other connections, since the start
	Refused uint64 `json:"refused"` // for want of room, since the start
}

// Limits are a node's settings that clients may want to know.
type Limits struct {
	ValueBytes         int64 `json:"value_bytes"`
	IdempotencySeconds int64 `json:"idempotency_seconds"`
	IdempotencyRecords int   `json:"idempotency_records"`
	Connections        int   `json:"connections"`
}
