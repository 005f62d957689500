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
