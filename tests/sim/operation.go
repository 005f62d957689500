package main

import (
	"fmt"

	"raftkv/kvserver/kv"
)

// opKind says what an operation asks for.
type opKind uint8

const (
	opPut opKind = iota
	opAppend
	opDelete
	opCompare // a put, append or delete on a condition
	opGet
	opStale // a get from the asked server's own copy
	opList
	opOpen // a session
	opKinds
)

func (k opKind) String() string {
	return [opKinds]string{"put", "append", "delete", "compare", "get", "stale get", "list", "open session"}[k]
}

// writes reports whether the operation goes through the log to change something.
func (k opKind) writes() bool { return k <= opCompare }

// operation is one thing a client wants, however often it must ask for it.
type operation struct {
	lane      *lane
	number    uint64 // counts the client's operations
	kind      opKind
	key       string
	keyNumber int
	token     string // unique; part of what is written
	session   kv.SessionCall
	condition kv.Condition // of a compare
	change    kv.Op        // a compare's: put, append or delete
	keyed     string       // idempotency key
	repeats   *kv.Result   // the answer that it got already, if it is made once more
	expired   bool         // nothing is promised any more of an idempotency key
	attempts  int

	// For the oracles.

	floor       uint64 // log index that everything acknowledged to anybody before it began lies at or below
	minRevision uint64 // of a stale read: what it must show
	began       int64
}

func (op *operation) String() string {
	return fmt.Sprintf("%s's %v %s %s", op.lane.c.name(), op.kind, op.key, op.token)
}

// outcome is a server's answer.
type outcome struct {
	err      error // not nil: it did not happen and never will
	result   kv.Result
	index    uint64 // where a command stands; of a read, what had been applied
	revision uint64 // the store's when it was answered
	items    []item // of reads
}

// item is a key with what a read found under it.
type item struct {
	key   string
	value string
	found bool
	kv.Item
}

// keyNames are the keys; every second belongs to a folder of its own, so that
// lists have something to leave out.
var keyNames = func() (names [maxKeys]string) {
	for i := range names {
		names[i] = fmt.Sprintf("%c/%d", 'a'+i%2, i)
	}
	return names
}()

// command makes the log's command for an operation that goes through the log.
func (op *operation) command(id kv.RequestID, stamp, quota uint64) kv.Command {
	c := kv.Command{ID: id, Session: op.session, Key: []byte(op.key), Time: stamp, Condition: op.condition, IdempotencyKey: op.keyed}
	switch op.kind {
	case opPut:
		c.Op = kv.OpPut
	case opAppend:
		c.Op = kv.OpAppend
	case opDelete:
		c.Op = kv.OpDelete
	case opCompare:
		c.Op = op.change
	case opGet:
		c.Op = kv.OpGet
	case opOpen:
		c.Op, c.Key = kv.OpOpenSession, nil
	default:
		panic("no command for a " + op.kind.String())
	}
	if c.Op == kv.OpPut || c.Op == kv.OpAppend {
		c.Value, c.Quota = []byte(op.token), quota
	}
	return c
}

// appends and deletes report whether the operation adds to a value, or takes it
// away.
func (op *operation) appends() bool {
	return op.kind == opAppend || op.kind == opCompare && op.change == kv.OpAppend
}

func (op *operation) deletes() bool {
	return op.kind == opDelete || op.kind == opCompare && op.change == kv.OpDelete
}
