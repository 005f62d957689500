package api

import "unicode/utf8"

// LockName is the name of a lock in a JSON body. Exactly one field is set, as in KeyName.
type LockName struct {
	Lock       string `json:"lock,omitempty"`        // if it is valid UTF-8
	LockBase64 []byte `json:"lock_base64,omitempty"` // otherwise
}

// NameLock puts the name of a lock into a LockName.
func NameLock(name string) LockName {
	if utf8.ValidString(name) {
		return LockName{Lock: name}
	}
	return LockName{LockBase64: []byte(name)}
}

// Name returns the name.
func (l LockName) Name() string {
	if l.LockBase64 != nil {
		return string(l.LockBase64)
	}
	return l.Lock
}

// Acquire is the body of POST /v1/locks/{name}. Exactly one of Lease and TTL is given, and
// at most one of Value and Text.
type Acquire struct {
	Lease int64   `json:"lease,omitempty"` // that is to hold the lock
	TTL   string  `json:"ttl,omitempty"`   // of a lease that is made for it, such as "15s"
	Limit int     `json:"limit,omitempty"` // of holders, 1 to 1,024; 0: one
	Value []byte  `json:"value,omitempty"` // base64; at most 1 KiB, shown while the lock is held
	Text  *string `json:"text,omitempty"`  // the value as text
	Delay string  `json:"delay,omitempty"` // 0s to 60s: how long the place stays free if the lease ends without a release
}

// Acquired is the answer to it.
type Acquired struct {
	LockName
	Token uint64 `json:"token"` // rises with every grant of the lock
	Lease int64  `json:"lease"`
}

// Lock is the answer to GET /v1/locks/{name}, and an item of a LockPage.
type Lock struct {
	LockName
	Limit   int          `json:"limit"`
	Holders []LockHolder `json:"holders"` // in the order of their tokens
	Waiting int          `json:"waiting"`
}

// LockHolder is a lease that holds a lock.
type LockHolder struct {
	Token uint64  `json:"token"`
	Lease int64   `json:"lease"`
	Value []byte  `json:"value,omitempty"` // base64
	Text  *string `json:"text,omitempty"`  // a value that is UTF-8, if that was asked for
	Note  string  `json:"note,omitempty"`  // of the lease
}

// LockPage is the answer to GET /v1/locks: locks in the order of their names.
type LockPage struct {
	Locks []Lock `json:"locks"`
	// Next is the path and query of the next page; "" if this is the last.
	Next string `json:"next,omitempty"`
}

// Published is the answer to PUT /v1/locks/{name}.
type Published struct {
	LockName
	Token    uint64 `json:"token"`
	Revision uint64 `json:"revision"` // of the change
}

// WatchLockEvent is a WatchEvent about a lock: that a lease holds it, or holds it no longer.
// A grant with the reason "published" says that the holder has another value.
type WatchLockEvent struct {
	Op string `json:"op"` // OpGranted or OpReleased
	WatchLock
	Reason string `json:"reason,omitempty"` // released, expired, revoked; published
}

// WatchLock is a holder of a lock: in an event, and as an item of the state of a mirror.
type WatchLock struct {
	LockName
	Token uint64  `json:"token"`
	Lease int64   `json:"lease"`
	Value []byte  `json:"value,omitzero"`
	Text  *string `json:"text,omitempty"`
}

// Values of WatchLockEvent.Op.
const (
	OpGranted  = "granted"
	OpReleased = "released"
)

// Values of WatchLockEvent.Reason.
const (
	ReasonReleased  = "released"
	ReasonExpired   = "expired"   // the lease has expired
	ReasonRevoked   = "revoked"   // the lease was revoked
	ReasonPublished = "published" // of a grant: the holder has another value
)

const (
	// MaxLockNameBytes is the length of the longest name of a lock.
	MaxLockNameBytes = 256
	// MaxLockValueBytes is the length of the longest value of a holder.
	MaxLockValueBytes = 1024
	// MaxLockLimit is how many holders a lock may have at most.
	MaxLockLimit = 1024
	// MaxLockPage is how many locks a page has at most.
	MaxLockPage = 1000
)
