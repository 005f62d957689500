// Package kv is the replicated state machine: a map of keys to values that
// changes only by applying the commands of the log, in the log's order.
//
// # Mental model
//
// A [Store] is a plain object. [Store.Apply] takes the next index of the log and
// the command found there, and the result depends on nothing but the commands
// applied so far: two stores that were fed the same log are equal, which
// [View.Hash] shows. Malformed bytes are answered like any other command, with
// [StatusUnknownCommand], because they mean the same everywhere. A version, an
// operation, a flag or a condition that this version does not know stops the
// server before it is applied, with an [UnknownError]. Another server may know
// it, and would reach another state.
//
//	log index ──► Apply ──► decode ──► duplicate? ──► put, append, delete, get
//	                                      │                 │
//	                               sessions and lanes     items (a table)
//
// The items stand in rows, which an index finds by the key's hash and a tree by
// the key's order. Two trees hold the sessions by ID and the lanes of all
// sessions. Rows and trees are copy-on-write, and a frozen state needs no index.
// So the cost of [Store.Freeze] does not depend on the size of the store. A frozen
// [View] can be read for minutes while further commands are applied.
//
// # Duplicate detection
//
// A client that retries must not be served twice (§8 of the paper, 6.3 of the
// thesis). It opens a session, whose ID is the log index of the command that
// opened it, and numbers its calls. Each call in flight uses a lane of its own;
// a lane remembers the last number it saw and the result. Sessions are bounded
// in number and evicted in the order in which the log last used them, so all
// servers forget the same ones.
//
// # What it does not know
//
// The package does not know Raft, terms, leaders, goroutines, locks, clocks,
// files and HTTP. Its callers serialise Apply and Freeze against everything else;
// several reads may run at the same time. Time comes in as the stamp in the
// command; the package never asks for it.
package kv
