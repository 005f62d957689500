package kvserver

import (
	"log/slog"
	"testing"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// newServer starts a server named n1, without doors, over a fake log.
func newServer(t *testing.T, change func(*Config)) (*Server, *fakelog.Log) {
	t.Helper()
	log := fakelog.New("n1")
	config := Config{
		NodeID: "n1", ClusterID: "c1", Consensus: log, ApplyCh: log.ApplyCh,
		ClientAddr: func(string) string { return "" }, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&config)
	}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, log
}

// Goal: every refusal for want of room tells people what the limit is, its
// number, and what they can do; both doors say the same.
// Method: all of them, once, with the whole text.
func TestRefusalsNameTheLimitItsNumberAndWhatToDo(t *testing.T) {
	s, log := newServer(t, func(c *Config) { c.MaxStoreBytes, c.MaxConnections, c.MaxInFlight = 10<<30, 8192, 1024 })
	detail := func(err error) string {
		t.Helper()
		if failure.Detail(err) == "" {
			t.Fatalf("%v has no text", err)
		}
		return failure.Detail(err)
	}
	bytes := &admission{maxCount: 10, maxBytes: 48 << 20, bytes: 48 << 20, count: 1}
	full := &s.admissions[Writes]
	full.count = full.maxCount
	for range full.maxWaiting {
		full.waiting.PushBack(&waitingRequest{})
	}
	queueFull := s.CheckQueue(Writes)
	full.count = 0
	full.waiting.Init()
	log.Set(func(status *raft.Status) { status.CommitIndex = 20000 })
	lag := s.CheckLag(Writes)
	if err := s.CheckLag(Deletes); err != nil {
		t.Errorf("a delete is refused: %v", err)
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{tooMany(&s.admissions[Writes], Writes), "too many writes in flight (limit 1024); retry after 1 s"},
		{tooMany(&s.admissions[Deletes], Deletes), "too many deletes in flight (limit 256); retry after 1 s"},
		{tooMany(bytes, Writes), "too many bytes of writes in flight (48 MiB of 48 MiB); retry after 1 s"},
		{queueFull, "the queue for writes is full (limit 8192); retry after 1 s"},
		{s.NoMemory(), "no memory for another request body (0 bytes of 96 MiB in use); retry after 1 s"},
		{lag, "this node's store is 20000 entries behind its log (limit 16384); retry after 1 s"},
		{s.CheckValue(2_000_000), "the value has 2000000 bytes; this node takes 1048576 (--max-value-bytes)"},
		{s.CheckValue(-1), "the value has more than 1048576 bytes, the limit of this node (--max-value-bytes); send a smaller one"},
		{s.RefusedByStore(kv.Result{Status: kv.StatusTooLong}), "with this the value would have more than 1048576 bytes, the limit of this node (--max-value-bytes)"},
		{s.RefusedByStore(kv.Result{Status: kv.StatusQuota}), "the store is full (quota 10 GiB, --max-store-bytes of the leader); delete something: reads and deletes still work"},
		{s.RefusedByStore(kv.Result{Status: kv.StatusIdempotencyFull}), "the table of idempotency keys is full (limit 1048576 keys, and 32 MiB of the outcomes of transactions), and none of them is older than 3600 s; retry later, or write without an Idempotency-Key"},
	} {
		if got := detail(c.err); got != c.want {
			t.Errorf("it says %q, want %q", got, c.want)
		}
	}
}
