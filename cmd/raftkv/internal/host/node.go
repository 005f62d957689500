package host

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/cmd/raftkv/internal/flight"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver"
	"raftkv/kvserver/membership"
	"raftkv/kvserver/recorder"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/levels"
	"raftkv/raft/members"
	"raftkv/raft/wal"
	"raftkv/raft/wire"
)

// Node is one node of a cluster, from its data directory to its ports. It is used in
// this order: New, Start, then StopListening, HandOver and Drain if there is time, and
// Close. These belong to one goroutine. The other methods may be called by any, once
// Start has returned.
type Node struct {
	config    Config
	logger    *slog.Logger
	wal       *wal.WAL
	directory *datadir.Directory
	state     core.State // until Start
	registry  *prometheus.Registry
	ages      logAges
	syncs     recent // of the log's files
	commits   recent // of entries of this leader
	begun     time.Time
	recording *flight.Recording
	transport *wire.Transport
	raft      *raft.Raft
	service   *service
	driver    *membership.Driver              // changes the members where this node leads
	returns   atomic.Bool                     // it joins anew since it lost its disk, and does not vote so far
	hasRecord bool                            // the log knew of the members when it was opened
	enforcing bool                            // the log asked for identities to be enforced when it was opened
	loaded    atomic.Pointer[kvserver.Server] // service, for the transport's goroutines
	clients   *clientPort

	closing sync.Once
	closed  error // that closing has met

	announcing sync.Mutex // guards announced
	announced  bool       // all others know that this node comes back; see rejoin.go

	watching context.CancelFunc // ends what watchTLS has begun
	admin    *http.Server       // nil: there is no admin port
	failures chan error         // has room for every failure that may come
	opened   chan struct{}      // closed when raft is set

	membersKnown chan struct{} // closed by knowMembers, when the transport goes by a record
	knowMembers  func()
	warnOfList   func() // says once that --cluster and the record differ
}

// New opens the data directory and makes sure that it is this node's. It accepts and
// opens no connection. If it fails, it closes the listeners.
func New(c Config) (*Node, error) { return NewUntil(context.Background(), c) }

// NewUntil is New. It may have to ask the other nodes how this one begins or comes back, for
// which it has until ctx ends.
func NewUntil(ctx context.Context, c Config) (*Node, error) {
	n := &Node{config: c, logger: c.Logger.With("node", string(c.ID)), registry: newRegistry(c), begun: time.Now(), failures: make(chan error, 2), opened: make(chan struct{}), membersKnown: make(chan struct{})}
	n.knowMembers = sync.OnceFunc(func() { close(n.membersKnown) })
	n.warnOfList = sync.OnceFunc(func() {
		n.logger.Warn("--cluster names other nodes than the record of the members in the log, which rules; the list only says where some of them may be found", "cluster", core.JoinIDs(n.config.Members.IDs(), ","))
	})
	known, err := levels.Of(c.LevelMax)
	if err == nil {
		err = n.openLog(ctx, known)
		c = n.config
	}
	if err == nil {
		n.driver = n.newDriver(known)
		n.transport, err = wire.New(wire.Config{
			ClusterID: c.ClusterID, ID: c.ID, Peers: c.Members.Others(c.ID), Listener: c.Peer,
			ClientAddr: n.clientAddress(), ClientTLS: c.speaksTLS(), TLS: c.Keys.Wire(), Snapshots: n.snapshots(), Logger: c.Logger, MaxStrangers: c.MaxStrangers,
			Life: n.directory.Life(), Memory: n.directory.Peers(), Fenced: n.fenced, Contested: n.contested, Used: n.used,
			UID: n.directory.UID(), Standing: n.directory.Standing, Build: n.config.Build,
			LevelMax: known.Max, Joining: len(c.Members) == 0, Removed: n.turnedAway, Join: n.peerJoin,
			Addresses: []wire.Address{{Name: wire.AddressPeer, Address: n.peerAddress()}, {Name: wire.AddressHTTP, Address: n.clientAddress()}},
			Noted:     n.recording.Connection,
			Dial:      c.Dial,
		})
	}
	if err != nil {
		if n.recording != nil {
			n.recording.Close()
		}
		if n.wal != nil {
			err = errors.Join(err, n.wal.Close())
		}
		if c.Admin != nil {
			c.Admin.Close()
		}
		return nil, errors.Join(err, c.HTTP.Close(), c.Peer.Close())
	}
	return n, nil
}

