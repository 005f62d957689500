package failure

// kind is an error that stands for all of its kind.
type kind string

// Error returns the kind for logs.
func (k kind) Error() string { return string(k) }

// The kinds of error that a request can end with. Each has one row in the table
// (see KindOf) and is wrapped, with a sentence of detail, by Of. A name that ends
// with Unknown, and those that say so in their text, leave open whether the
// request had an effect.
const (
	BadRequest          kind = "bad request"
	NoSuchPath          kind = "no such path"
	KeyNotFound         kind = "key not found"
	KeyMissing          kind = "key of a write not found"
	TooManyKeys         kind = "too many keys"
	TxnTooLarge         kind = "transaction too large"
	ResultTooLarge      kind = "result too large"
	Unauthenticated     kind = "unauthenticated"
	Denied              kind = "denied"
	Forbidden           kind = "forbidden"
	UnknownHost         kind = "unknown host"
	MethodNotAllowed    kind = "method not allowed"
	Precondition        kind = "precondition failed"
	IdempotencyMismatch kind = "idempotency key used for another request"
	IdempotencyFull     kind = "no room for idempotency keys"
	Quota               kind = "quota exceeded"
	LengthRequired      kind = "length required"
	ValueTooLarge       kind = "value too large"
	KeyTooLong          kind = "key too long"
	UnsupportedMedia    kind = "unsupported media type"
	Expectation         kind = "expectation failed"
	Overloaded          kind = "overloaded"
	IdentityLimited     kind = "identity limited"
	HeaderTooLarge      kind = "header too large"
	NotImplemented      kind = "not implemented"
	NotActive           kind = "not active at the cluster's level"
	Version             kind = "version of HTTP not supported"
	NoLeader            kind = "no leader"
	Behind              kind = "behind"
	Diverged            kind = "diverged"
	AuditUnavailable    kind = "audit unavailable"
	Stopping            kind = "stopping"
	StoppingUnknown     kind = "stopping, outcome unknown"
	Timeout             kind = "timeout, outcome unknown"
	ReadTimeout         kind = "timeout of a read"
	LeadershipLost      kind = "leadership lost, outcome unknown"
	Internal            kind = "internal error, outcome unknown"
	RevisionGone        kind = "history does not reach so far"
	RevisionAhead       kind = "revision is still to come"
	OtherCluster        kind = "bookmark of another cluster"
	TooManyWatches      kind = "too many watches"
	SlowWatcher         kind = "a watcher takes too little"
	InternalRead        kind = "internal error of a read"

	// Of leases, and of keys that live with them.
	NoSuchLease kind = "no such lease"
	LeaseGone   kind = "lease gone"
	LeaseExists kind = "lease exists"
	LeaseFull   kind = "lease full"
	LeasesFull  kind = "too many leases"

	// Of locks.
	NoSuchLock    kind = "no such lock"
	NotWaiting    kind = "does not wait for the lock"
	LockHeld      kind = "lock held"
	LimitMismatch kind = "lock of another limit"
	LockQueueFull kind = "queue of the lock full"
	LocksFull     kind = "too many locks"
	LockLost      kind = "lock lost"

	// Of changes of the membership.
	JoinRefused      kind = "join refused"
	NoSuchMember     kind = "no such member"
	LevelTooLow      kind = "a node does not know the level"
	ChangeInProgress kind = "a change is in progress"
	NotCaughtUp      kind = "not caught up"
	WouldLoseQuorum  kind = "would lose the quorum"
	TooFew           kind = "too few voters"
	IDTaken          kind = "id taken"
	AddressTaken     kind = "address taken"
	NotReachable     kind = "not reachable"
	StillAlive       kind = "still alive"

	// Of changes of the identities.
	LastAdmin kind = "would lose the last admin"
)
