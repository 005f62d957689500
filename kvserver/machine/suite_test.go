package machine

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/tests/virtual"
)

// newMachine opens a machine of a node named n1 over a fake log. When the test ends
// the machine is closed, and no write may be left waiting.
func newMachine(t *testing.T, change func(*Config)) (*Machine, *fakelog.Log) {
	t.Helper()
	log := fakelog.New("n1")
	return newMachineOver(t, log, change), log
}

func newMachineOver(t *testing.T, log *fakelog.Log, change func(*Config)) *Machine {
	t.Helper()
	config := Config{
		Consensus: log, ApplyCh: log.ApplyCh, NodeID: "n1", SnapshotBytes: 64 << 20,
		AsyncTimeout: 10 * time.Second, ReplacedGrace: time.Second, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&config)
	}
	m, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		m.EndAsync()
		if n := m.Pending(); n != 0 {
			t.Errorf("%d writes are still waiting at the end", n)
		}
	})
	return m
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	virtual.Time(t, test)
}

// put proposes a put and waits for its end, ten seconds at most.
func put(m *Machine, key, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := m.Propose(ctx, kv.Command{Op: kv.OpPut, Key: []byte(key), Value: []byte(value)})
	return err
}

// mustPut is put where it must succeed.
func mustPut(t *testing.T, m *Machine, key, value string) {
	t.Helper()
	if err := put(m, key, value); err != nil {
		t.Errorf("putting %q: %v", key, err)
	}
}

// stored returns what the store has under key.
func stored(m *Machine, key string) string {
	r := m.Get(key)
	if !r.Found {
		return "(none)"
	}
	return string(r.Item.Value)
}

// stateOf is the hash of the store, for tests that say "nothing changed".
func stateOf(m *Machine) [32]byte { return m.Freeze().Hash() }

// applied is where the store stands in the log.
func applied(m *Machine) uint64 { return m.Describe().Applied }

// wantKind checks that an error is of a kind.
func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("it ended with %v, want %v", err, kind)
	}
	if failure.Detail(err) == "" {
		t.Errorf("%v has no text for people", err)
	}
}

// later does something in the background; how it ended comes out of the channel.
func later(do func() error) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	return ended
}
