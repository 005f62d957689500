// Package api holds the words that server and client share: outcomes, error
// codes, the problem document, header names, JSON bodies and limits.
//
// # Mental model
//
// Every answer to a write says whether the write happened. [Outcome] is that
// statement and everything else decorates it: a [Code] tells programs what went
// wrong, a [Problem] tells people. An answer without an error means
// [OutcomeApplied].
//
// # What it does not know
//
// How requests are served or sent. It imports nothing of this module and holds
// no state.
package api
