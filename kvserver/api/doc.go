// Package api holds the words that server and client share: outcomes, error
// codes, the problem document, header names, JSON bodies and limits.
//
// # Mental model
//
// Every answer to a write says whether the write happened. [Outcome] is that
// statement, and everything else decorates it: a [Code] names the error for
// programs, a [Problem] explains it to people. An answer without an error means
// [OutcomeApplied].
//
// # What it does not know
//
// The package does not know how requests are served or sent. It imports nothing
// of this module and holds no state.
package api
