package kvserver

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/machine"
	"raftkv/raft"
)

// Server serves the store of one node: it is the hall behind the doors, of HTTP and
// of Clerks. All methods are safe for concurrent use.
type Server struct {
	config     Config
	machine    *machine.Machine // every request ends with its lifetime
	admissions admissions
	bodies     Budget    // memory for the bodies of writes
	confirming confirmer // bookmarks of watches
	watches    watchCounts
	age        historyAge
	leaving    chan struct{} // closed when watches are to end
	leave      sync.Once
	requests   atomic.Uint64 // counts requests, for their names
	idPrefix   string        // of those names
	gate       *access.Gate
	shut       atomic.Bool    // see Shut
	shownAt    atomic.Int64   // the store shows what was acknowledged then, 0: not known; see AwaitStale
	watchers   sync.WaitGroup // goroutines of the server's own
}

// New starts a server with the store in Config.Snapshot, which ApplyCh carries
// on from the index behind it. Close ends it. An error says which setting cannot
// be, or that the snapshot cannot be read.
func New(config Config) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{config: config, leaving: make(chan struct{}), bodies: Budget{limit: 2 * config.MaxInFlightBytes}}
	s.admissions.set(config)
	s.machine, err = machine.Open(machine.Config{
		Consensus: config.Consensus, ApplyCh: config.ApplyCh, Snapshot: config.Snapshot, MaxStoreBytes: config.MaxStoreBytes,
		SnapshotBytes: config.SnapshotBytes, NodeID: config.NodeID, Peers: config.Peers, Voters: config.Voters,
		IntegrityInterval: config.IntegrityInterval, AskDigests: config.AskDigests,
		Level: config.Level, LevelOf: config.LevelOf, AsyncTimeout: config.RequestTimeout, ReplacedGrace: config.LeaderWait,
		Observer: config.Observer, Logger: config.Logger,
	})
	if err != nil {
		return nil, err
	}
	gate := config.Access
	gate.Table, gate.Logger = s.authTable, config.Logger
	if gate.Strangers == 0 {
		gate.Strangers = max(int64(config.MaxInFlight)/strangersShare, 1)
	}
	if gate.StrangersWatches == 0 {
		gate.StrangersWatches = max(s.admissions[Watches].maxCount/strangersShare, 1)
	}
	s.gate = access.New(gate)
	if config.Shut != NotShut {
		s.shut.Store(true)
		s.watchers.Go(s.unshut)
	}
	s.watchers.Go(s.watchTokens)
	s.watchers.Go(s.watchHistory)
	if config.StaleLimit > 0 {
		s.watchers.Go(s.watchFreshness)
	}
	s.idPrefix = config.NodeID + "-" + strconv.FormatUint(s.machine.Origin()>>32, 36) + "-"
	return s, nil
}

// Close ends the server: requests that wait are answered (writes that were under
// way as unknown), new ones are refused, and the applier ends, after which ApplyCh
// is not read any more. It returns when the applier has ended. A snapshot that is
// being written is given up soon after. It does not stop consensus; that may be
// stopped before or after. Writes of ProposeAsync end with Machine().EndAsync, which
// their door calls.
func (s *Server) Close() {
	s.machine.Close()
	s.watchers.Wait()
}

// strangersShare is which part of the requests in flight, and of the watches, may be those of
// callers without an identity, while identities are enforced: one in this number.
const strangersShare = 4

// Config returns the configuration with its defaults filled in.
func (s *Server) Config() Config { return s.config }

// Machine returns the state machine that the server stands before.
func (s *Server) Machine() *machine.Machine { return s.machine }

// ownKey is the key under which BaseContext holds its server.
type ownKey struct{}

// BaseContext returns a context that ends with the server's lifetime. Those of the
// clients' connections should descend from it: Context needs no hook of its own then,
// and fifteen allocations become eight.
func (s *Server) BaseContext() context.Context {
	return context.WithValue(s.machine.Lifetime(), ownKey{}, s)
}

// Context returns the context of one request: it ends with the client's, with the
// server's lifetime, or after RequestTimeout. Its cause tells which.
func (s *Server) Context(parent context.Context) (context.Context, context.CancelFunc) {
	if parent.Value(ownKey{}) == s {
		return context.WithTimeout(parent, s.config.RequestTimeout)
	}
	lifetime := s.machine.Lifetime()
	ctx, end := context.WithCancelCause(parent)
	unhook := context.AfterFunc(lifetime, func() { end(context.Cause(lifetime)) })
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	return ctx, func() {
		unhook()
		cancel()
		end(nil)
	}
}

// WaitContext is Context for a request that waits for something, for this long beyond the time
// that requests have. It ends, too, when the server lets those go that wait: see EndWatches.
func (s *Server) WaitContext(parent context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	lifetime := s.machine.Lifetime()
	ctx, end := context.WithCancelCause(parent)
	unhook := context.AfterFunc(lifetime, func() { end(context.Cause(lifetime)) })
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout+wait)
	go func() {
		select {
		case <-s.leaving:
			end(failure.NodeStopping(nil))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		unhook()
		cancel()
		end(nil)
	}
}

// OwnContext is Context for a request that does not end with its client.
func (s *Server) OwnContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.machine.Lifetime(), s.config.RequestTimeout)
}

// NextRequestID names a request whose client did not.
func (s *Server) NextRequestID() string {
	var room [64]byte
	return string(strconv.AppendUint(append(room[:0], s.idPrefix...), s.requests.Add(1), 36))
}

// Stopping reports whether the server has been closed or its node has stopped.
func (s *Server) Stopping() bool { return s.machine.Stopping() }

// Serving returns nil if the server takes requests; otherwise why not: its state was
// found to be wrong, or it is stopping. Of a node for which both hold the first is said:
// it is what an operator must act on, and what the node said before it began to stop.
func (s *Server) Serving() error {
	if err := s.machine.Quarantined(); err != nil {
		return err
	}
	if s.machine.Stopping() {
		return failure.NodeStopping(nil)
	}
	return nil
}

// Refusal is an error as a door tells it to its client.
type Refusal struct {
	failure.Kind
	Detail     string
	Node       string
	Leader     string // "" if none is known
	LeaderAddr string // of its client port; "" if it is this node or not known
	Term       uint64
	// Operation is that of failure.Operation.
	Operation string
	// Oldest and Revision are those of failure.Reach.
	Oldest, Revision uint64
}

// Refuse describes an error to a client, and counts it.
func (s *Server) Refuse(err error) Refusal {
	s.config.Observer.Refused(err)
	return s.Describe(err)
}

// Describe describes an error to a client.
func (s *Server) Describe(err error) Refusal {
	leader, term := s.leader()
	r := Refusal{
		Kind: failure.KindOf(err), Detail: auth.Conceal(failure.Detail(err)),
		Node: s.config.NodeID, Leader: leader, LeaderAddr: s.LeaderAddr(leader), Term: term,
	}
	r.RetryAfter = failure.RetryIn(err)
	r.Oldest, r.Revision = failure.Reach(err)
	r.Operation = failure.Operation(err)
	return r
}

// UID tells clusters of one name apart.
type UID = raft.UID

// UID returns the cluster's uid, zero while it is not known.
func (s *Server) UID() UID { return s.config.Consensus.Status().UID }

// Integrity returns the results so far of comparing this node's state with its
// peers'. The caller may keep it.
func (s *Server) Integrity() machine.Integrity { return s.machine.Integrity() }

// Revision returns the store's revision: how many writes have changed it, as far as
// this node has applied them.
func (s *Server) Revision() uint64 { return s.machine.Revision() }
