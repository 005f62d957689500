package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
)

// Kind is what Prometheus calls the type of a metric.
type Kind string

// The kinds of metrics.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Instrument describes one metric. Registration is made from it, and documents are
// held to it.
type Instrument struct {
	Name   string // without Prefix
	Kind   Kind
	Help   string
	Labels []string
	// Values are those of the one label, where they are known from the start. Such
	// counters exist then: one that appears with its first event has no rate, and
	// alerts would miss that event.
	Values  []string
	Buckets []float64 // of a histogram
}

// Prefix begins the name of every metric.
const Prefix = "raftkv_"

// Table lists instruments. Packages declare each of theirs by one row of a table, when
// the program starts; what they declare can be neither forgotten nor described twice.
type Table []Instrument

func (t *Table) add(i Instrument) Instrument {
	*t = append(*t, i)
	return i
}

// Counter adds a counter, whose name ends in _total.
func (t *Table) Counter(name, help string, labels ...string) Instrument {
	return t.add(Instrument{Name: name, Kind: Counter, Help: help, Labels: labels})
}

// Counts adds counters, one for each of the known values of a label.
func (t *Table) Counts(name, help, label string, values []string) Instrument {
	return t.add(Instrument{Name: name, Kind: Counter, Help: help, Labels: []string{label}, Values: values})
}

// Gauge adds a value that goes up and down.
func (t *Table) Gauge(name, help string, labels ...string) Instrument {
	return t.add(Instrument{Name: name, Kind: Gauge, Help: help, Labels: labels})
}

// Histogram adds a histogram with the bounds of its buckets.
func (t *Table) Histogram(name, help string, buckets []float64, labels ...string) Instrument {
	return t.add(Instrument{Name: name, Kind: Histogram, Help: help, Buckets: buckets, Labels: labels})
}

// SnapshotBuckets are the bounds of histograms of snapshots, in seconds: from a snapshot
// of nearly nothing to one that takes a quarter of an hour.
var SnapshotBuckets = prometheus.ExponentialBuckets(0.001, 2, 20)

// Buckets of the other histograms, in seconds: from what a request takes on an idle
// node with a fast disk to the time-out of a request.
var (
	requestBuckets = prometheus.ExponentialBucketsRange(0.000_1, 12.8, 18)
	applyBuckets   = prometheus.ExponentialBucketsRange(0.000_002, 0.5, 14)
	batchBuckets   = prometheus.ExponentialBuckets(1, 2, 9) // up to the entries of one batch
)

// table is all that this package measures.
var table Table

