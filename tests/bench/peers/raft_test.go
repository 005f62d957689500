package peers

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"raftkv/client/bench"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/wal"
	"raftkv/raft/wire"
	"raftkv/tests/bench/rod"
)

// encodePut returns a command: the length of the key in two bytes, the key, the value.
func encodePut(key string, value []byte) []byte {
	b := make([]byte, 0, 2+len(key)+len(value))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	return append(b, value...)
}

func decodePut(b []byte) (key, value []byte) {
	n := 2 + int(binary.LittleEndian.Uint16(b))
	return b[2:n], b[n:]
}

// rest waits and reports whether ctx has not ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// storage is the log with the name that package raft has for its wish.
type storage struct{ *wal.WAL }

// Wanted is told when the log wants a spare file.
func (s storage) Wanted() <-chan struct{} { return s.NeedsSpare() }

// raftStore is the map, and the callers that wait for it.
type raftStore struct {
	raft *raft.Raft

	mu      sync.RWMutex
	moved   sync.Cond // on mu's read side: applied has grown
	values  map[string][]byte
	applied uint64

	waiting struct {
		sync.Mutex
		at map[uint64]chan error // by index
	}
}

// serveRaft is one process of three that use package raft with its log and transport.
func serveRaft(s rod.Server) error {
	id := func(i int) core.ID { return core.ID(fmt.Sprintf("n%d", i+1)) }
	place := slices.Index(s.Peers, s.Listen)
	log, state, err := wal.Open(wal.Options{Dir: s.Dir, ClusterID: "bench", NodeID: string(id(place))})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	others := map[core.ID]string{}
	for i, address := range s.Peers {
		if i != place {
			others[id(i)] = address
		}
	}
	transport, err := wire.New(wire.Config{ClusterID: "bench", ID: id(place), Peers: others, Listener: l})
	if err != nil {
		return err
	}
	batches := make(chan raft.Batch, 1)
	r := raft.OpenBatches(raft.Config{TickInterval: 10 * time.Millisecond, Core: core.Config{
		ID: id(place), Peers: []core.ID{id(0), id(1), id(2)}, ElectionTicks: 30, HeartbeatTicks: 5, MaxEntryBytes: 1 << 20,
		PreVote: true, CheckQuorum: true, Noop: true, SnapshotPatience: -1, Rand: rand.New(rand.NewPCG(uint64(place), rand.Uint64())),
	}}, state, storage{log}, transport, batches)
	transport.Start(r)
	store := &raftStore{raft: r, values: map[string][]byte{}}
	store.moved.L = store.mu.RLocker()
	store.waiting.at = map[uint64]chan error{}
	go store.apply(batches)
	if place != 0 {
		go rod.EndWithInput()
		store.yield(id(0))
	}
	return rod.ServeLibrary(store, store.lead)
}

// yield hands leadership to another process whenever this one has it.
func (s *raftStore) yield(to core.ID) {
	for ; ; time.Sleep(100 * time.Millisecond) {
		if s.raft.Status().Role != core.Leader {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = s.raft.Transfer(ctx, to) // it is tried again
		cancel()
	}
}

// lead waits until this process leads.
func (s *raftStore) lead(ctx context.Context) error {
	for s.raft.Status().Role != core.Leader {
		if !rest(ctx, 20*time.Millisecond) {
			return fmt.Errorf("n1 does not lead: %w", ctx.Err())
		}
	}
	return nil
}

// apply applies one batch after the other, and then tells all that wait for it.
func (s *raftStore) apply(batches <-chan raft.Batch) {
	var ended []chan error
	for batch := range batches {
		batch.Taken() // the next one is made ready while this one is applied
		s.mu.Lock()
		for _, e := range batch.Entries {
			if e.Kind == raft.KindCommand {
				key, value := decodePut(e.Data)
				s.values[string(key)] = slices.Clone(value)
			}
			s.applied = e.Index
		}
		s.mu.Unlock()
		s.moved.Broadcast()
		ended = s.take(batch, ended[:0])
		for _, e := range ended {
			e <- nil
		}
	}
}

// take adds those that wait for a batch to ended.
func (s *raftStore) take(batch raft.Batch, ended []chan error) []chan error {
	s.waiting.Lock()
	defer s.waiting.Unlock()
	for _, e := range batch.Entries {
		if waits := s.waiting.at[e.Index]; waits != nil {
			ended = append(ended, waits)
			delete(s.waiting.at, e.Index)
		}
	}
	return ended
}

// Do makes one request.
func (s *raftStore) Do(ctx context.Context, _ int, op bench.Op, key string, value []byte) string {
	if op == bench.Put {
		if err := s.put(ctx, key, value); err != nil {
			return "unknown raft"
		}
		return ""
	}
	index, err := s.raft.ReadIndex(ctx)
	if err != nil {
		return "not_applied raft"
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for s.applied < index {
		s.moved.Wait()
	}
	_ = s.values[key]
	return ""
}

func (s *raftStore) put(ctx context.Context, key string, value []byte) error {
	ended := make(chan error, 1)
	s.raft.Propose(&raft.Proposal{
		Command: encodePut(key, value),
		Placed: func(index, _ uint64) {
			s.waiting.Lock()
			defer s.waiting.Unlock()
			s.waiting.at[index] = ended
		},
		Failed: func(err error) { ended <- err },
	})
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Goal: a command is what was put. Method: there and back.
func TestCommands(t *testing.T) {
	if key, value := decodePut(encodePut("key", []byte("value"))); string(key) != "key" || string(value) != "value" {
		t.Errorf("%q %q", key, value)
	}
}
