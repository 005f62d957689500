package api

import "unicode/utf8"

// KeyName is a key in a JSON body. A key may hold any bytes, and a JSON string
// may not. So there are two fields, and exactly one is set.
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
	Value []byte `json:"value,omitzero"` // base64; omitted if only keys were asked for
	// Text is, with ?text of a list, the value in place of Value if it is UTF-8.
	Text     *string `json:"text,omitempty"`
	Revision uint64  `json:"revision"`
	Version  uint64  `json:"version"`
	// Created is the revision of the change that created the key; omitted where the
	// cluster does not work at a level with a history.
	Created uint64 `json:"created,omitempty"`
	Lease   int64  `json:"lease,omitempty"` // to which the key is tied
}

// Page is the answer to GET /v1/kv: items in the order of the bytes of their
// keys.
type Page struct {
	Items    []Value `json:"items"`
	Revision uint64  `json:"revision"` // of the store at the moment that the page shows
	// Count is the number of keys in the whole range, not of the page; nil if that was not
	// asked for.
	Count *int `json:"count,omitempty"`
	// Next is the path and query of the next page; "" if this is the last.
	Next string `json:"next,omitempty"`
}

// Transfer is the body of POST /v1/leader.
type Transfer struct {
	To string `json:"to"` // "": the most suitable node
}

// Leader is the answer to POST /v1/leader.
type Leader struct {
	Leader string `json:"leader"`
	Term   uint64 `json:"term"`
}

// Digest is the answer to GET /v1/integrity, between nodes.
type Digest struct {
	Node    string `json:"node"`
	Cluster string `json:"cluster"`
	Index   uint64 `json:"index"`
	// Digest is the digest of the node's state at Index, 16 hexadecimal digits; ""
	// if the node does not know it (any more).
	Digest  string `json:"digest"`
	Version int    `json:"version"` // of the way to make digests
	Applied uint64 `json:"applied"` // where the node's state stands
	// HoldsLevel says whether the node keeps a cluster without a record of its members from
	// rising; nil: it keeps no such record, or is of an earlier version.
	HoldsLevel *bool `json:"holds_level,omitempty"`
}
