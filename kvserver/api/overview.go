package api

// Overview is the answer to GET /v1/overview: what all nodes say of themselves, as one
// of them heard it.
type Overview struct {
	Node    string `json:"node"` // that was asked
	Cluster string `json:"cluster"`
	AtMs    int64  `json:"at_ms"` // Unix milliseconds by that node's clock
	// PageWrites says that the page of that node may write.
	PageWrites bool           `json:"page_writes,omitempty"`
	Nodes      []OverviewNode `json:"nodes"` // sorted by name
}

// OverviewNode is one node, or why nothing is known of it.
type OverviewNode struct {
	Node    string  `json:"node"`
	Address string  `json:"address,omitempty"` // for clients, as the node that was asked knows it; "" for that node
	Error   string  `json:"error,omitempty"`
	Status  *Status `json:"status,omitempty"`
}

// Explained is the answer to GET /v1/explain. Stories and events are described in
// docs/insight.md.
type Explained struct {
	FromMs  int64          `json:"from_ms"`
	ToMs    int64          `json:"to_ms"`
	Missing []OverviewNode `json:"missing,omitempty"` // nodes whose events are not among those
	Stories []any          `json:"stories"`
	Events  []any          `json:"events"` // in an order that the protocol allows; the newest, if there are many
}

// RequestTrail is what a node keeps of one request that was slow, refused for want of room
// or of a leader, or has an unknown outcome. Times are nanoseconds since the request came;
// 0 where there is none.
type RequestTrail struct {
	Node     string `json:"node"`
	ID       string `json:"request_id"`
	Method   string `json:"method"`
	AtMs     int64  `json:"at_ms"`               // Unix milliseconds by the node's clock
	PlacedNs int64  `json:"placed_ns,omitempty"` // when the leader put the command into its log
	EndedNs  int64  `json:"ended_ns"`            // when it was answered
	Index    uint64 `json:"index,omitempty"`     // of the command in the log
	Term     uint64 `json:"term,omitempty"`
	Leader   string `json:"passed_on_to,omitempty"` // the node that the request was passed on to
	Status   int    `json:"status"`
	Code     Code   `json:"code,omitempty"`
	// Outcome is that of the answer; "" if the request went well.
	Outcome Outcome `json:"outcome,omitempty"`
}

// RequestTrails is the answer to GET /v1/recorder?request=.
type RequestTrails struct {
	Requests []RequestTrail `json:"requests"` // oldest first
}
