// Package gather collects what the nodes of a cluster recorded of their lives: from the
// nodes that answer, and from the files of those that do not.
//
// The mental model is a round: every endpoint is asked at the same time, with one time
// limit for all, and a node that does not answer costs its events and the wait, and
// nothing else.
package gather
