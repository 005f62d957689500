package core

import "testing"

// Goal: a snapshot whose file is lost is sent to nobody; the service is asked for
// another one as long as a follower that answers needs it, also where the newest
// reaches, and the follower gets that one, be it newer or of the same index.
// Method: a leader whose memory begins at 5, with its newest snapshot at 5 or 6;
// the loss is told before the follower asks; losses of other snapshots change
// nothing.
func TestALostSnapshotIsNotSentAndAnotherIsWanted(t *testing.T) {
	defer failOnPanic(t)
	for _, again := range []uint64{5, 6} {
		s, beat := leaderWithTail(t)
		s.Compact(Snapshot{Index: 5})
		s.SnapshotLost(4)
		s.SnapshotLost(0)
		if s.Status().SnapshotLost {
			t.Fatal("another snapshot was lost, and the newest counts as lost")
		}
		s.SnapshotLost(5)
		if st := s.Status(); !st.SnapshotLost || st.SnapshotWanted {
			t.Fatalf("before anybody needs it: %+v", st)
		}
		s.refuse(beat, 1)
		if calls := s.takeCalls(); len(calls) != 0 || !s.Status().SnapshotWanted {
			t.Fatalf("it sent %v; a snapshot is wanted: %v", calls, s.Status().SnapshotWanted)
		}
		s.giveBack(s.to("2", s.ticks(2)), nil)
		s.refuse(s.to("2", s.ticks(2)), 1)
		s.Compact(Snapshot{Index: again})
		s.run()
		req, ok := s.to("2", append(s.takeCalls(), s.ticks(2)...)).Request.(*InstallSnapshot)
		if st := s.Status(); !ok || req.Snapshot.Index != again || st.SnapshotWanted || st.SnapshotLost {
			t.Fatalf("with one at %d it sent %+v; %+v", again, req, st)
		}
	}
}
