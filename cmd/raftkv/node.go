package main

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/httpd"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
	"raftkv/raft/wire"
)

// nodeConfig is what one node is made of.
type nodeConfig struct {
	ClusterID string
	ID        core.ID
	Members   members // with the node itself
	FS        vfs.FS
	DataDir   string
	Rejoin    bool // the data directory takes the place of one that was lost
	// HTTP and Peer are where clients and peers connect. They belong to the node
	// from newNode on.
	HTTP, Peer net.Listener
	// Admin is where the operator connects; nil: nowhere. It belongs to the node
	// likewise.
	Admin net.Listener
	// AllowedHosts are names of this node beside the ones it knows itself.
	AllowedHosts []string

	MaxInFlight         int
	MaxConnections      int
	MaxConnectionsPerIP int
	maxForwards         int // connections to one leader; 0: kvserver's default
	maxStrangers        int // connections to Peer without a hello; 0: wire's default
	MaxValueBytes       int64
	MaxStoreBytes       int64 // 0: no limit
	SnapshotBytes       int64 // 0: kvserver's default
	trailingBytes       int   // 0: defaultTrailingBytes; tests take less
	segmentBytes        int64 // 0: wal.DefaultSegmentBytes; tests take less
	unmeasured          bool  // for a test that asks what measuring costs
	RequestTimeout      time.Duration
	ElectionTimeout     time.Duration
	Logger              *slog.Logger
	LogLevel            *slog.LevelVar // of Logger, for the admin port
	Log                 *sink          // what Logger writes to
}

// The node's clock, in ticks. An election timeout is drawn between one and two
// times electionTicks, and six beats fit in it, so that five lost in a row do
// not depose a leader.
const (
	electionTicks  = 30
	heartbeatTicks = 5
)

// stallTicks is after how long a write that does not end means that the disk
// hangs: with the default election timeout after 1.35 s, so that another node
// leads within three of the longest, 1.8 s. A disk that takes 300 ms for each of
// the four syncs that begin a new segment of the log is slow and does not hang.
const stallTicks = electionTicks * 9 / 2

// commitTicks is after how long an idle node writes down what was committed last:
// two seconds, unless the election timeout is longer than usual.
const commitTicks = electionTicks * 20 / 3

// defaultTrailingBytes is how much of what is applied stays in memory: a follower
// that was away while no more than that was written needs no snapshot.
const defaultTrailingBytes = 32 << 20

// commandRoom is room for everything in a command but its value.
const commandRoom = api.MaxKeyBytes + 256

// applyBacklog is how many delivered commands may wait for the service. Their
// data is the log's, so a longer queue would cost little and give nothing.
const applyBacklog = 256

// Bounds on the steps of an orderly end.
const (
	handOverLimit = time.Second
	drainLimit    = 5 * time.Second
	answerLimit   = time.Second // for the answers that the end itself gives
	stopLimit     = 5 * time.Second
)

// node is one node of a cluster from its data directory to its ports. Its life
// is newNode, start, then handOver and drain if there is time, and close. The
// methods belong to one goroutine; failed may be used by any.
type node struct {
	config    nodeConfig
	logger    *slog.Logger
	wal       *wal.WAL
	identity  identity // as it is in raftkv.toml
	directory *directory
	peers     *peerMemory
	state     core.State // until start
	registry  *prometheus.Registry
	ages      logAges
	syncs     recent // of the log's files
	commits   recent // of entries of this leader
	begun     time.Time
	transport *wire.Transport
	raft      *raft.Raft
	service   *service
	loaded    atomic.Pointer[kvserver.Server] // service, for the transport's goroutines
	clients   *clientPort

	announcing sync.Mutex // guards announced
	announced  bool       // all others know that this node comes back; see rejoin.go

	admin    *http.Server  // nil: there is no admin port
	failures chan error    // room for all that may come
	opened   chan struct{} // closed when raft is set
}

