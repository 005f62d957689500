package failure

import "errors"

// The kinds of error that a request can end with. Each has one row in the table
// (see KindOf) and is wrapped, with a sentence of detail, by Of. A name that ends
// with Unknown, and those that say so in their text, leave open whether the
// request had an effect.
var (
	BadRequest          = errors.New("bad request")
	NoSuchPath          = errors.New("no such path")
	KeyNotFound         = errors.New("key not found")
	Forbidden           = errors.New("forbidden")
	UnknownHost         = errors.New("unknown host")
	MethodNotAllowed    = errors.New("method not allowed")
	Precondition        = errors.New("precondition failed")
	IdempotencyMismatch = errors.New("idempotency key used for another request")
	IdempotencyFull     = errors.New("no room for idempotency keys")
	Quota               = errors.New("quota exceeded")
	LengthRequired      = errors.New("length required")
	ValueTooLarge       = errors.New("value too large")
	KeyTooLong          = errors.New("key too long")
	UnsupportedMedia    = errors.New("unsupported media type")
	Expectation         = errors.New("expectation failed")
	Overloaded          = errors.New("overloaded")
	HeaderTooLarge      = errors.New("header too large")
	NotImplemented      = errors.New("not implemented")
	Version             = errors.New("version of HTTP not supported")
	NoLeader            = errors.New("no leader")
	Behind              = errors.New("behind")
	Diverged            = errors.New("diverged")
	Stopping            = errors.New("stopping")
	StoppingUnknown     = errors.New("stopping, outcome unknown")
	Timeout             = errors.New("timeout, outcome unknown")
	ReadTimeout         = errors.New("timeout of a read")
	LeadershipLost      = errors.New("leadership lost, outcome unknown")
	Internal            = errors.New("internal error, outcome unknown")
	InternalRead        = errors.New("internal error of a read")
)
