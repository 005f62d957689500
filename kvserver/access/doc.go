// Package access asks, on one node, whether a caller may do something, and keeps note
// of what was done.
//
// # Mental model
//
//	Authorization ──► Gate.Authenticate ──► Caller ──► Gate.Allow(right, range) ──► nil or 401, 403
//	                        │ table, auth file            │ auth.Decide on the table of now
//	                        ▼                             ▼
//	                  Gate.Enter: limits            Audit: one line per act
//
// The table of identities is replicated state, which the machine publishes. A [Caller]
// remembers the table by which it was found. [Gate.Allow] looks it up again as soon as
// there is a newer one, so a token that was revoked opens nothing any more, however long
// its request or connection lasts.
//
// While the state of the table is off, everything is allowed and nothing is looked up
// twice. While it is observe, everything is allowed and what would be refused is
// counted.
//
// # Locks
//
//	lock          guards                                held while
//	Gate.mu       when an identity was last logged      somebody would be refused
//	meter.mu      the buckets of one identity           a request comes
//	slowdown.mu   refusals by address                   a token is refused
//
// No two are held at once, and none during I/O.
//
// # What it does not know
//
// HTTP, frames, the log and the store.
package access
