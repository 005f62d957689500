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

// Goal: a node says for how long the eldest change in the history has been there, and nothing
// of what it cannot know: never longer than it has seen that change, and 0 where none is kept.
// What it remembers for that is bounded, and an earlier state begins anew. Method: a history
// that goes on for a day, of which ever more is forgotten.
func TestTheAgeOfTheHistory(t *testing.T) {
	var a historyAge
	began := time.Now()
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	want := func(oldest, newest uint64, now, least, most int) {
		t.Helper()
		if got := a.of(oldest, newest, at(now)).Seconds(); got < float64(least) || got > float64(most) {
			t.Errorf("the change of revision %d is %v s old, want %d to %d", oldest, got, least, most)
		}
	}
	want(2, 1, 0, 0, 0)
	a.note(2, 10, at(0))
	a.note(2, 10, at(2))
	a.note(2, 20, at(10))
	want(2, 20, 30, 30, 30)
	want(11, 20, 30, 20, 20)
	want(21, 20, 30, 0, 0)
	a.note(15, 20, at(40))
	want(15, 20, 40, 30, 30)
	const day = 24 * 60 * 60
	for now := 40; now < day; now += 2 {
		a.note(15, uint64(now), at(now))
		if len(a.marks) > maxHistoryMarks {
			t.Fatalf("%d marks", len(a.marks))
		}
	}
	want(15, day, day, day-300, day)
	want(day/2, day, day, day/2-300, day/2)
	want(day-100, day, day, 0, 100)
	for now := day; now < day+100; now += 2 { // a burst, of which little is kept
		a.note(uint64(now), uint64(now), at(now))
	}
	want(day+98, day+98, day+200, 100, 102)
	a.note(3, 5, at(day))
	want(3, 5, day+10, 10, 10)
}
