// Package failure holds the errors that a request to the service can end with.
//
// Each error is of one kind. A table has a row for each kind: the status of HTTP,
// the code, the outcome (whether the request took effect), and whether and when
// the request may be sent again. So the promise that an answer makes is decided
// here, once, and both doors only translate it.
//
// The outcome is the part that must be right. A row says "not applied" only if the
// request did not take effect and never will; where that is not known the kind is
// another one, whose row says "unknown".
//
// The package knows the words of package api and nothing else of the service. All
// functions are safe for concurrent use.
package failure
