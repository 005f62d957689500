package api

// Grant is the body of POST /v1/leases.
type Grant struct {
	TTL   string `json:"ttl"`             // such as "15s"; 1 s to 9000000000 s
	Note  string `json:"note,omitempty"`  // for people, at most 256 bytes
	Lease int64  `json:"lease,omitempty"` // the id that the client chooses; 0: none
}

// Granted is the answer to it.
type Granted struct {
	Lease int64  `json:"lease"`
	TTLMs uint64 `json:"ttl_ms"`
}

// KeptAlive is the answer to POST /v1/leases/{id}/keepalive.
type KeptAlive struct {
	Lease       int64  `json:"lease"`
	TTLMs       uint64 `json:"ttl_ms"`
	RemainingMs uint64 `json:"remaining_ms"`
}

// KeepAlives is the body of POST /v1/leases/keepalive: 1 to 1,024 leases.
type KeepAlives struct {
	Leases []int64 `json:"leases"`
}

// KeptAlives is the answer to it. What is gone never comes back.
type KeptAlives struct {
	Alive []int64 `json:"alive"`
	Gone  []int64 `json:"gone"`
}

// Lease is the answer to GET /v1/leases/{id}, and an item of a LeasePage.
type Lease struct {
	Lease       int64     `json:"lease"`
	TTLMs       uint64    `json:"ttl_ms"` // as it was granted
	RemainingMs uint64    `json:"remaining_ms"`
	Note        string    `json:"note,omitempty"`
	Keys        []KeyName `json:"keys,omitzero"` // if they were asked for
}

// LeasePage is the answer to GET /v1/leases: leases in the order of their ids.
type LeasePage struct {
	Leases []Lease `json:"leases"`
	// Next is the path and query of the next page; "" if this is the last.
	Next string `json:"next,omitempty"`
}

// Limits of leases.
const (
	MaxKeptAlive = 1024 // leases in a KeepAlives
	MaxLeasePage = 1000 // leases in a page
	MaxLeaseKeys = 4096 // keys of one lease
	MaxNoteBytes = 256
)
