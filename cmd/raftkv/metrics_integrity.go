package main

import "raftkv/kvserver"

// integrityMetrics shows what a node knows of its state being the others'.
func integrityMetrics(known func() kvserver.Integrity) shown {
	return func(s *show) {
		i := known()
		s.gauge("integrity_diverged", "1 if this node serves nothing, because its state is not that of the others.", truth(i.Fault != ""))
		for _, result := range []kvserver.IntegrityResult{kvserver.IntegrityOK, kvserver.IntegrityUnknown, kvserver.IntegrityMismatch, kvserver.IntegrityDiverged} {
			s.counter("integrity_checks_total", "Comparisons of this node's state with the others', by result.", i.Checks[result], "result", string(result))
		}
		if !i.OKTime.IsZero() {
			s.gauge("integrity_last_ok_timestamp_seconds", "When the state was last found to be that of the others, in seconds of the Unix epoch.", float64(i.OKTime.UnixMilli())/1000)
			s.gauge("integrity_last_ok_index", "Log index of that comparison.", float64(i.OKIndex))
		}
	}
}
