// Package clerkwire is the protocol between a Clerk and a server: its frames,
// the messages in them, and the two ends of a connection that both sides need.
//
// # Mental model
//
// A connection begins as an HTTP request that asks for an upgrade, on the port
// where HTTP is served. From then on frames travel both ways. A request carries
// a number that its answer repeats, so many requests may be pending at once and are
// answered in any order. [FrameReader] cuts the incoming bytes into frames; [Outbox]
// gathers outgoing frames and writes all that are there at once.
//
// docs/clerk.md describes every byte.
//
// # What it does not know
//
// It does not know how requests and answers are used, which server leads, or how
// often a client retries. A FrameReader belongs to one goroutine; an Outbox may be
// used by many.
package clerkwire
