package peers

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/logger"
	"github.com/lni/dragonboat/v4/plugin/tan"
	"github.com/lni/dragonboat/v4/statemachine"

	"raftkv/client/bench"
	"raftkv/tests/bench/rod"
)

// shard is dragonboat's number of the only group.
const shard = 1

// dragonStore is the map, as dragonboat's state machine. The library calls Update and
// Lookup never at the same time.
type dragonStore struct{ values map[string][]byte }

// Update applies a put.
func (s *dragonStore) Update(e statemachine.Entry) (statemachine.Result, error) {
	key, value := decodePut(e.Cmd)
	s.values[string(key)] = slices.Clone(value)
	return statemachine.Result{Value: 1}, nil
}

// Lookup reads a key.
func (s *dragonStore) Lookup(key any) (any, error) { return s.values[key.(string)], nil }

// SaveSnapshot saves nothing: there are no snapshots.
func (s *dragonStore) SaveSnapshot(io.Writer, statemachine.ISnapshotFileCollection, <-chan struct{}) error {
	return nil
}

// RecoverFromSnapshot has nothing to recover.
func (s *dragonStore) RecoverFromSnapshot(io.Reader, []statemachine.SnapshotFile, <-chan struct{}) error {
	return nil
}

// Close has nothing to close.
func (s *dragonStore) Close() error { return nil }

// serveDragonboat is one process of three that use dragonboat with its log "tan".
func serveDragonboat(s rod.Server) error {
	for _, name := range []string{"raft", "rsm", "transport", "grpc", "dragonboat", "logdb", "raftpb", "utils", "config", "order", "tan", "registry", "settings"} {
		logger.GetLogger(name).SetLevel(logger.ERROR)
	}
	c := config.NodeHostConfig{WALDir: s.Dir, NodeHostDir: s.Dir, RTTMillisecond: 50, RaftAddress: s.Listen}
	c.Expert.LogDBFactory = tan.Factory
	host, err := dragonboat.NewNodeHost(c)
	if err != nil {
		return fmt.Errorf("starting dragonboat: %w", err)
	}
	replica := uint64(slices.Index(s.Peers, s.Listen) + 1)
	members := map[uint64]dragonboat.Target{}
	for i, address := range s.Peers {
		members[uint64(i+1)] = address
	}
	err = host.StartReplica(members, false,
		func(uint64, uint64) statemachine.IStateMachine { return &dragonStore{map[string][]byte{}} },
		config.Config{ReplicaID: replica, ShardID: shard, ElectionRTT: 20, HeartbeatRTT: 2, CheckQuorum: true})
	if err != nil {
		return fmt.Errorf("starting dragonboat's replica: %w", err)
	}
	if replica != 1 {
		rod.EndWithInput()
	}
	return rod.ServeLibrary(dragonTarget{host}, func(ctx context.Context) error { return leadDragonboat(ctx, host) })
}

// leadDragonboat waits until replica 1 leads, and asks whoever leads instead to make it.
func leadDragonboat(ctx context.Context, host *dragonboat.NodeHost) error {
	for {
		leader, _, known, err := host.GetLeaderID(shard)
		if err == nil && known && leader == 1 {
			return nil
		}
		if err == nil && known {
			_ = host.RequestLeaderTransfer(shard, 1) // it is asked again
		}
		if !rest(ctx, 200*time.Millisecond) {
			return fmt.Errorf("dragonboat's replica 1 does not lead: %w", ctx.Err())
		}
	}
}

// dragonTarget makes requests by calls of dragonboat.
type dragonTarget struct{ host *dragonboat.NodeHost }

// Do makes one request.
func (t dragonTarget) Do(ctx context.Context, _ int, op bench.Op, key string, value []byte) string {
	var err error
	if op == bench.Put {
		_, err = t.host.SyncPropose(ctx, t.host.GetNoOPSession(shard), encodePut(key, value))
	} else {
		_, err = t.host.SyncRead(ctx, shard, key)
	}
	if err != nil {
		return "unknown dragonboat"
	}
	return ""
}