// newNode opens the data directory and makes sure that it is this node's. It
// opens no connection and lets nobody in.
func newNode(c nodeConfig) (*node, error) {
	n := &node{config: c, logger: c.Logger.With("node", string(c.ID)), registry: newRegistry(c), begun: time.Now(), failures: make(chan error, 2), opened: make(chan struct{})}
	err := n.openLog()
	if err == nil {
		n.transport, err = wire.New(wire.Config{
			ClusterID: c.ClusterID, ID: c.ID, Peers: c.Members.others(c.ID), Listener: c.Peer,
			ClientAddr: n.clientAddress(), Snapshots: n.shelf(), Logger: c.Logger, MaxStrangers: c.maxStrangers,
			Life: n.directory.life, Memory: n.peers, Fenced: n.fenced, Contested: n.contested, Used: n.used,
			UID: n.identity.uid(), Standing: n.directory.log.now, Build: buildVersion(),
		})
	}
	if err != nil {
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

// openLog opens the log and writes down whose it is. The order matters twice:
// nothing is touched in another node's directory, and a directory that says
// whose it is has a log.
func (n *node) openLog() error {
	c := n.config
	want := newIdentity(c.ClusterID, c.ID, c.Members)
	is, err := want.checkDirectory(c.FS, c.DataDir)
	if err != nil {
		return err
	}
	n.wal, n.state, err = wal.Open(wal.Options{
		FS: n.disk(), Dir: filepath.Join(c.DataDir, logName), ClusterID: c.ClusterID, NodeID: string(c.ID),
		SegmentBytes: c.segmentBytes,
	})
	if wrong := (*wal.IdentityError)(nil); errors.As(err, &wrong) {
		return err // the user named the wrong directory or the wrong node
	}
	if err != nil {
		return &failure{err}
	}
	if cut := n.wal.Stats().Cut; cut.Bytes > 0 {
		n.logger.Info("a write that a crash had interrupted was cut off the log; nothing acknowledged was in it", "bytes", cut.Bytes)
	}
	if passed := n.wal.Stats().PassedOver; passed != nil {
		n.logger.Error("a snapshot on the disk is damaged; the one before it and the log behind that serve instead, and nothing is lost: look after the disk", "error", passed)
	}
	if n.identity = want; is != nil {
		n.identity = *is
		if err := n.identity.checkUID(c.DataDir, n.state); err != nil {
			return err
		}
	} else {
		if err := writeSmallFile(c.FS, filepath.Join(c.DataDir, identityName), identityComment, want); err != nil {
			return err
		}
	}
	return n.openDirectory()
}

// openDirectory counts this start and reads what is known of the other nodes, now
// that the log is open and locked.
func (n *node) openDirectory() (err error) {
	c := n.config
	void := n.state.Term == 0 && n.state.Snapshot.Index == 0 && len(n.state.Entries) == 0
	if n.directory, err = openDirectory(c.FS, c.DataDir, c.ID, void, c.Rejoin); err != nil {
		return err
	}
	n.state.Rejoining = n.directory.rejoining()
	n.directory.log.begin(n.state)
	n.peers, err = openPeerMemory(c.FS, c.DataDir)
	return err
}

// start begins to take part in the cluster and to serve clients.
func (n *node) start() error {
	c := n.config
	chosen := make(chan raft.ApplyMsg, applyBacklog)
	n.raft = raft.Open(n.raftConfig(), n.state, storage{n.wal, n.directory, n.announceOnce, n.logger}, n.network(), chosen)
	close(n.opened)
	n.registry.MustRegister(raftMetrics(n.raft.Status), logAgeMetrics(&n.ages, n.raft.Status), diskMetrics(n.wal, c.DataDir), wireMetrics(n.transport))
	n.resumeRejoin()
	begins := n.state.Snapshot
	n.state = core.State{} // the log is the raft's now
	n.peers.failed = n.raft.Fail
	// The node votes and takes entries while it loads its state: the cluster need
	// not wait for that. It leads only if nobody else does, since it cannot serve.
	const loading = "it is loading its state"
	n.raft.RatherNot(loading, begins.Index > 0)
	n.transport.Start(n.raft)
	state, err := n.openState(begins.Index)
	if err != nil {
		return errors.Join(err, n.close())
	}
	defer state.Close()
	n.service, err = n.openService(chosen, state.reader())
	if err != nil {
		return errors.Join(err, n.close())
	}
	n.loaded.Store(n.service.Server)
	state.report(n.logger, begins)
	server := n.service.server()
	server.ErrorLog = slog.NewLogLogger(n.logger.Handler(), slog.LevelDebug)
	n.clients = newClientPort(server, n.service.listener(c.HTTP))
	go n.serveHTTP()
	n.raft.RatherNot(loading, false)
	n.startAdmin()
	go n.watch()
	go n.watchRejoin()
	go n.watchDirectory()
	go n.watchLeader()
	n.logger.Info("serving", "http", c.HTTP.Addr().String(), "peer", c.Peer.Addr().String(), "data", c.DataDir)
	return nil
}

// clientAddress is where the other nodes send clients' requests for this one.
func (n *node) clientAddress() string {
	return reachableAddress(n.config.HTTP.Addr(), n.config.Members[n.config.ID])
}

// startAdmin serves the admin port, if there is one. The node does without it
// if it fails.
func (n *node) startAdmin() {
	if n.config.Admin == nil {
		return
	}
	n.admin = httpd.NewAdminServer(n.service.http.AdminHandler(n.config.LogLevel))
	n.admin.ErrorLog = slog.NewLogLogger(n.logger.Handler(), slog.LevelDebug)
	go func() {
		if err := n.admin.Serve(n.config.Admin); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.logger.Error("the admin port failed", "address", n.config.Admin.Addr().String(), "error", err)
		}
	}()
	n.logger.Info("serving the operator", "admin", n.config.Admin.Addr().String())
}

func (n *node) raftConfig() raft.Config {
	var seed [16]byte
	crand.Read(seed[:])
	var uid core.UID
	crand.Read(uid[:])
	return raft.Config{
		TickInterval: n.config.ElectionTimeout / electionTicks,
		Observer:     n.observer(),
		OnUID: func(uid core.UID) {
			go func() {
				<-n.opened
				n.learned(uid)
			}()
		},
		Core: core.Config{
			ID: n.config.ID, Peers: n.config.Members.ids(),
			ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks,
			MaxEntryBytes: int(n.config.MaxValueBytes) + commandRoom,
			PreVote:       true, CheckQuorum: true, Noop: true,
			TrailingBytes: cmp.Or(n.config.trailingBytes, defaultTrailingBytes), StallTicks: stallTicks,
			NewUID: uid, CommitTicks: commitTicks,
			SnapshotPatience: -1, // the transport reports every loss
			Rand:             rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:]))),
		},
	}
}

