package metrics

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

// Settled counts the end of a proposal; byKey says that the command had an
// idempotency key.
func (m *Metrics) Settled(byKey bool, result kv.Result, err error) {
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

// Transacted counts a transaction by the branch that it took.
func (m *Metrics) Transacted(succeeded bool) {
	if succeeded {
		m.transacted[0].Inc()
	} else {
		m.transacted[1].Inc()
	}
}

// branches are the values of the label of txn_total.
var branches = [...]string{"then", "else"}

// Read counts reads that are served.
func (m *Metrics) Read(linearizable bool, count int) {
	switch {
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

// Confirmed notes how the question for a read index ended.
func (m *Metrics) Confirmed(took time.Duration, err error) {
	reason := readIndexNoLeader
	switch {
	case err == nil:
		m.readIndexSeconds.Observe(took.Seconds())
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
	m.applySeconds.Observe(took.Seconds())
	m.applyEntries.Observe(float64(entries))
}

// SnapshotWritten notes that a snapshot is on the disk.
func (m *Metrics) SnapshotWritten(took time.Duration) {
	m.snapshotSeconds.Observe(took.Seconds())
}

// HandedOver notes that a lock went to a request that waits on this node.
func (m *Metrics) HandedOver(took time.Duration) { m.handoverSeconds.Observe(took.Seconds()) }

// Restored notes that the store was made from a snapshot.
func (m *Metrics) Restored(took time.Duration) {
	m.restoreSeconds.Observe(took.Seconds())
	m.lastRestore.Set(took.Seconds())
}
