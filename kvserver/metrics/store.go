package metrics

import (
	"raftkv/kvserver"
)

// Show adds the state of a server to what is shown, read anew for each scrape.
// connections returns how many connections clients have.
func (m *Metrics) Show(s *kvserver.Server, connections func() int) {
	m.registry.MustRegister(storeMetrics(s, connections), integrityMetrics(s), watchMetrics(s), leaseMetrics(s))
}

// storeMetrics shows the state of a server's store and of its doors.
func storeMetrics(s *kvserver.Server, connections func() int) Shown {
	t := &instruments
	return func(show *Scrape) {
		store := s.Machine().Describe()
		show.Show(t.keys, float64(store.Keys))
		show.Show(t.size, float64(store.Bytes))
		show.Show(t.revision, float64(store.Revision))
		show.Show(t.appliedIndex, float64(store.Applied))
		show.Show(t.applyLag, float64(s.Machine().ApplyLag()))
		show.Show(t.quota, float64(store.Quota))
		show.Show(t.sessions, float64(store.Sessions))
		show.Show(t.records, float64(store.IdempotencyRecords))
		show.Show(t.connections, float64(connections()))
		show.Show(t.pending, float64(s.Machine().Pending()))
		writes, deletes, reads := s.Load(kvserver.Writes), s.Load(kvserver.Deletes), s.Load(kvserver.Reads)
		show.Show(t.writesNow, float64(writes.Count+deletes.Count))
		show.Show(t.readsNow, float64(reads.Count))
		show.Show(t.auditLost, float64(s.Gate().Audit().Lost()))
		show.Show(t.waiting, float64(writes.Waiting+deletes.Waiting+reads.Waiting))
	}
}

// watchMetrics shows the watches, and the history that they follow.
func watchMetrics(s *kvserver.Server) Shown {
	t := &instruments
	return func(show *Scrape) {
		n, store := s.WatchCounts(), s.Machine().Describe()
		show.Show(t.streams, float64(n.Streams))
		show.Show(t.watches, float64(n.Cursors))
		show.Show(t.watchLag, float64(n.Lag))
		show.Show(t.watchEvents, float64(n.Events))
		show.Show(t.watchResets, float64(n.Resets))
		for _, reason := range kvserver.WatchEnds {
			show.Show(t.watchEnds, float64(n.Ended[reason]), string(reason))
		}
		show.Show(t.historyBytes, float64(store.HistoryBytes))
		show.Show(t.historyEvents, float64(store.HistoryEvents))
		show.Show(t.historyAge, s.HistoryAge().Seconds())
	}
}

// leaseEnds are the values of the label of leases_ended_total.
var leaseEnds = [...]string{"expired", "revoked"}

// leaseMetrics shows the leases and locks, and what this node does for them.
func leaseMetrics(s *kvserver.Server) Shown {
	t := &instruments
	return func(show *Scrape) {
		store := s.Machine().Describe()
		show.Show(t.leases, float64(store.Leases))
		show.Show(t.leasesEnded, float64(store.LeasesExpired), leaseEnds[0])
		show.Show(t.leasesEnded, float64(store.LeasesRevoked), leaseEnds[1])
		show.Show(t.ties, float64(store.Ties))
		show.Show(t.locksHeld, float64(store.LocksHeld))
		show.Show(t.locksWaiting, float64(store.LocksWaiting))
		show.Show(t.leaseTime, float64(store.LeaseTime)/1000)
		show.Show(t.ticks, float64(store.Ticks))
		show.Show(t.keepAlivesJoined, float64(s.Machine().JoinedKeepAlives()))
	}
}

// watchEnds are the values of the label of watch_ended_total.
func watchEnds() (reasons []string) {
	for _, reason := range kvserver.WatchEnds {
		reasons = append(reasons, string(reason))
	}
	return reasons
}

// integrityMetrics shows the results of comparing a node's state with its peers'. Before
// the first comparison that was ok the time of the last one is left out.
func integrityMetrics(s *kvserver.Server) Shown {
	return func(show *Scrape) {
		seen := s.Integrity()
		for result, count := range seen.Checks { // each a series of its own
			show.Show(instruments.integrityChecks, float64(count), string(result))
		}
		if !seen.OKTime.IsZero() {
			show.Show(instruments.integrityLastOK, float64(seen.OKTime.UnixMilli())/1000)
		}
		show.Show(instruments.integrityDiverged, Truth(seen.Fault != ""))
	}
}