// failed yields why the node cannot go on, if that ever happens.
func (n *node) failed() <-chan error { return n.failures }

func (n *node) serveHTTP() {
	if err := n.clients.serve(); err != nil {
		n.failures <- fmt.Errorf("taking client connections on %s: %w", n.config.HTTP.Addr(), err)
	}
}

// watch reports the failure of the raft.
func (n *node) watch() {
	if err := n.raft.Wait(); err != nil {
		n.failures <- err
	}
}

// stopListening takes no new client connections; those there are go on.
func (n *node) stopListening() { n.clients.stopListening() }

// handOver makes another node the leader if this one is, and waits a moment so
// that the others know it: they forward to whom they take for the leader.
func (n *node) handOver() {
	n.raft.RatherNot("it is about to stop", true)
	if n.raft.Status().Role != core.Leader || len(n.config.Members) == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverLimit)
	defer cancel()
	if err := n.raft.Transfer(ctx, core.None); err != nil && !errors.Is(err, raft.ErrNotLeader) {
		n.logger.Warn("leadership could not be handed over; the others will elect a leader", "error", err)
		return
	}
	tick := time.NewTicker(n.config.ElectionTimeout / electionTicks)
	defer tick.Stop()
	for ctx.Err() == nil {
		if s := n.raft.Status(); s.Leader != core.None && s.Leader != n.config.ID {
			n.logger.Info("leadership was handed over", "to", string(s.Leader), "term", s.Term)
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	// The new leader has told all others at the same time as this node. One beat
	// later it has told them again.
	select {
	case <-time.After(heartbeatTicks * n.config.ElectionTimeout / electionTicks):
	case <-ctx.Done():
	}
}

// drain lets the requests under way finish, those of HTTP and those of Clerks,
// whose connections the HTTP server has let go of.
func (n *node) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	begun := time.Now()
	n.stopListening()
	clerks := make(chan bool, 1)
	go func() { clerks <- n.service.drainClerks(ctx) }()
	if http := n.clients.drain(drainLimit); !<-clerks || !http {
		n.logger.Warn("some requests did not finish in time; they are ended", "waited", time.Since(begun).Round(time.Millisecond))
	}
}

// close ends everything that start began, in the order in which the parts need
// each other. Requests that still wait are answered. The error is the disk's.
func (n *node) close() error {
	if n.clients != nil {
		n.stopListening()
	}
	if n.service != nil {
		n.service.Close()
	}
	if n.clients != nil {
		n.clients.drain(answerLimit)
		n.clients.close()
	}
	stopped := make(chan error, 1)
	if n.raft == nil {
		stopped <- n.wal.Close()
	} else {
		n.raft.Stop()
		go func() { stopped <- n.raft.Wait() }()
	}
	err := n.transport.Close()
	n.config.HTTP.Close()
	if n.admin != nil {
		n.admin.Close()
	}
	select {
	case walErr := <-stopped:
		return errors.Join(err, walErr)
	case <-time.After(stopLimit):
		return errors.Join(err, fmt.Errorf("the disk under %s has not finished its last write within %v", n.config.DataDir, stopLimit))
	}
}
