package machine

import (
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// levelAt says that the cluster works at a level from an index on.
func levelAt(index, level uint64) func(raft.Entry) uint64 {
	return func(e raft.Entry) uint64 {
		if e.Index == index {
			return level
		}
		return 0
	}
}

// Goal: the store takes the level in at the place of the entry that says so, and not
// before: a command of that level is refused without effect until then, proposed after
// it, and the digest has another version behind it. Method: a no-op whose level the hook
// tells, between two puts.
func TestTheLevelIsTakenInAtItsPlaceInTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, func(c *Config) { c.LevelOf = levelAt(2, kv.LevelHistory) })
		mustPut(t, m, "a", "1")
		forget := kv.Forget(1)
		if _, err := m.Propose(t.Context(), forget); failure.KindOf(err).Outcome != api.OutcomeNotApplied || log.Attempts() != 1 {
			t.Errorf("before the level: %v, after %d proposals", err, log.Attempts())
		}
		if _, version, _ := m.DigestAt(1); version != 1 {
			t.Errorf("the digest has version %d", version)
		}
		log.Deliver(nil)
		synctest.Wait()
		mustPut(t, m, "a", "2")
		if r, err := m.Propose(t.Context(), forget); err != nil || r.Status != kv.StatusNotForgettable {
			t.Errorf("behind the level: %v, %v", r.Status, err)
		}
		view := m.Freeze()
		if _, version, _ := m.DigestAt(4); version != 2 || view.Level() != kv.LevelHistory || view.HistoryEvents() != 1 {
			t.Errorf("the digest has version %d, the store level %d and %d events", version, view.Level(), view.HistoryEvents())
		}
	})
}

// Goal: a level that this version does not know ends the node before the entry. Method:
// the hook tells one.
func TestALevelOfALaterVersionEndsTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, func(c *Config) { c.LevelOf = levelAt(2, kv.LevelMax+1) })
		log.Deliver(fakelog.PutCommand("a", "1"))
		log.Deliver(nil)
		synctest.Wait()
		if err := log.Failed(); err == nil || !strings.Contains(err.Error(), "level 4; a newer") || applied(m) != 1 {
			t.Errorf("the node was ended with %v at %d", err, applied(m))
		}
	})
}
