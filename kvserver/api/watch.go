package api

// WatchBody is the body of POST /v1/watch: the parameters of GET by their names, and
// selectors in place of key, prefix, from and to.
type WatchBody struct {
	Selectors []WatchSelector `json:"selectors"` // 1 to MaxSelectors
	After     *uint64         `json:"after"`
	Mirror    bool            `json:"mirror"`
	Prev      bool            `json:"prev"`
	KeysOnly  bool            `json:"keys_only"`
	Text      bool            `json:"text"`
	Progress  string          `json:"progress"` // a duration, such as 10s
	Cluster   string          `json:"cluster"`
}

// WatchSelector names a key, a prefix, a lock, or a range from From on and up to but not
// including To. Each text may be in base64 instead, as one that is no UTF-8 must.
type WatchSelector struct {
	Key       *string `json:"key"`
	KeyB64    []byte  `json:"key_base64"`
	Prefix    *string `json:"prefix"`
	PrefixB64 []byte  `json:"prefix_base64"`
	From      *string `json:"from"`
	FromB64   []byte  `json:"from_base64"`
	To        *string `json:"to"`
	ToB64     []byte  `json:"to_base64"`
	Lock      *string `json:"lock"`
	LockB64   []byte  `json:"lock_base64"`
}

// What a watch over HTTP sends. As Server-Sent Events each is the data of an event of the
// name in the comment; its id, if it has one, is a bookmark to go on from. As lines of
// JSON each has the fields event and id in addition.

// WatchOpen ("open") says that the watch is in place. Its id is where it begins.
type WatchOpen struct {
	Revision   uint64 `json:"revision"` // of the store now
	Oldest     uint64 `json:"oldest"`   // first revision whose change is kept
	Node       string `json:"node"`
	ClusterUID string `json:"cluster_uid,omitempty"`
}

// WatchItem ("item") is a key of the state that a mirror begins with. It has no id.
type WatchItem struct {
	KeyName
	ItemState
}

// ItemState is what a key holds. Value is left out, and Text may stand for it, if the
// client asks for that.
type ItemState struct {
	Value    []byte  `json:"value,omitzero"` // base64
	Text     *string `json:"text,omitempty"` // a value that is UTF-8
	Revision uint64  `json:"revision"`
	Version  uint64  `json:"version"`
	Created  uint64  `json:"created"` // revision of the change that made the key; 1: before there was a history
	Lease    int64   `json:"lease,omitempty"`
}

// WatchSynced ("synced") says that the items were all of the state at the revision, which
// is its id.
type WatchSynced struct {
	Revision uint64 `json:"revision"`
	Items    int    `json:"items"`
}

// WatchChange ("change") is one change. Its id is the revision.
type WatchChange struct {
	Revision uint64       `json:"revision"`
	Events   []WatchEvent `json:"events"` // or WatchLockEvents
}

// Values of WatchEvent.Op.
const (
	OpPut    = "put"
	OpDelete = "delete"
	OpExpire = "expire" // the key's lease ended, or its own time
)

// WatchEvent is what a change did to one key. After a delete or expire it has only the key, and
// Prev if that was asked for.
type WatchEvent struct {
	Op string `json:"op"`
	KeyName
	Value   []byte     `json:"value,omitzero"`
	Text    *string    `json:"text,omitempty"`
	Version uint64     `json:"version,omitempty"`
	Created uint64     `json:"created,omitempty"`
	Lease   int64      `json:"lease,omitempty"`
	Prev    *ItemState `json:"prev,omitempty"` // the item before, if there was one
}

// WatchProgress ("progress") is a bookmark: everything up to its id was sent.
type WatchProgress struct {
	Revision uint64 `json:"revision"`
}

// WatchReset ("reset") says that the client must forget everything: the state follows.
type WatchReset struct {
	Code   Code   `json:"code"`
	Oldest uint64 `json:"oldest"`
}

// Names of what a watch sends. The last one ("end") comes with a Problem.
const (
	EventOpen     = "open"
	EventItem     = "item"
	EventSynced   = "synced"
	EventChange   = "change"
	EventProgress = "progress"
	EventReset    = "reset"
	EventEnd      = "end"
)

// MediaEvents is the media type of Server-Sent Events.
const MediaEvents = "text/event-stream"

const (
	// MaxWatchSelectors is the maximum number of selectors of a watch in the path of a
	// request.
	MaxWatchSelectors = 64
	// MaxSelectors is the maximum number of selectors in a body.
	MaxSelectors = 1000
	// MaxWatchBytes is the length of the longest body of a request for a watch.
	MaxWatchBytes = 256 << 10
)
