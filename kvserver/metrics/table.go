package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

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

// Buckets of the histograms, in seconds: from what a request takes on an idle
// node with a fast disk to the time-out of a request.
var (
	requestBuckets  = prometheus.ExponentialBucketsRange(0.000_1, 12.8, 18)
	applyBuckets    = prometheus.ExponentialBucketsRange(0.000_002, 0.5, 14)
	snapshotBuckets = prometheus.ExponentialBuckets(0.001, 2, 20) // to a quarter of an hour
	batchBuckets    = prometheus.ExponentialBuckets(1, 2, 9)      // up to the entries of one batch
)

// instruments is the one table of what this package measures. The names of its
// fields are how the rest of the package finds a row.
var instruments = struct {
	requestSeconds, requestsNow, requestBytes, responseBytes, clerkSeconds, rejected, forwarded  Instrument
	proposals, applySeconds, applyEntries, reads, readIndexSeconds, readIndexFailures, replays   Instrument
	snapshotSeconds, restoreSeconds, lastRestore                                                 Instrument
	keys, size, revision, appliedIndex, applyLag, quota, sessions, records, connections, pending Instrument
	writesNow, readsNow, waiting, integrityChecks, integrityLastOK, integrityDiverged            Instrument
}{
	// Requests.
	requestSeconds: Instrument{"http_request_duration_seconds", Histogram, "Time from the header of a request to the end of its answer. Code 499: the client was gone.", []string{"route", "method", "code"}, nil, requestBuckets},
	requestsNow:    Instrument{"http_requests_in_flight", Gauge, "Requests that are being served.", []string{"route"}, nil, nil},
	requestBytes:   Instrument{"http_request_bytes_total", Counter, "Bytes of request bodies, as announced by their headers.", []string{"route"}, nil, nil},
	responseBytes:  Instrument{"http_response_bytes_total", Counter, "Bytes of answer bodies.", []string{"route"}, nil, nil},
	clerkSeconds:   Instrument{"clerk_request_duration_seconds", Histogram, "Time from the arrival of a Clerk's request to its answer, refusals after it was let in included.", []string{"op"}, nil, requestBuckets},
	rejected:       Instrument{"requests_rejected_total", Counter, "Requests refused for the state of the node or cluster, by reason; none of them has changed anything.", []string{"reason"}, rejectionLabels(), nil},
	forwarded:      Instrument{"forwarded_requests_total", Counter, "Writes carried to the leader on another node, by what came of it.", []string{"result"}, hops[:], nil},

	// The log, as the service uses it.
	proposals:         Instrument{"raft_proposals_total", Counter, "Commands proposed by this node, by how they ended.", []string{"result"}, proposalEnds[:], nil},
	applySeconds:      Instrument{"raft_apply_duration_seconds", Histogram, "Time to apply one batch of committed commands to the store.", nil, nil, applyBuckets},
	applyEntries:      Instrument{"raft_apply_batch_entries", Histogram, "Log entries in one batch applied to the store.", nil, nil, batchBuckets},
	reads:             Instrument{"raft_reads_total", Counter, "Reads served by this node, by consistency.", []string{"mode"}, []string{api.ConsistencyLinearizable, api.ConsistencyStale}, nil},
	readIndexSeconds:  Instrument{"raft_read_index_duration_seconds", Histogram, "Time until a majority had confirmed the leader for a linearizable read.", nil, nil, requestBuckets},
	readIndexFailures: Instrument{"raft_read_index_failures_total", Counter, "Linearizable reads that no majority confirmed, by reason.", []string{"reason"}, readIndexFailures[:], nil},
	replays:           Instrument{"dedup_hits_total", Counter, "Repeated requests answered from memory without being applied again, by what recognised them.", []string{"by"}, []string{"session", "idempotency_key"}, nil},

	// Snapshots.
	snapshotSeconds: Instrument{"raft_snapshot_create_duration_seconds", Histogram, "Time to write a snapshot of the store to the disk.", nil, nil, snapshotBuckets},
	restoreSeconds:  Instrument{"raft_snapshot_restore_duration_seconds", Histogram, "Time to make the store of a snapshot, at the start of the node or when one came from the leader.", nil, nil, snapshotBuckets},
	lastRestore:     Instrument{"raft_last_restore_duration_seconds", Gauge, "How long that took the last time; 0 if there was no snapshot to start from.", nil, nil, nil},

	// The store and the doors, read anew for each scrape.
	keys:         Instrument{"store_keys", Gauge, "Keys in the store.", nil, nil, nil},
	size:         Instrument{"store_size_bytes", Gauge, "Size of all keys and values.", nil, nil, nil},
	revision:     Instrument{"store_revision", Gauge, "Number of the store's last change.", nil, nil, nil},
	appliedIndex: Instrument{"store_applied_index", Gauge, "Last log index that the store has applied.", nil, nil, nil},
	applyLag:     Instrument{"apply_lag_entries", Gauge, "Committed log entries that the store has not applied yet.", nil, nil, nil},
	quota:        Instrument{"quota_bytes", Gauge, "Size of keys and values that this node lets writes fill when it leads; 0 for no limit.", nil, nil, nil},
	sessions:     Instrument{"sessions_active", Gauge, "Client sessions that are remembered.", nil, nil, nil},
	records:      Instrument{"idempotency_records", Gauge, "Answers remembered under idempotency keys.", nil, nil, nil},
	connections:  Instrument{"client_connections", Gauge, "Open connections of clients.", nil, nil, nil},
	pending:      Instrument{"raft_proposals_pending", Gauge, "Commands proposed by this node whose end is not known yet.", nil, nil, nil},
	writesNow:    Instrument{"writes_in_flight", Gauge, "Writes that have been let in and have no answer yet.", nil, nil, nil},
	readsNow:     Instrument{"reads_in_flight", Gauge, "Reads that have been let in and have no answer yet.", nil, nil, nil},
	waiting:      Instrument{"requests_waiting", Gauge, "Requests that wait to be let in.", nil, nil, nil},

	// The comparison of states, likewise.
	integrityChecks:   Instrument{"integrity_checks_total", Counter, "Comparisons of this node's state with the others' by result: ok, unknown, mismatch or diverged.", []string{"result"}, nil, nil},
	integrityLastOK:   Instrument{"integrity_last_ok_timestamp_seconds", Gauge, "When this node's state was last found to be that of a majority, since the epoch.", nil, nil, nil},
	integrityDiverged: Instrument{"integrity_diverged", Gauge, "1 if this node found its state to be wrong and serves nothing.", nil, nil, nil},
}

// Instruments lists the whole table, for documents and tests to be held against.
func Instruments() []Instrument {
	t := &instruments
	return []Instrument{
		t.requestSeconds, t.requestsNow, t.requestBytes, t.responseBytes, t.clerkSeconds, t.rejected, t.forwarded,
		t.proposals, t.applySeconds, t.applyEntries, t.reads, t.readIndexSeconds, t.readIndexFailures, t.replays,
		t.snapshotSeconds, t.restoreSeconds, t.lastRestore,
		t.keys, t.size, t.revision, t.appliedIndex, t.applyLag, t.quota, t.sessions, t.records, t.connections, t.pending,
		t.writesNow, t.readsNow, t.waiting, t.integrityChecks, t.integrityLastOK, t.integrityDiverged,
	}
}

// desc returns the description of a metric that is made anew for each scrape.
func (i Instrument) desc() *prometheus.Desc {
	return prometheus.NewDesc(Prefix+i.Name, i.Help, i.Labels, nil)
}
