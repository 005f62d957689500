package machine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// Config is what a Machine is made of. Consensus and ApplyCh must be set.
type Config struct {
	Consensus Consensus
	ApplyCh   <-chan raft.Batch
	// Snapshot, if not nil, is read by Open for the state that ApplyCh carries on.
	Snapshot io.Reader
	// Level is the level of a store that begins without a snapshot; 0: kv.LevelBase. It
	// must be the same on all nodes from the first entry on.
	Level uint64
	// LevelOf returns the level at which the cluster works from an entry on that holds
	// no command; 0: the entry says nothing of it. nil: none does. All nodes must give
	// the same answer for an entry.
	LevelOf func(raft.Entry) uint64
	// MaxStoreBytes is how many bytes of keys and values writes may fill, where this
	// node leads. 0: no limit.
	MaxStoreBytes int64

	// AfterBatch, if not nil, is called by the applier after each batch. The store
	// does not move meanwhile. It is for callers that take snapshots by themselves.
	AfterBatch func(*Machine)
	// SnapshotBytes is how long the log must have grown since the last snapshot
	// before the machine takes the next. It also waits until a start would take
	// longer to apply that log than to load the state. 0: it takes none.
	SnapshotBytes int64

	// NodeID names this node and Peers the others of the group.
	NodeID string
	Peers  []string
	// Voters, if not nil, names the nodes of the group that vote at the moment, in place of
	// Peers and this node: of them a majority decides which state is right.
	Voters func() []string
	// IntegrityInterval is how often the states of the nodes are compared; 0: never.
	// AskDigests then asks the peers for the digests of their states at an index, and
	// leaves out those that do not answer or do not know it. It returns soon when ctx
	// ends.
	IntegrityInterval time.Duration
	AskDigests        func(ctx context.Context, index uint64) map[string]kv.Digest

	// AsyncTimeout is how long a write of ProposeAsync may take, counted from when
	// its request came. 0: nobody calls ProposeAsync.
	AsyncTimeout time.Duration
	// ReplacedGrace is how long after a leader was replaced a request may wait for
	// what that leader says of it.
	ReplacedGrace time.Duration

	Observer Observer     // nil: nothing is measured
	Logger   *slog.Logger // nil: slog.Default()
}

// Machine is the replicated state machine of one Raft group on this node: the
// store, the applier that feeds it, and the requests waiting for it. All methods
// are safe for concurrent use.
type Machine struct {
	config    Config
	consensus Consensus
	observer  Observer
	logger    *slog.Logger

	// mu guards store and marks: the applier holds it to apply a batch, readers share it.
	mu    sync.RWMutex
	store *kv.Store
	marks *marks
	// quarantine is set once, when this node's state was found to be wrong.
	quarantine quarantine
	// skipping is set while the store lacks a snapshot that was gone when it was
	// to be installed: what follows it is dropped until the next one; the
	// applier's.
	skipping bool
	// logBytes is the size of the log since the last snapshot; the applier's.
	logBytes int64
	// base is the last snapshot; the applier's.
	base base
	// results are those of the commands of this process that were just applied; the
	// applier's.
	results []kv.Result

	// origin is drawn anew each time the process starts, so that a command
	// proposed before the start is never taken for one of this process.
	origin  uint64
	clock   uptimeClock
	waiting waiters
	tenures tenures
	watch   sleeper // watchAsync's
	ticks   sleeper // proposeTicks'
	// canEnd says whether anything in the store has a deadline; ticked counts ticks.
	canEnd atomic.Bool
	ticked atomic.Uint64
	joiner joiner
	queues queues // of locks
	// level is the store's, for those that do not hold mu.
	level atomic.Uint64
	// auth is the store's table of identities, for those that do not hold mu.
	auth atomic.Pointer[auth.Table]
	// applied and revision are how far the store has come, in the log and in
	// changes of its own.
	applied, revision watermark

	feed      feed // of the watches
	integrity integrity
	snapshots snapshotter

	// lifetime is cancelled, with failure.Stopping as its cause, by End and when the
	// node stops.
	lifetime context.Context
	end      context.CancelCauseFunc
	// applierDone is closed when the applier has ended.
	applierDone chan struct{}
	watchers    sync.WaitGroup
}

// Open makes a machine continue from the state in Config.Snapshot by what ApplyCh
// brings, until it is ended. The error says that the snapshot cannot be read.
func Open(config Config) (*Machine, error) {
	m := &Machine{
		config: config, consensus: config.Consensus, observer: config.Observer, logger: config.Logger,
		store: kv.NewAt(max(config.Level, kv.LevelBase)), marks: new(marks), origin: drawOrigin(), clock: uptimeClock{time.Now()},
		tenures: tenures{grace: config.ReplacedGrace}, applierDone: make(chan struct{}),
		watch: sleeper{rouse: make(chan struct{}, 1)}, ticks: sleeper{rouse: make(chan struct{}, 1)}, snapshots: snapshotter{ended: make(chan struct{}, 1)},
	}
	if m.observer == nil {
		m.observer = unobserved{}
	}
	if m.logger == nil {
		m.logger = slog.Default()
	}
	if config.Snapshot != nil {
		begun := time.Now()
		store, err := restore(config.Snapshot)
		if err != nil {
			return nil, fmt.Errorf("loading the state from the snapshot: %w", err)
		}
		m.store = store
		m.observer.Restored(time.Since(begun))
	}
	m.base = m.present()
	m.noteEnds()
	m.lifetime, m.end = context.WithCancelCause(context.Background())
	m.level.Store(m.store.Level())
	m.auth.Store(m.store.Auth())
	m.applied.advance(m.store.AppliedIndex())
	m.revision.advance(m.store.Revision())
	go m.applyLoop()
	if config.IntegrityInterval > 0 {
		m.watchers.Go(m.watchIntegrity)
	}
	if config.AsyncTimeout > 0 {
		m.watchers.Go(m.watchAsync)
	}
	if config.NodeID != "" {
		m.watchers.Go(m.proposeTicks)
	}
	return m, nil
}

// End ends the machine and returns at once: requests that wait are answered
// (writes that were under way as unknown), and the applier ends soon, after which
// ApplyCh is not read any more. Writes of ProposeAsync end with EndAsync.
func (m *Machine) End() { m.end(failure.Stopping) }

// Close ends the machine and returns when its goroutines have ended, but for one
// that writes a snapshot, which gives up soon after.
func (m *Machine) Close() {
	m.End()
	<-m.applierDone
	m.watchers.Wait()
}

// Lifetime returns a context that ends with the machine. Its cause is then
// failure.Stopping.
func (m *Machine) Lifetime() context.Context { return m.lifetime }

// Stopping reports whether the machine has been ended.
func (m *Machine) Stopping() bool { return m.lifetime.Err() != nil }

// Origin returns the number that was drawn for this start of the process. It is
// not 0.
func (m *Machine) Origin() uint64 { return m.origin }

func drawOrigin() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:])
		if origin := binary.LittleEndian.Uint64(b[:]); origin != 0 {
			return origin
		}
	}
}
