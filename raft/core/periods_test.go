package core

import "testing"

// Goal: a transfer has its whole time, whenever it is asked for. Method: ask for one
// at each tick of the period in which the leader looks for its majority, to a
// follower that does not answer; count the ticks until it is given up.
func TestPeriods_ATransferHasItsWholeTime(t *testing.T) {
	for offset := range 10 {
		s := newSubject(t, withCheckQuorum, withServers(5))
		s.lead()
		tick := func() {
			for _, call := range s.ticks(1) {
				if call.To != "2" {
					s.accept(call)
				}
			}
		}
		for range 10 + offset {
			tick()
		}
		s.propose("x")
		if err := s.Transfer("2"); err != nil {
			t.Fatal(err)
		}
		took := 0
		for ; s.Status().Transferee != None && took < 100; took++ {
			tick()
		}
		if took != s.config.ElectionTicks || s.role != Leader {
			t.Errorf("asked at tick %d of the period: given up after %d ticks, then %v", offset, took, s.role)
		}
	}
}

// Goal: a snapshot on its way has its whole patience, whenever it was sent, and so
// has each that is sent after it. Method: as above, with a follower that needs a
// snapshot and does not answer, for three snapshots.
func TestPeriods_ASnapshotHasItsWholePatience(t *testing.T) {
	for offset := range 10 {
		s := newSubject(t, withServers(3), func(c *Config) { c.SnapshotPatience = 3 }, func(state *State) {
			state.Term, state.Snapshot = 1, Snapshot{Index: 5, Term: 1}
		})
		call := s.to("2", s.lead())
		for range offset {
			s.ticks(1)
		}
		s.giveBack(call, &AppendEntriesReply{Term: s.currentTerm, ConflictIndex: 1})
		if s.members[1].progress.installing == 0 {
			t.Fatal("no snapshot is under way")
		}
		s.takeCalls()
		for round := range 3 {
			took := 0
			for again := false; !again && took < 100; took++ {
				for _, call := range s.ticks(1) {
					if _, ok := call.Request.(*InstallSnapshot); ok {
						again = true
					}
				}
			}
			if want := 3 * s.config.ElectionTicks; took != want {
				t.Errorf("sent at tick %d of the period, %d times: sent again after %d ticks, not %d", offset, round+1, took, want)
			}
		}
	}
}

// Goal: a write has its whole time before it counts as hanging, whatever the one
// before it took. Method: a write of each length, and then one that does not end.
func TestPeriods_AWriteHasItsWholeTime(t *testing.T) {
	for before := range 14 {
		s := stalledLeader(t, 15)
		s.ticks(before)
		s.save()
		s.propose("y")
		took := 0
		for ; s.role == Leader && took < 100; took++ {
			for _, call := range s.ticks(1) {
				s.accept(call)
			}
		}
		if took < 15 || took > 16 {
			t.Errorf("after a write of %d ticks the next counts as hanging after %d, not 15", before, took)
		}
	}
}
