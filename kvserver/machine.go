package kvserver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// machine is the replicated state machine of one node: the store, the applier
// that feeds it, and who waits for that. Both faces, Server and KVServer, are
// made around one.
type machine struct {
	consensus Consensus
	applyCh   <-chan raft.ApplyMsg
	// afterBatch, if not nil, is called by the applier after each batch, and when
	// ticks yields, which may be nil.
	afterBatch func()
	ticks      <-chan time.Time

	// mu guards store and marks: the applier holds it to apply a batch, readers share it.
	mu    sync.RWMutex
	store *kv.Store
	marks *marks
	// closed says whether the store may be shown and used.
	closed fence
	// skipping is set while the store lacks a snapshot that was gone when it was
	// to be installed: what follows it is dropped until the next one; the
	// applier's.
	skipping bool
	// logBytes is the size of the log since the last snapshot, stateBytes that of
	// the state in it; the applier's.
	logBytes, stateBytes int64

	// origin is drawn anew each time the process starts, so that a command
	// proposed by an earlier life is never taken for one of this life.
	origin  uint64
	clock   lifeClock
	quota   uint64 // bytes of keys and values that writes may fill; 0: no limit
	waiting waiters
	metrics *Metrics // nil: nothing is measured
	// applied and revision are how far the store has come, in the log and in
	// changes of its own.
	applied, revision progress

	// life is cancelled, with failure.Stopping as its cause, by end and when the node
	// stops.
	life context.Context
	end  context.CancelCauseFunc
	// applierDone is closed when the applier has ended.
	applierDone chan struct{}
}

// start makes the machine continue from a store by what applyCh brings, until
// its life is ended.
func (m *machine) start(consensus Consensus, applyCh <-chan raft.ApplyMsg, store *kv.Store) {
	m.consensus, m.applyCh, m.store, m.marks = consensus, applyCh, store, new(marks)
	m.stateBytes = int64(store.Bytes())
	m.origin = drawOrigin()
	m.applierDone = make(chan struct{})
	m.life, m.end = context.WithCancelCause(context.Background())
	m.clock = lifeClock{time.Now()}
	m.applied.advance(store.AppliedIndex())
	m.revision.advance(store.Revision())
	go m.applyLoop()
}

// freeze returns the state as it is now.
func (m *machine) freeze() *kv.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store.Freeze()
}

// stopping reports whether the machine's life has ended.
func (m *machine) stopping() bool { return m.life.Err() != nil }

func drawOrigin() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:])
		if origin := binary.LittleEndian.Uint64(b[:]); origin != 0 {
			return origin
		}
	}
}
