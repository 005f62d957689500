package kvserver

import "github.com/prometheus/client_golang/prometheus"

// storeMetrics shows the state of a server's store and of its doors, read anew
// for each scrape.
type storeMetrics struct{ server *Server }

// gaugeOf is one of them.
type gaugeOf struct {
	desc *prometheus.Desc
	read func(v reportedState) float64
}

// reportedState is what a scrape reads, all at one moment.
type reportedState struct {
	keys, bytes, sessions, records    int
	revision, applied, lag            uint64
	quota                             uint64
	connections, writes, reads, queue int64
	pending                           int
}

func storeGauge(name, help string, read func(reportedState) float64) gaugeOf {
	return gaugeOf{prometheus.NewDesc(metricsPrefix+name, help, nil, nil), read}
}

var storeGauges = []gaugeOf{
	storeGauge("store_keys", "Keys in the store.", func(v reportedState) float64 { return float64(v.keys) }),
	storeGauge("store_size_bytes", "Size of all keys and values.", func(v reportedState) float64 { return float64(v.bytes) }),
	storeGauge("store_revision", "Number of the store's last change.", func(v reportedState) float64 { return float64(v.revision) }),
	storeGauge("store_applied_index", "Last log index that the store has applied.", func(v reportedState) float64 { return float64(v.applied) }),
	storeGauge("apply_lag_entries", "Committed log entries that the store has not applied yet.", func(v reportedState) float64 { return float64(v.lag) }),
	storeGauge("quota_bytes", "Size of keys and values that this node lets writes fill when it leads; 0 for no limit.", func(v reportedState) float64 { return float64(v.quota) }),
	storeGauge("sessions_active", "Client sessions that are remembered.", func(v reportedState) float64 { return float64(v.sessions) }),
	storeGauge("idempotency_records", "Answers remembered under idempotency keys.", func(v reportedState) float64 { return float64(v.records) }),
	storeGauge("client_connections", "Open connections of clients.", func(v reportedState) float64 { return float64(v.connections) }),
	storeGauge("raft_proposals_pending", "Commands proposed by this node whose end is not known yet.", func(v reportedState) float64 { return float64(v.pending) }),
	storeGauge("writes_in_flight", "Writes that have been let in and have no answer yet.", func(v reportedState) float64 { return float64(v.writes) }),
	storeGauge("reads_in_flight", "Reads that have been let in and have no answer yet.", func(v reportedState) float64 { return float64(v.reads) }),
	storeGauge("requests_waiting", "Requests that wait to be let in.", func(v reportedState) float64 { return float64(v.queue) }),
}

// Describe implements prometheus.Collector.
func (storeMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, g := range storeGauges {
		to <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (m storeMetrics) Collect(to chan<- prometheus.Metric) {
	v := m.server.reportState()
	for _, g := range storeGauges {
		to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.read(v))
	}
}

func (s *Server) reportState() reportedState {
	store := s.machine.Describe()
	writes, deletes, reads := s.writes.crowd(), s.deletes.crowd(), s.reads.crowd()
	open, _, _ := s.conns.counts()
	return reportedState{
		keys: store.Keys, bytes: store.Bytes, sessions: store.Sessions, records: store.IdempotencyRecords,
		revision: store.Revision, applied: store.Applied, lag: s.machine.ApplyLag(), quota: store.Quota,
		pending:     s.machine.Pending(),
		connections: int64(open), writes: writes.count + deletes.count, reads: reads.count,
		queue: int64(writes.waiting + deletes.waiting + reads.waiting),
	}
}