// openLog makes sure that the data directory is this node's, opens the log in it, and
// counts this start.
func (n *Node) openLog(ctx context.Context, known levels.Range) error {
	c := n.config
	directory, err := datadir.Check(c.FS, c.DataDir, datadir.NewOwner(c.ClusterID, c.ID, c.Members.IDs()))
	if err != nil {
		return err
	}
	n.directory = directory
	n.wal, n.state, err = wal.Open(wal.Options{
		FS: n.disk(), Dir: directory.LogPath(), ClusterID: c.ClusterID, NodeID: string(c.ID),
		SegmentBytes: c.SegmentBytes,
	})
	if wrong := (*wal.IdentityError)(nil); errors.As(err, &wrong) {
		return err // the user named the wrong directory or the wrong node
	}
	if err != nil {
		return &Failure{err}
	}
	if cut := n.wal.Stats().Cut; cut.Bytes > 0 {
		n.logger.Info("a write that a crash had interrupted was cut off the log; nothing acknowledged was in it", "bytes", cut.Bytes)
	}
	if passed := n.wal.Stats().PassedOver; passed != nil {
		n.logger.Error("a snapshot on the disk is damaged; the one before it and the log behind that serve instead, and nothing is lost: look after the disk", "error", passed)
	}
	if err := n.checkLevel(known); err != nil {
		return err
	}
	if err := n.settleReturn(ctx); err != nil {
		return err
	}
	if err := n.settleBeginning(ctx); err != nil {
		return err
	}
	if err := directory.Begin(&n.state, c.Rejoin); err != nil {
		return err
	}
	if record, err := newestRecord(&n.state); err == nil && record != nil && directory.Life().Rejoined {
		m := record.Member(c.ID)
		n.returns.Store(m == nil || m.Role == members.Learner) // it was ended on its way
	}
	if len(n.config.Join.Addresses) > 0 && n.returns.Load() && !n.hasRecord {
		n.logger.Warn("this node has lost its disk and comes back: the cluster has a record of its members, so the node joins anew in the place of its old directory")
	}
	if c.HoldLevel && !n.hasRecord {
		if err := directory.SetHold(true); err != nil {
			return err
		}
	}
	n.state.Rejoining = directory.Rejoining()
	n.enforcing = asksToEnforce(&n.state)
	n.record()
	return nil
}

// Start begins to take part in the cluster and to serve clients. If it fails, the
// node is closed.
func (n *Node) Start() error {
	c := n.config
	n.recording.Watch(n.figures)
	chosen := make(chan raft.Batch, 1)
	n.raft = raft.OpenBatches(n.raftConfig(), n.state, storage{n.wal, n.directory, n.learnGoal, n.announceOnce, n.logger}, n.network(), chosen)
	close(n.opened)
	n.registry.MustRegister(raftMetrics(n.raft.Status), memberMetrics(n.driver), logAgeMetrics(&n.ages, n.raft.Status), diskMetrics(n.wal, c.DataDir), wireMetrics(n.transport), tlsMetrics(c.Keys, n.open))
	n.resumeRejoin()
	begins := n.state.Snapshot
	n.state = core.State{} // the log is the raft's now
	n.directory.Peers().OnFailure(n.raft.Fail)
	// The node votes and takes entries while it loads its state: the cluster need
	// not wait for that. It leads only if nobody else does, since it cannot serve.
	const loading = "it is loading its state"
	n.raft.RatherNot(loading, begins.Index > 0)
	n.awaitMembers()
	n.transport.Start(n.raft)
	state, err := n.openState(begins.Index)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	defer state.Close()
	if err := n.startService(chosen, state.reader()); err != nil {
		return errors.Join(err, n.Close())
	}
	state.report(n.logger, begins)
	n.raft.RatherNot(loading, false)
	n.startAdmin()
	go n.watch()
	go n.watchRejoin()
	go n.watchDirectory()
	go n.watchLeader()
	ctx, cancel := context.WithCancel(context.Background())
	n.watching = cancel
	n.watchTLS(ctx)
	n.startDriver()
	n.startSeeking()
	n.startJoining()
	n.logger.Info("serving", "http", c.HTTP.Addr().String(), "peer", c.Peer.Addr().String(), "data", c.DataDir)
	return nil
}

// Failed yields why the node cannot go on, if that ever happens.
func (n *Node) Failed() <-chan error { return n.failures }

// watch reports the failure of the raft.
func (n *Node) watch() {
	if err := n.raft.Wait(); err != nil {
		n.failures <- err
	}
}

// ID returns the node's ID.
func (n *Node) ID() core.ID { return n.config.ID }

// Address returns where the node listens for clients.
func (n *Node) Address() string { return n.config.HTTP.Addr().String() }

// Leads reports whether the node leads at the moment.
func (n *Node) Leads() bool { return n.raft.Status().Role == core.Leader }

// Hold keeps the node's loop from running until release is closed or the node ends, as
// if its process had been stopped. It is for showing what follows from that.
func (n *Node) Hold(release <-chan struct{}) { n.raft.Hold(release) }

// Rings returns what the node has recorded.
func (n *Node) Rings() []recorder.Ring { return n.recording.Recorder().After(0, recorder.Capacity) }

// Leading returns the node's term, and whether the node leads it.
func (n *Node) Leading() (term uint64, leads bool) {
	s := n.raft.Status()
	return s.Term, s.Role == core.Leader
}

// AwaitServing waits until a read would succeed on the node, or ctx has ended. It
// reports whether a read would succeed.
func (n *Node) AwaitServing(ctx context.Context) bool {
	for {
		if server := n.loaded.Load(); server != nil {
			if _, err := server.Ready(ctx); err == nil {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// AwaitLevel waits until the node's store works at the highest level that its program
// knows, the level is held, or ctx has ended.
func (n *Node) AwaitLevel(ctx context.Context) {
	for {
		if level := n.driver.Level(); level.Hold || n.service.Level() >= uint64(level.BuildMax) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// watchTLS looks after the node's certificates until ctx ends. ctx is that of the process,
// which ends with its node.
func (n *Node) watchTLS(ctx context.Context) {
	n.config.Keys.Noted(n.noteReload)
	go n.config.Keys.Watch(ctx, n.config.Reload)
	go secure.WarnDaily(ctx, n.open, n.logger)
}
