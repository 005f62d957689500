package kvserver

import (
	"errors"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// proposalEnd is how a proposal ended.
type proposalEnd int

const (
	proposalApplied proposalEnd = iota
	proposalRejected
	proposalNotLeader
	proposalDropped
	proposalTimeout
	proposalUnknown
)

var proposalEnds = [...]string{
	proposalApplied: "applied", proposalRejected: "rejected", proposalNotLeader: "not_leader",
	proposalDropped: "dropped", proposalTimeout: "timeout", proposalUnknown: "unknown",
}

// settled counts the end of a proposal; byKey says that the command had an
// idempotency key.
func (m *Metrics) settled(byKey bool, result kv.Result, err error) {
	if m == nil {
		return
	}
	if err == nil && result.Replayed {
		if byKey {
			m.keyReplays.Inc()
		} else {
			m.sessionReplays.Inc()
		}
	}
	end := proposalUnknown
	switch {
	case err == nil && result.Status == kv.StatusOK:
		end = proposalApplied
	case err == nil:
		end = proposalRejected
	case errors.Is(err, failure.NoLeader):
		end = proposalNotLeader
	case errors.Is(err, failure.Overloaded), errors.Is(err, failure.Stopping), errors.Is(err, failure.ValueTooLarge):
		end = proposalDropped
	case errors.Is(err, failure.Timeout):
		end = proposalTimeout
	}
	m.proposals[end].Inc()
}

// read counts reads that are served.
func (m *Metrics) read(linearizable bool, count int) {
	switch {
	case m == nil:
	case linearizable:
		m.linearizable.Add(float64(count))
	default:
		m.stale.Add(float64(count))
	}
}

// readIndexFailure is why a linearizable read was not confirmed.
type readIndexFailure int

const (
	readIndexNoLeader readIndexFailure = iota
	readIndexTimeout
	readIndexOverload
	readIndexStopping
)

var readIndexFailures = [...]string{
	readIndexNoLeader: "no_leader", readIndexTimeout: "timeout", readIndexOverload: "overload", readIndexStopping: "stopping",
}

// confirmed notes how the question for a read index ended.
func (m *Metrics) confirmed(begun time.Time, err error) {
	if m == nil {
		return
	}
	reason := readIndexNoLeader
	switch {
	case err == nil:
		m.readIndexSeconds.Observe(time.Since(begun).Seconds())
		return
	case errors.Is(err, failure.ReadTimeout):
		reason = readIndexTimeout
	case errors.Is(err, failure.Overloaded):
		reason = readIndexOverload
	case errors.Is(err, failure.Stopping):
		reason = readIndexStopping
	}
	m.readIndexFailures[reason].Inc()
}

// Applied notes a batch of log entries that went into the store.
func (m *Metrics) Applied(entries int, took time.Duration) {
	if m == nil {
		return
	}
	m.applySeconds.Observe(took.Seconds())
	m.applyCommands.Observe(float64(entries))
}

// SnapshotWritten notes that a snapshot is on the disk.
func (m *Metrics) SnapshotWritten(took time.Duration) {
	if m != nil {
		m.snapshotSeconds.Observe(took.Seconds())
	}
}

// Restored notes that the store was made from a snapshot.
func (m *Metrics) Restored(took time.Duration) {
	if m == nil {
		return
	}
	m.restoreSeconds.Observe(took.Seconds())
	m.lastRestore.Set(took.Seconds())
}
