package api

// Headers that this API adds to HTTP.
const (
	// HeaderError is "<code>; outcome=<outcome>" on every error, for people and
	// programs that look at headers only.
	HeaderError = "Kv-Error"
	// HeaderVersion counts the changes of the key since it was created.
	HeaderVersion = "Kv-Version"
	// HeaderRevision is the revision of the store that the answer reflects.
	HeaderRevision = "Kv-Revision"
	// HeaderCreated is the revision of the change that created the key, where the cluster
	// works at a level with a history.
	HeaderCreated = "Kv-Created"
	// HeaderIfLock lets a write happen only while a token holds a lock: jobs;token=57, the
	// name percent-encoded.
	HeaderIfLock = "If-Lock"
	// HeaderLease is the lease that the key is tied to.
	HeaderLease = "Kv-Lease"
	// HeaderExpiresIn is after how many seconds at least the key ends, if it has an end.
	HeaderExpiresIn = "Kv-Expires-In"
	// HeaderDeleted is 1 if a DELETE found something to delete, else 0.
	HeaderDeleted = "Kv-Deleted"
	// HeaderNode, HeaderLeader and HeaderTerm name the server that answered, the
	// leader that it knew, and the term.
	HeaderNode   = "Kv-Node"
	HeaderLeader = "Kv-Leader"
	HeaderTerm   = "Kv-Term"
	// HeaderConsistency is the Consistency with which a read was served.
	HeaderConsistency = "Kv-Consistency"
	// HeaderRequestID names a request in answers and logs. A client may choose
	// it: 1 to 64 visible ASCII characters.
	HeaderRequestID = "Kv-Request-Id"
	// HeaderIdempotencyKey is set by clients on a write that they may send again;
	// the servers recognise the copies by it. 1 to 64 visible ASCII characters.
	HeaderIdempotencyKey = "Idempotency-Key"
	// HeaderIdempotencyReplayed is "true" if the answer was given to an earlier
	// copy of the request.
	HeaderIdempotencyReplayed = "Idempotency-Replayed"
	// HeaderIdempotencyRetention is the minimum time for which copies are
	// recognised, in seconds of the cluster's running time.
	HeaderIdempotencyRetention = "Idempotency-Retention"
	// HeaderForwarded is set between servers to the node that forwarded the
	// request; such a request is not forwarded again.
	HeaderForwarded = "Kv-Forwarded"
	// HeaderCluster is set in addition to HeaderForwarded. It holds the cluster's
	// ID, so that a stale address cannot lead a write into another cluster.
	HeaderCluster = "Kv-Cluster"
	// HeaderLink is set in addition to HeaderForwarded once there is an admin. It proves
	// that the connection is that node's own, so that it counts as none of the callers
	// whose requests travel on it; it changes nothing else.
	HeaderLink = "Kv-Link"
)

// Headers that are set when a Clerk's connection begins.
const (
	// HeaderLeaderAddr is the address where the leader takes clients, if it is
	// another node.
	HeaderLeaderAddr = "Kv-Leader-Addr"
	// HeaderClusterUID is the cluster's uid, 32 hexadecimal digits, which
	// distinguishes clusters of one name. It is omitted while the server does not
	// know it. In a request it says for which cluster that is: another one of the same
	// name refuses it. Servers send it with all that they ask of each other.
	HeaderClusterUID = "Kv-Cluster-Uid"
	// HeaderConfiguration is the number of the newest committed configuration of the
	// members that the server knows, a ConfigurationNumber. It also stands on the answers
	// of /v1/members, /v1/status, /readyz and of watches. It is omitted while the cluster
	// has no record of its members.
	HeaderConfiguration = "Kv-Configuration"
)

// Values of the consistency parameter and of HeaderConsistency.
const (
	// ConsistencyLinearizable, the default: the read shows every write that was
	// answered before the read was made.
	ConsistencyLinearizable = "linearizable"
	// ConsistencyLease is reserved: no read of this version rests on clocks.
	ConsistencyLease = "lease"
	// ConsistencyPinned, of HeaderConsistency only: the read shows the state at the
	// revision that was asked for, which is the same on every node.
	ConsistencyPinned = "pinned"
	// ConsistencyStale: the read shows the state that this node has applied so
	// far.
	ConsistencyStale = "stale"
)

// Limits of the API.
const (
	// MaxKeyBytes is the length of the longest key, percent-decoded.
	MaxKeyBytes = 1024
	// DefaultMaxValueBytes is the length of the longest value unless the server
	// was configured otherwise.
	DefaultMaxValueBytes = 1 << 20
	// MaxValueBytes is the maximum that a server can be configured to take.
	MaxValueBytes = 8 << 20
	// DefaultPageItems is the maximum number of items in a page of a list unless
	// the client asks for another one. MaxPageItems bounds that request.
	DefaultPageItems = 100
	MaxPageItems     = 1000
	// MaxPageBytes is the approximate number of bytes of keys and values in a
	// page: the item that reaches the limit is the last.
	MaxPageBytes = 1 << 20
	// DefaultMaxTxnBytes is the length of the longest body of a transaction unless the
	// server was configured otherwise. MaxTxnBytes bounds that.
	DefaultMaxTxnBytes = 2 << 20
	MaxTxnBytes        = 8 << 20
	// MaxTxnResultBytes is how many bytes of keys and values the answer to a transaction
	// may show over HTTP, with 64 more for each key.
	MaxTxnResultBytes = 1 << 20
	// MaxRequestIDBytes bounds HeaderRequestID.
	MaxRequestIDBytes = 64
)
