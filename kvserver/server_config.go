package kvserver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/kvserver/membership"
	"raftkv/raft"
)

// Config is what a Server is made of. NodeID, Consensus, ApplyCh and ClientAddr
// must be set; for the rest zero means the default that their comments name.
type Config struct {
	NodeID    string // this server's name in the cluster
	ClusterID string // requests forwarded from another cluster are refused
	Build     string // version for /v1/status

	Consensus machine.Consensus
	ApplyCh   <-chan raft.Batch
	// Snapshot, if not nil, is read by New for the state that ApplyCh carries on.
	Snapshot io.Reader
	// Level is the level at which a store without a snapshot begins, which must be the
	// same on all nodes; 0: that of the base. It is for tests: a cluster rises by its
	// log.
	Level uint64
	// LevelOf returns the level at which the cluster works from an entry on that holds no
	// command, 0 if the entry does not say; see machine.Config. nil: none does.
	LevelOf func(raft.Entry) uint64
	// ClientAddr gives the host:port where a node takes client requests, "" if
	// that is not known. It is asked for the leader on each forwarded request and
	// must not block.
	ClientAddr func(id string) string

	// Membership makes changes of the cluster's members. nil: there are none.
	Membership *membership.Driver
	// Peers names the other nodes of the cluster, whose states this server's is
	// compared with.
	Peers []string
	// Voters is as in machine.Config.
	Voters func() []string
	// IntegrityInterval is the interval at which that is done. 10 s.
	IntegrityInterval time.Duration
	// AskDigests asks the peers for the digests of their states at an index of the
	// log, and leaves out those that do not answer or do not know it. nil: nobody is
	// asked.
	AskDigests func(ctx context.Context, index uint64) map[string]kv.Digest

	// MaxConnections is how many connections clients may have: on each a request may
	// wait for room. 8192.
	MaxConnections int

	// MaxInFlight bounds the puts and appends that are being served, and
	// separately the reads; a quarter of it bounds the deletes. A request that finds
	// no room waits for it up to some seconds and is then refused as overloaded. 4096.
	MaxInFlight int
	// MaxInFlightBytes bounds the bodies of the writes that are being served. As
	// much again may be held of those that wait or are still arriving. 48 MiB,
	// which leaves room in what a leader may hold uncommitted (64 MiB).
	MaxInFlightBytes int64
	// MaxValueBytes is the length of the longest value, at most
	// api.MaxValueBytes. 1 MiB.
	MaxValueBytes int64
	// MaxTxnBytes is the length of the longest body of a transaction over HTTP, at most
	// api.MaxTxnBytes. 2 MiB. Consensus must take entries as long.
	MaxTxnBytes int64
	// MaxStoreBytes is how many bytes of keys and values together the store may
	// hold: a write that would make it grow beyond is refused. 0: no limit. The
	// leader's setting counts.
	MaxStoreBytes int64
	// HistoryBytes is how many bytes of changes the cluster keeps for watches, as
	// CheckHistoryBytes permits: 128 MiB; below 0: none. The leader's setting counts.
	HistoryBytes int64
	// SnapshotBytes is how long the log must have grown since the last snapshot
	// before the next is taken; where the state in that was larger, as long as the
	// state. 64 MiB.
	SnapshotBytes int64
	// RequestTimeout is the time for an answer once the request has been read.
	// A write that has no result by then is answered as unknown. 10 s.
	RequestTimeout time.Duration
	// LeaderWait is how long a request waits for the cluster to have a leader
	// before it is refused, so that clients do not see every election. 1 s.
	LeaderWait time.Duration

	// Access says how callers are found and bounded. Its Table is the machine's.
	Access access.Config
	// Shut says whether identities count as enforced until this node knows better.
	Shut Shut
	// StaleLimit is how long a node goes on serving stale reads while identities are
	// enforced and nobody confirms that its store shows all that was acknowledged. 10 s;
	// below 0: without a limit.
	StaleLimit time.Duration

	// Observer is told what the server does, for measuring. nil: nothing is measured.
	Observer Observer
	// Logger gets what an operator should see; never keys or values.
	// slog.Default().
	Logger *slog.Logger
}

// withDefaults returns the configuration that the server runs with.
func (c Config) withDefaults() (Config, error) {
	if c.LevelOf == nil {
		c.LevelOf = levelOf
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 4096
	}
	if c.MaxValueBytes == 0 {
		c.MaxValueBytes = api.DefaultMaxValueBytes
	}
	if c.MaxTxnBytes == 0 {
		c.MaxTxnBytes = api.DefaultMaxTxnBytes
	}
	if c.HistoryBytes == 0 {
		c.HistoryBytes = kv.DefaultHistoryBytes
	}
	if c.MaxInFlightBytes == 0 {
		c.MaxInFlightBytes = max(48<<20, c.MaxValueBytes)
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 8192
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = 64 << 20
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 10 * time.Second
	}
	if c.IntegrityInterval == 0 {
		c.IntegrityInterval = 10 * time.Second
	}
	if c.LeaderWait == 0 {
		c.LeaderWait = time.Second
	}
	if c.StaleLimit == 0 {
		c.StaleLimit = 10 * time.Second
	}
	if c.AskDigests == nil {
		c.AskDigests = func(context.Context, uint64) map[string]kv.Digest { return nil }
	}
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := CheckHistoryBytes(c.HistoryBytes); err != nil {
		return c, fmt.Errorf("kvserver: the history %w", err)
	}
	switch {
	case c.NodeID == "" || c.Consensus == nil || c.ApplyCh == nil || c.ClientAddr == nil:
		return c, fmt.Errorf("kvserver: NodeID, Consensus, ApplyCh and ClientAddr must be set")
	case c.MaxValueBytes < 1 || c.MaxValueBytes > api.MaxValueBytes:
		return c, fmt.Errorf("kvserver: the longest value is %d bytes; choose 1 to %d", c.MaxValueBytes, api.MaxValueBytes)
	case c.MaxTxnBytes < 1 || c.MaxTxnBytes > api.MaxTxnBytes:
		return c, fmt.Errorf("kvserver: the longest transaction is %d bytes; choose 1 to %d", c.MaxTxnBytes, api.MaxTxnBytes)
	case c.MaxInFlightBytes < c.MaxValueBytes:
		return c, fmt.Errorf("kvserver: %d bytes in flight would not let one value of %d bytes in", c.MaxInFlightBytes, c.MaxValueBytes)
	case c.MaxStoreBytes < 0:
		return c, fmt.Errorf("kvserver: a store of %d bytes cannot be; choose 0 for no limit", c.MaxStoreBytes)
	case c.MaxConnections < 1:
		return c, fmt.Errorf("kvserver: %d connections; choose 1 or more", c.MaxConnections)
	case c.MaxInFlight < 1 || c.RequestTimeout < 0 || c.LeaderWait < 0 || c.SnapshotBytes < 0 || c.IntegrityInterval < 0:
		return c, fmt.Errorf("kvserver: MaxInFlight, RequestTimeout, LeaderWait, SnapshotBytes and IntegrityInterval must be positive")
	}
	return c, nil
}
