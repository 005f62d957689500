// Package client is the Clerk: how a Go program uses the key/value store.
//
//	clerk, err := client.Dial(ctx, client.Config{Endpoints: []string{"127.0.0.1:8701", "127.0.0.1:8702", "127.0.0.1:8703"}})
//	…
//	defer clerk.Close()
//	_, err = clerk.Put(ctx, "greeting", []byte("hello"))
//
// docs/go-client.md says how another module imports this package.
//
// # Mental model
//
// A call is one or more attempts. An attempt asks one server and ends as done,
// as not applied (that server cannot, perhaps another can), or as unknown (the
// answer was lost). One loop, for both kinds of Clerk, goes on with attempts
// until one is done or the context ends.
//
//	call ──► lane ──► retry loop ──► attempt ──► connection ──► server
//	                     │    ▲                                    │
//	                     │    └─ hint: the leader ◄────────────────┘
//	                     └─ pause: full jitter, Retry-After
//
// Attempts at a write are made under one number: the session, the call's lane in
// it and the call's number in the lane. The servers replicate these numbers, so
// however many attempts reach them, the write happens once. Each write in flight
// has a lane of its own; lanes are used again.
//
// The caller gets an answer, or an [Error] that says whether the write happened.
// That is unknown only if the context, or the Clerk, ended while an attempt was
// pending or after one whose answer was lost.
//
// # Ownership
//
// A [Clerk] may be used by any number of goroutines. Each of its connections has
// one goroutine that writes and one that reads; Close ends them all and waits.
//
// # The labs' face
//
// [LabClerk] and [VersionedClerk] make their calls by the RPCs of the courses'
// network, one at a time, with the same loop.
//
// # What it does not know
//
// The package does not know how servers agree or what they store. It knows
// nothing of HTTP, except for the request that opens a connection.
package client
