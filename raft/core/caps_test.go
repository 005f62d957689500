package core

import "testing"

// What forget.go and acceptAppendEntries promise about memory: Config.FollowerBytes
// and Config.MaxUnappliedBytes.

func withFollowerBytes(entries int) func(*Config) {
	return func(c *Config) { c.FollowerBytes = entries * one }
}

// slowFollower is a leader that proposes, and whose follower 2 answers and confirms
// nothing; 3 confirms all. It returns the last call to 2 with entries.
func (s *subject) slowFollower(commands int) (unconfirmed Call) {
	for range commands {
		for _, call := range s.propose("x") {
			if call.To == "3" {
				s.accept(call)
			} else if len(call.Request.(*AppendEntries).Entries) > 0 {
				unconfirmed = call
			}
		}
	}
	return unconfirmed
}

// Goal: what a slow follower lacks stays in memory up to FollowerBytes, and no
// more: it gets a snapshot then. Method: a follower that answers and confirms
// nothing, with a cap of twenty entries; then it says where its log ends.
func TestFollowerBytes_BoundWhatASlowFollowerCosts(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withTrailing(2), withFollowerBytes(20), func(c *Config) { c.Window = 1 })
	for _, call := range s.lead() {
		s.accept(call)
	}
	first := s.slowFollower(18)
	if s.log.base.Index != 0 {
		t.Fatalf("within the cap the log starts behind %d", s.log.base.Index)
	}
	s.slowFollower(200)
	if n := len(s.log.entries); n > 24 {
		t.Fatalf("memory holds %d entries for a follower that may cost 20", n)
	}
	s.refuse(first, 1)
	if !s.Status().SnapshotWanted {
		t.Fatal("no snapshot is wanted for the follower that lacks what memory has forgotten")
	}
	s.Compact(Snapshot{Index: s.lastApplied})
	s.run()
	if req, ok := s.to("2", s.takeCalls()).Request.(*InstallSnapshot); !ok || req.Snapshot.Index != s.lastApplied {
		t.Fatalf("it sent %+v", req)
	}
}

// Goal: the cap never hits what follows a snapshot that is under way or about to
// leave, nor what the follower still has to catch up on then; else it would get
// snapshots for ever. Once it had its chance, the cap counts again.
// Method: a cap of three entries; thirty commands while a snapshot at 6 is under
// way; its answer; a few more, and then too many.
func TestFollowerBytes_DoNotHitWhatFollowsASnapshot(t *testing.T) {
	defer failOnPanic(t)
	s, beat := leaderWithTail(t)
	s.config.FollowerBytes = 3 * one
	s.Compact(Snapshot{Index: 6})
	s.refuse(beat, 1)
	sent := s.to("2", s.takeCalls())
	s.slowFollower(30)
	if s.log.base.Index != 6 {
		t.Fatalf("with a snapshot at 6 under way the log starts behind %d", s.log.base.Index)
	}
	s.takeCalls()
	s.giveBack(sent, &InstallSnapshotReply{Term: s.currentTerm})
	if req := s.entriesTo("2", s.takeCalls()); req.PrevLogIndex != 6 || len(req.Entries) != 30 {
		t.Fatalf("then %d entries behind %d", len(req.Entries), req.PrevLogIndex)
	}
	s.slowFollower(3)
	if s.log.base.Index != 6 {
		t.Fatalf("while it catches up the log starts behind %d", s.log.base.Index)
	}
	s.slowFollower(10)
	if n := len(s.log.entries); n > 8 {
		t.Fatalf("for a follower that does not catch up memory holds %d entries", n)
	}
}

// Goal: a follower whose state machine stands still confirms no more than
// MaxUnappliedBytes of what is committed, and all of it when that is applied; it
// denies nothing meanwhile, and knows its leader. Method: a cap of four entries;
// entries one by one, each committed with the next, and heartbeats between them.
func TestUnapplied_AFollowerConfirmsNoMoreThanItsStoreCanTake(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.MaxUnappliedBytes = 4 * one })
	s.idle = &Batch{}
	send := func(index uint64, entries []Entry) AppendEntriesReply {
		prev := uint64(0)
		if index > 1 {
			prev = 1
		}
		return s.append(AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: index - 1, PrevLogTerm: prev, Entries: entries, LeaderCommit: index - 1})
	}
	for index := uint64(1); index <= 8; index++ {
		for _, send := range []func() AppendEntriesReply{
			func() AppendEntriesReply { return send(index, entriesOf(index, 1)) },
			func() AppendEntriesReply { return send(index+1, nil) },
		} {
			reply := send()
			waits := reply.Pending && !reply.Success && reply.ConflictIndex == 0
			if waits != (reply.Commit > 4) || !waits && !reply.Success { // five are one too many
				t.Fatalf("entry %d, committed %d: %+v", index, s.commitIndex, reply)
			}
		}
		if s.durable != index || s.leader != "2" {
			t.Fatalf("entry %d: durable %d, leader %q", index, s.durable, s.leader)
		}
	}
	last := s.idle.Last() // the state machine goes on
	s.idle = nil
	s.Applied(last)
	s.run()
	if reply := send(9, nil); !reply.Success || s.lastApplied != 8 {
		t.Fatalf("after %d of 8 are applied: %+v", s.lastApplied, reply)
	}
}

// Goal: a leader sends a follower that confirms nothing no more than its window,
// asks with each heartbeat, and goes on when it confirms. Method: every message with
// entries is answered as pending; then a heartbeat is confirmed.
func TestUnapplied_TheLeaderStopsAtItsWindow(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.Window = 3 })
	for _, call := range s.lead() {
		s.accept(call)
	}
	pending := func(call Call) { s.giveBack(call, &AppendEntriesReply{Term: s.currentTerm, Pending: true}) }
	sent := 0
	for range 10 {
		for _, call := range s.propose("x") {
			if call.To == "3" {
				s.accept(call)
			} else {
				sent++
				pending(call)
			}
		}
	}
	if sent != 3 {
		t.Fatalf("%d messages were sent into a window of 3", sent)
	}
	beat := s.to("2", s.ticks(2))
	if req := beat.Request.(*AppendEntries); len(req.Entries) != 0 || req.PrevLogIndex != 3 {
		t.Fatalf("the heartbeat is %+v", req)
	}
	pending(beat)
	if calls := s.takeCalls(); len(calls) != 0 {
		t.Fatalf("after a heartbeat that confirms nothing it sent %v", calls)
	}
	s.accept(s.to("2", s.ticks(2)))
	if req := s.entriesTo("2", s.takeCalls()); req.PrevLogIndex != 3 || len(req.Entries) != 7 {
		t.Fatalf("after the confirmation it sent %d entries behind %d", len(req.Entries), req.PrevLogIndex)
	}
}
