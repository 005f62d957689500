// Package clerkwire is the protocol between a Clerk and a server: its frames,
// the messages in them, and the two ends of a connection that both sides need.
//
// # Mental model
//
// A connection begins as an HTTP request that asks for an upgrade, on the port
// where HTTP is served. From then on frames travel both ways. A request carries
// a number that its answer repeats, so many are under way at once and are
// answered in any order. [FrameReader] cuts what comes into frames; [Outbox]
// gathers what leaves, and writes all that is there in one go.
//
// docs/clerk.md describes every byte.
//
// # What it does not know
//
// What is done with a request or an answer, who leads, how often is tried. A
// FrameReader belongs to one goroutine; an Outbox may be used by many.
package clerkwire
