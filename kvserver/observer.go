package kvserver

import (
	"time"

	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
)

// Observer is told what a server does, for measuring. Its methods are called on the
// paths of requests, by many goroutines, and must not block.
type Observer interface {
	machine.Observer
	// Settled says how a proposal ended; byKey says that its command had an
	// idempotency key.
	Settled(byKey bool, result kv.Result, err error)
	// Transacted says that a transaction was done, by the log or as a read, and which branch
	// it took. A repetition that was answered from memory is none.
	Transacted(succeeded bool)
	// Read says how many reads are being served.
	Read(linearizable bool, count int)
	// Confirmed says how the question for a read index ended, after how long.
	Confirmed(took time.Duration, err error)
	// Forwarded says how carrying a write to the leader on another node ended.
	Forwarded(err error)
	// Refused says that a request ended with an error.
	Refused(err error)
}

// unobserved measures nothing.
type unobserved struct{}

func (unobserved) Applied(int, time.Duration)     {}
func (unobserved) SnapshotWritten(time.Duration)  {}
func (unobserved) Restored(time.Duration)         {}
func (unobserved) HandedOver(time.Duration)       {}
func (unobserved) Settled(bool, kv.Result, error) {}
func (unobserved) Transacted(bool)                {}
func (unobserved) Read(bool, int)                 {}
func (unobserved) Confirmed(time.Duration, error) {}
func (unobserved) Forwarded(error)                {}
func (unobserved) Refused(error)                  {}
