package kvserver

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/tests/virtual"
)

// Goal: the leader's setting of the history counts, once, and no other node's; below
// level 3 nothing of it comes into the log. Method: servers that lead, do not lead, lead
// at level 2, and lead with the default.
func TestTheLeadersHistoryBytesCount(t *testing.T) {
	for name, c := range map[string]struct {
		level    uint64
		leader   string
		bytes    int64
		want     uint64
		attempts int
	}{
		"leads":      {kv.LevelHistory, "n1", MinHistoryBytes, MinHistoryBytes, 1},
		"none":       {kv.LevelHistory, "n1", -1, 0, 1},
		"the same":   {kv.LevelHistory, "n1", 0, DefaultHistoryBytes, 0},
		"not leader": {kv.LevelHistory, "n2", MinHistoryBytes, DefaultHistoryBytes, 0},
		"level 2":    {kv.LevelBase, "n1", MinHistoryBytes, 0, 0},
	} {
		virtual.Time(t, func(t *testing.T) {
			log := fakelog.New("n1")
			log.SetLeader(c.leader)
			s, err := New(Config{
				NodeID: "n1", ClusterID: "c1", Consensus: log, ApplyCh: log.ApplyCh, Level: c.level, HistoryBytes: c.bytes,
				ClientAddr: func(string) string { return "" }, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * historyEvery) // virtual
			synctest.Wait()
			if got := s.Machine().HistoryLimit(); got != c.want || log.Attempts() != c.attempts {
				t.Errorf("%s: the limit is %d after %d proposals, want %d and %d", name, got, log.Attempts(), c.want, c.attempts)
			}
			s.Close()
			s.Machine().EndAsync()
		})
	}
	for _, bad := range []int64{1, MinHistoryBytes - 1, MaxHistoryBytes + 1} {
		if CheckHistoryBytes(bad) == nil {
			t.Errorf("%d is taken", bad)
		}
	}
}
