package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver"
	"raftkv/kvserver/machine"
)

// Show adds the state of a server to what is shown, read anew for each scrape.
// connections returns how many connections clients have.
func (m *Metrics) Show(s *kvserver.Server, connections func() int) {
	m.registry.MustRegister(storeMetrics{s, connections}, integrityMetrics{s})
}

// storeMetrics shows the state of a server's store and of its doors.
type storeMetrics struct {
	server      *kvserver.Server
	connections func() int
}

// storeGauge is one metric: its description and how to read it.
type storeGauge struct {
	desc *prometheus.Desc
	read func(v reportedState) float64
}

// reportedState is what a scrape reads, all at one moment.
type reportedState struct {
	store                  machine.State
	lag                    uint64
	connections, pending   int
	writes, deletes, reads kvserver.Load
}

var storeGauges = []storeGauge{
	{instruments.keys.desc(), func(v reportedState) float64 { return float64(v.store.Keys) }},
	{instruments.size.desc(), func(v reportedState) float64 { return float64(v.store.Bytes) }},
	{instruments.revision.desc(), func(v reportedState) float64 { return float64(v.store.Revision) }},
	{instruments.appliedIndex.desc(), func(v reportedState) float64 { return float64(v.store.Applied) }},
	{instruments.applyLag.desc(), func(v reportedState) float64 { return float64(v.lag) }},
	{instruments.quota.desc(), func(v reportedState) float64 { return float64(v.store.Quota) }},
	{instruments.sessions.desc(), func(v reportedState) float64 { return float64(v.store.Sessions) }},
	{instruments.records.desc(), func(v reportedState) float64 { return float64(v.store.IdempotencyRecords) }},
	{instruments.connections.desc(), func(v reportedState) float64 { return float64(v.connections) }},
	{instruments.pending.desc(), func(v reportedState) float64 { return float64(v.pending) }},
	{instruments.writesNow.desc(), func(v reportedState) float64 { return float64(v.writes.Count + v.deletes.Count) }},
	{instruments.readsNow.desc(), func(v reportedState) float64 { return float64(v.reads.Count) }},
	{instruments.waiting.desc(), func(v reportedState) float64 {
		return float64(v.writes.Waiting + v.deletes.Waiting + v.reads.Waiting)
	}},
}

// Describe implements prometheus.Collector.
func (storeMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, g := range storeGauges {
		to <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (m storeMetrics) Collect(to chan<- prometheus.Metric) {
	s := m.server
	v := reportedState{
		store: s.Machine().Describe(), lag: s.Machine().ApplyLag(), connections: m.connections(), pending: s.Machine().Pending(),
		writes: s.Load(kvserver.Writes), deletes: s.Load(kvserver.Deletes), reads: s.Load(kvserver.Reads),
	}
	for _, g := range storeGauges {
		to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.read(v))
	}
}

// integrityMetrics shows the results of comparing a node's state with its peers'.
type integrityMetrics struct{ server *kvserver.Server }

var (
	integrityChecks   = instruments.integrityChecks.desc()
	integrityLastOK   = instruments.integrityLastOK.desc()
	integrityDiverged = instruments.integrityDiverged.desc()
)

// Describe implements prometheus.Collector.
func (integrityMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- integrityChecks
	to <- integrityLastOK
	to <- integrityDiverged
}

// Collect implements prometheus.Collector. Before the first comparison that was
// ok the time of the last one is left out.
func (m integrityMetrics) Collect(to chan<- prometheus.Metric) {
	seen := m.server.Integrity()
	for result, count := range seen.Checks { // each a series of its own
		to <- prometheus.MustNewConstMetric(integrityChecks, prometheus.CounterValue, float64(count), string(result))
	}
	if !seen.OKTime.IsZero() {
		to <- prometheus.MustNewConstMetric(integrityLastOK, prometheus.GaugeValue, float64(seen.OKTime.UnixMilli())/1000)
	}
	diverged := 0.0
	if seen.Fault != "" {
		diverged = 1
	}
	to <- prometheus.MustNewConstMetric(integrityDiverged, prometheus.GaugeValue, diverged)
}