// instruments are its rows. The names of the fields are how the rest of the package
// finds a row.
var instruments = struct {
	requestSeconds, requestsNow, requestBytes, responseBytes, clerkSeconds, rejected, forwarded  Instrument
	proposals, applySeconds, applyEntries, reads, readIndexSeconds, readIndexFailures, replays   Instrument
	transacted                                                                                   Instrument
	authRequests, wouldDeny, limited, auditLost                                                  Instrument
	snapshotSeconds, restoreSeconds, lastRestore                                                 Instrument
	keys, size, revision, appliedIndex, applyLag, quota, sessions, records, connections, pending Instrument
	writesNow, readsNow, waiting, integrityChecks, integrityLastOK, integrityDiverged            Instrument
	streams, watches, watchLag, watchEvents, watchResets, watchEnds                              Instrument
	historyBytes, historyEvents, historyAge                                                      Instrument
	leases, leasesEnded, ties, leaseTime, ticks, keepAlivesJoined                                Instrument
	locksHeld, locksWaiting, handoverSeconds                                                     Instrument
}{
	// Requests.
	requestSeconds: table.Histogram("http_request_duration_seconds", "Time from the header of a request to the end of its answer. Code 499: the client was gone.", requestBuckets, "route", "method", "code"),
	requestsNow:    table.Gauge("http_requests_in_flight", "Requests that are being served.", "route"),
	requestBytes:   table.Counter("http_request_bytes_total", "Bytes of request bodies, as announced by their headers.", "route"),
	responseBytes:  table.Counter("http_response_bytes_total", "Bytes of answer bodies.", "route"),
	clerkSeconds:   table.Histogram("clerk_request_duration_seconds", "Time from the arrival of a Clerk's request to its answer, including refusals after admission.", requestBuckets, "op"),
	rejected:       table.Counts("requests_rejected_total", "Requests refused because of the state of the node or cluster, by reason. None of them changed anything.", "reason", rejectionLabels()),
	forwarded:      table.Counts("forwarded_requests_total", "Writes forwarded to the leader on another node, by result.", "result", hops[:]),

	// Identities.
	authRequests: table.Counts("auth_requests_total", "Requests and connections by what their token was: known, anonymous (there was none) or rejected.", "result", access.Results[:]),
	wouldDeny:    table.Counter("auth_would_deny_total", "Requests that were served only because the state of identities is observe, by the right that they need.", "right"),
	limited:      table.Counter("identity_limited_total", "Requests refused because their identity has used what it may on this node.", "identity"),
	auditLost:    table.Counter("audit_lost_total", "Lines of the audit that could not be kept."),

	// The log, as the service uses it.
	proposals:         table.Counts("raft_proposals_total", "Commands that this node proposed, by result.", "result", proposalEnds[:]),
	applySeconds:      table.Histogram("raft_apply_duration_seconds", "Time to apply one batch of committed commands to the store.", applyBuckets),
	applyEntries:      table.Histogram("raft_apply_batch_entries", "Log entries in one batch applied to the store.", batchBuckets),
	reads:             table.Counts("raft_reads_total", "Reads served by this node, by consistency.", "mode", []string{api.ConsistencyLinearizable, api.ConsistencyStale}),
	readIndexSeconds:  table.Histogram("raft_read_index_duration_seconds", "Time for a majority to confirm the leader before a linearizable read.", requestBuckets),
	readIndexFailures: table.Counts("raft_read_index_failures_total", "Linearizable reads that no majority confirmed, by reason.", "reason", readIndexFailures[:]),
	replays:           table.Counts("dedup_hits_total", "Repeated requests answered from memory without being applied again, by what recognised them.", "by", []string{"session", "idempotency_key"}),

	transacted: table.Counts("txn_total", "Transactions done by this node, as the leader or as reads, by the branch that they took. Repetitions that were answered from memory are not among them.", "branch", branches[:]),

	// Snapshots.
	snapshotSeconds: table.Histogram("raft_snapshot_create_duration_seconds", "Time to write a snapshot of the store to the disk.", SnapshotBuckets),
	restoreSeconds:  table.Histogram("raft_snapshot_restore_duration_seconds", "Time to restore the store from a snapshot, when the node starts or the leader sends one.", SnapshotBuckets),
	lastRestore:     table.Gauge("raft_last_restore_duration_seconds", "Time that the last restore of the store from a snapshot took; 0 if the node started without one."),

	// The store and the doors, read anew for each scrape.
	keys:         table.Gauge("store_keys", "Keys in the store."),
	size:         table.Gauge("store_size_bytes", "Size of all keys and values."),
	revision:     table.Gauge("store_revision", "Number of the store's last change."),
	appliedIndex: table.Gauge("store_applied_index", "Last log index that the store has applied."),
	applyLag:     table.Gauge("apply_lag_entries", "Committed log entries that the store has not applied yet."),
	quota:        table.Gauge("quota_bytes", "Limit of the size of all keys and values, which the leader enforces; 0 for no limit."),
	sessions:     table.Gauge("sessions_active", "Client sessions that are remembered."),
	records:      table.Gauge("idempotency_records", "Answers remembered under idempotency keys."),
	connections:  table.Gauge("client_connections", "Open connections of clients."),
	pending:      table.Gauge("raft_proposals_pending", "Commands that this node proposed and whose outcome is not known yet."),
	writesNow:    table.Gauge("writes_in_flight", "Writes that were admitted and have no answer yet."),
	readsNow:     table.Gauge("reads_in_flight", "Reads that were admitted and have no answer yet."),
	waiting:      table.Gauge("requests_waiting", "Requests that wait for admission."),

	// Watches and the history, likewise.
	streams:       table.Gauge("watch_streams", "Watches that are being sent."),
	watches:       table.Gauge("watch_watches", "Places in the history that are followed: those of watches and of reads that wait for a change."),
	watchLag:      table.Gauge("watch_lag_revisions", "Revisions that this node has applied and has not told its watches of yet."),
	watchEvents:   table.Counter("watch_events_total", "Events that watches were sent."),
	watchResets:   table.Counter("watch_resets_total", "Times that a watch was told to forget everything, because the history does not reach its place any more."),
	watchEnds:     table.Counts("watch_ended_total", "Watches that this node ended, by reason.", "reason", watchEnds()),
	historyBytes:  table.Gauge("history_bytes", "What the events in the history are charged with."),
	historyEvents: table.Gauge("history_events", "Events in the history."),
	historyAge:    table.Gauge("history_oldest_age_seconds", "For how long this node has known the eldest change in the history, since its start at most; 0 if there is none. A watch that was away for longer may have to begin anew."),

	// Leases, likewise.
	leases:           table.Gauge("leases_active", "Leases that are alive."),
	leasesEnded:      table.Counts("leases_ended_total", "Leases that ended in this node's store since it was loaded: expired or revoked.", "reason", leaseEnds[:]),
	ties:             table.Gauge("lease_ties", "Keys that have an end, of their own or with a lease."),
	leaseTime:        table.Gauge("lease_time_seconds", "Lease time of the store. On a cluster in which something can end it rises by one each second; faster means that the leader's clock is wrong."),
	ticks:            table.Counter("ticks_total", "Ticks that this node put into the log, as the leader."),
	keepAlivesJoined: table.Counter("keepalives_joined_total", "Keep-alives of leases that this node, as the leader, put into the log entry of another one."),

	// Locks, likewise.
	locksHeld:       table.Gauge("locks_held", "Holders of locks: of one with a limit above 1 each of them."),
	locksWaiting:    table.Gauge("locks_waiting", "Leases that wait for a lock."),
	handoverSeconds: table.Histogram("lock_handover_duration_seconds", "Time from the arrival of a release at this node, the leader, until the next holder is woken, of requests that wait here.", requestBuckets),

	// The comparison of states, likewise.
	integrityChecks:   table.Counter("integrity_checks_total", "Comparisons of this node's state with the others' by result: ok, unknown, mismatch or diverged.", "result"),
	integrityLastOK:   table.Gauge("integrity_last_ok_timestamp_seconds", "Unix time at which a majority last agreed with this node about the state."),
	integrityDiverged: table.Gauge("integrity_diverged", "1 if this node found its state to be wrong and is quarantined: it serves nothing."),
}

// Instruments lists the whole table, for documents and tests to be held against.
func Instruments() []Instrument { return table }
