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

// Value is the answer to a GET that accepts JSON.
type Value struct {
	KeyName
	Value    []byte `json:"value"` // base64
	Revision uint64 `json:"revision"`
	Version  uint64 `json:"version"`
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
	Build   string `json:"build"`
}

// Log is the range of indices that a node's log holds.
type Log struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
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
}
