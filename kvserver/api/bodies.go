package api

import "unicode/utf8"

// KeyName is a key in a JSON body. Keys are any bytes and JSON strings are not,
// so there are two fields and exactly one is set.
type KeyName struct {
	// Key is the key if it is valid UTF-8.
	Key string `json:"key,omitempty"`
	// KeyBase64 is the key otherwise.
	KeyBase64 []byte `json:"key_base64,omitempty"`
}

// NameKey puts a key into a KeyName.
func NameKey(key string) KeyName {
	if utf8.ValidString(key) {
		return KeyName{Key: key}
	}
	return KeyName{KeyBase64: []byte(key)}
}

// Name returns the key.
func (k KeyName) Name() string {
	if k.KeyBase64 != nil {
		return string(k.KeyBase64)
	}
	return k.Key
}

// Written is the answer to a PUT.
type Written struct {
	KeyName
	Revision uint64 `json:"revision"` // number of this change among all changes of the store
	Version  uint64 `json:"version"`  // number of this change among those of the key
}

// Appended is the answer to an append.
type Appended struct {
	Written
	Length uint64 `json:"length"` // of the value now, in bytes
}

// Value is the answer to a GET that accepts JSON, an item of a Page, and a line
// of a list that is streamed.
type Value struct {
	KeyName
	Value    []byte `json:"value,omitzero"` // base64; left out where only keys were asked for
	Revision uint64 `json:"revision"`
	Version  uint64 `json:"version"`
}

// Page is the answer to GET /v1/kv: items in the order of the bytes of their
// keys.
type Page struct {
	Items    []Value `json:"items"`
	Revision uint64  `json:"revision"` // of the store, when it looked like this
	// Next is the path and query of the next page; "" if this is the last.
	Next string `json:"next,omitempty"`
}

// Transfer is the body of POST /v1/leader.
type Transfer struct {
	To string `json:"to"` // "": whoever is most fit
}

// Leader is the answer to POST /v1/leader.
type Leader struct {
	Leader string `json:"leader"`
	Term   uint64 `json:"term"`
}

// Status is the answer to GET /v1/status: one node's view of itself and, on a
// leader, of its peers.
type Status struct {
	Node    string `json:"node"`
	Cluster string `json:"cluster"`
	Role    string `json:"role"` // leader, follower, candidate, pre-candidate
	Term    uint64 `json:"term"`
	Leader  string `json:"leader"` // "" if none is known
	Commit  uint64 `json:"commit"` // last log index known to be committed
	Applied uint64 `json:"applied"`
	Log     Log    `json:"log"`
	Peers   []Peer `json:"peers,omitempty"`
	Store   Store  `json:"store"`
	Load    Load   `json:"load"`
	Limits  Limits `json:"limits"`
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

// Digest is the answer to GET /v1/integrity, between nodes.
type Digest struct {
	Node    string `json:"node"`
	Cluster string `json:"cluster"`
	Index   uint64 `json:"index"`
	// Digest is the digest of the node's state at Index, 16 hexadecimal digits;
	// "" if it does not know it (any more).
	Digest  string `json:"digest"`
	Version int    `json:"version"` // of the way in which digests are made
	Applied uint64 `json:"applied"` // where the node's state stands
}

// Log is the range of indices that a node holds of the log.
type Log struct {
	First    uint64 `json:"first"` // in memory; on disk the log begins behind Snapshot
	Last     uint64 `json:"last"`
	Snapshot uint64 `json:"snapshot"` // where the newest snapshot stands; 0 if there is none
	// Stalled says that the disk under the log hangs.
	Stalled bool `json:"stalled"`
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
}

// Store sums up the key/value store of a node.
type Store struct {
	Keys     int    `json:"keys"`
	Bytes    int    `json:"bytes"` // of keys and values
	Revision uint64 `json:"revision"`
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
