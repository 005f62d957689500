package flight

import (
	"log/slog"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/recorder"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/raft/wire"
	"raftkv/tests/virtual"
)

// open begins the recording of a boot of n1 on a disk.
func open(t *testing.T, disk vfs.FS, boot uint64) *Recording {
	return Open(Config{
		FS: disk, DataDir: "/data", Node: "n1", Members: []core.ID{"n3", "n1", "n2"}, Boot: boot, Tick: 10 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
}

// events returns all events of a recording.
func events(r *Recording) (all []recorder.Event) {
	for _, ring := range r.recorder.After(0, recorder.Capacity) {
		all = append(all, ring.Events...)
	}
	return all
}

// Goal: everything that consensus and the transport may note has a kind and a reason of
// the recorder's, and no two of them share one.
func TestEveryNoteHasAnEvent(t *testing.T) {
	kinds, whys := map[recorder.Kind]bool{}, map[recorder.Why]bool{}
	for k := core.NoteTimeout; k <= core.NoteRejoined; k++ {
		kinds[coreKinds[k]] = true
	}
	for k := wire.NoteConnected; k <= wire.NoteRejected; k++ {
		kinds[wireKinds[k]] = true
	}
	for w := core.WhyNone; w <= core.WhyTransfer; w++ {
		whys[coreWhys[w]] = true
	}
	for w := wire.WhyClosedByPeer; w <= wire.WhyIdentity; w++ {
		whys[wireWhys[w]] = true
	}
	if n := int(core.NoteRejoined) + int(wire.NoteRejected); len(kinds) != n || kinds[0] {
		t.Errorf("%d kinds of notes have %d kinds of events", n, len(kinds))
	}
	if n := int(core.WhyTransfer) + 1 + int(wire.WhyIdentity); len(whys) != n {
		t.Errorf("%d reasons of notes have %d reasons of events", n, len(whys))
	}
	if len(coreKinds) != int(core.NoteRejoined) || len(wireWhys) != int(wire.WhyIdentity)+1 {
		t.Errorf("the tables have %d and %d rows", len(coreKinds), len(wireWhys))
	}
}

// Goal: a note keeps its numbers, ages are nanoseconds, and nodes are the positions of
// their names.
func TestNotesBecomeEvents(t *testing.T) {
	r := open(t, vfs.NewCrashable(), 3)
	r.Noted([]core.Note{
		{Kind: core.NoteVoteRefused, Why: core.WhyLogBehind, Peer: "n3", Term: 9, Index: 812, A: 990, B: 7},
		{Kind: core.NoteTimeout, Peer: "n2", Term: 8, A: 45},
		{Kind: core.NoteSteppedDown, Why: core.WhyLostMajority, Term: 8, A: 30},
		{Kind: core.NoteSteppedDown, Why: core.WhyNewerTerm, Term: 8, A: 9},
		{Kind: core.NoteFirstCommit, Term: 9, Index: 991},
	}, 46*time.Millisecond)
	r.Connection(wire.Note{Kind: wire.NoteEnded, Why: wire.WhyReset, Peer: "n2", Inbound: true})
	r.Connection(wire.Note{Kind: wire.NoteRejected, Why: wire.WhyDirectory})
	want := []recorder.Event{
		{Kind: recorder.VoteRefused, Why: recorder.LogBehind, Peer: 3, Term: 9, Index: 812, A: 990, B: 7},
		{Kind: recorder.Timeout, Peer: 2, Term: 8, A: int64(450 * time.Millisecond)},
		{Kind: recorder.SteppedDown, Why: recorder.LostMajority, Term: 8, A: int64(300 * time.Millisecond)},
		{Kind: recorder.SteppedDown, Why: recorder.NewerTerm, Term: 8, A: 9},
		{Kind: recorder.FirstCommit, Term: 9, Index: 991, A: int64(46 * time.Millisecond)},
		{Kind: recorder.Ended, Why: recorder.Reset, Peer: 2, B: 1},
		{Kind: recorder.Rejected, Why: recorder.WrongData},
	}
	got := events(r)
	for i := range got {
		got[i].Seq, got[i].Mono, got[i].Wall, got[i].Group = 0, 0, 0, 0
	}
	if !slices.Equal(got, want) {
		t.Errorf("the events are %+v", got)
	}
}

// Goal: an outage of hours leaves room for what came before it: of the waits for a leader the
// first are recorded, then one in a minute with their number; a wait in a new term, and the
// next outage, are recorded again.
// Method: three hours without a leader in virtual time, a wait every 400 ms.
func TestALongOutageKeepsItsCause(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		r := open(t, vfs.NewCrashable(), 1)
		waits := func(term uint64, lasts time.Duration) {
			for begun := time.Now(); time.Since(begun) < lasts; {
				time.Sleep(400 * time.Millisecond)
				r.Noted([]core.Note{{Kind: core.NoteTimeout, Term: term, A: 40}, {Kind: core.NotePreVote, Term: term + 1}}, 0)
			}
		}
		r.Noted([]core.Note{{Kind: core.NoteFollowed, Peer: "n2", Term: 1}}, 0)
		waits(1, 3*time.Hour)
		stood := 0
		for _, e := range events(r) {
			if e.Kind == recorder.Timeout {
				stood += max(int(e.Count), 1)
			}
		}
		if n := len(events(r)); n > 2*(firstWaits+181)+1 || stood < 26_000 {
			t.Errorf("three hours without a leader leave %d events, which stand for %d waits", n, stood)
		}
		before := len(events(r))
		waits(2, time.Second)
		r.Noted([]core.Note{{Kind: core.NoteFollowed, Peer: "n2", Term: 3}}, 0)
		waits(3, time.Second)
		if n := len(events(r)) - before; n < 2+1+2*3 {
			t.Errorf("of a new term and a new outage %d events are recorded", n)
		}
	})
}

// Goal: a write is slow if it takes eight times as long as is usual on this disk, so
// that one rule fits quick and slow ones; a slowness that lasts becomes usual in minutes
// and not at once.
func TestSlowIsAgainstTheUsual(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		for _, common := range []time.Duration{200 * time.Microsecond, 30 * time.Millisecond} {
			r := open(t, vfs.NewCrashable(), 1)
			save := func(took time.Duration, n int) {
				for range n {
					time.Sleep(10 * time.Millisecond)
					r.Saved(&core.Write{}, took)
				}
			}
			save(common, 2000)
			save(3*common, 20)
			if got := events(r); len(got) != 0 && got[len(got)-1].B != 0 {
				t.Fatalf("where %v is usual, three times as long is recorded: %+v", common, got)
			}
			before := len(events(r))
			save(12*common, 500)
			time.Sleep(2 * time.Second)
			seen := false
			for _, e := range events(r)[before:] {
				usual := time.Duration(e.B)
				if e.Kind != recorder.SlowSave || time.Duration(e.A) != 12*common || usual > 2*common || usual < common/2 {
					t.Fatalf("where %v is usual, %+v is recorded", common, e)
				}
				seen = true
			}
			if want := 12*common >= slowSave; seen != want {
				t.Errorf("where %v is usual, 12 times as long is recorded: %v", common, seen)
			}
		}
	})
}

// Goal: what nobody notes is looked at: refused requests of a second, a state that is
// wrong, a follower that lags, a jump of the wall clock, and a word a minute about the
// rest. Looks of which nothing is new record nothing.
func TestLooksRecordWhatIsNew(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		r := open(t, vfs.NewCrashable(), 1)
		status := &raft.Status{}
		status.Role, status.Term, status.CommitIndex, status.LastIndex, status.SnapshotIndex = core.Leader, 4, 100, 10_000, 10
		f := Figures{Status: status, Served: 1234.4}
		look := func() []recorder.Event {
			before := len(events(r))
			time.Sleep(time.Second)
			r.look(time.Now(), func() (Figures, bool) { return f, true })
			return events(r)[before:]
		}
		if got := look(); len(got) != 0 {
			t.Errorf("at first, %+v is recorded", got)
		}
		observer := r.Refusals(quiet{})
		for range 7 {
			observer.Refused(failure.Crowded(time.Second, "too many writes"))
			observer.Refused(failure.Of(failure.Overloaded, nil, "one viewer too many"))
			observer.Refused(failure.Of(failure.KeyNotFound, nil, "no such key"))
		}
		if got := look(); len(got) != 1 || got[0].Kind != recorder.Refused || got[0].A != 7 || got[0].B != 1234 {
			t.Errorf("after seven refusals, %+v is recorded", got)
		}
		f.Quarantined, status.SnapshotIndex, f.Snapshot = true, 90, 555
		status.Peers = []core.PeerStatus{{ID: "n2", MatchIndex: 9_999}, {ID: "n3", MatchIndex: 1000}, {ID: "n4"}} // n4 has not answered this leader
		var kinds []recorder.Kind
		for _, e := range look() {
			kinds = append(kinds, e.Kind)
		}
		if !slices.Equal(kinds, []recorder.Kind{recorder.Quarantined, recorder.SnapshotMade, recorder.Lags}) {
			t.Errorf("then, %v are recorded", kinds)
		}
		if got := look(); len(got) != 0 {
			t.Errorf("of what is not new, %+v is recorded", got)
		}
		r.watch.skew -= time.Hour
		if got := look(); len(got) != 1 || got[0].Kind != recorder.ClockJumped || time.Duration(got[0].A).Round(time.Minute) != time.Hour {
			t.Errorf("after a jump of an hour, %+v is recorded", got)
		}
		r.Committed(time.Millisecond)
		time.Sleep(time.Minute)
		got := look()
		minute := got[len(got)-1]
		if minute.Kind != recorder.Minute || minute.Index != 100 || minute.A != int64(time.Millisecond) {
			t.Errorf("after a minute, %+v is recorded", got)
		}
	})
}

// quiet is an observer of the service that does nothing.
type quiet struct{ kvserver.Observer }

func (quiet) Refused(error) {}

// Goal: a boot knows whether the one before ended in order, what it recorded, and which
// events are whose; a removed directory costs events only.
func TestABootKnowsTheOneBefore(t *testing.T) {
	disk := vfs.NewCrashable()
	none := func() (Figures, bool) { return Figures{}, false }
	first := open(t, disk, 1)
	first.Started(&core.State{Term: 3}, 0, false)
	first.flight.Write(first.recorder)
	disk = disk.Kill() // and nothing is closed
	second := open(t, disk, 2)
	second.Started(&core.State{Term: 3}, 17, true)
	second.Watch(none)
	second.Record(recorder.EndedInOrder, recorder.None)
	second.Close()
	second.Close()
	third := open(t, disk, 3)
	third.Started(&core.State{Term: 4}, 0, false)
	var kinds []recorder.Kind
	var orderly []int64
	for _, e := range events(third) {
		kinds = append(kinds, e.Kind)
		if e.Kind == recorder.Started {
			orderly = append(orderly, e.A)
		}
	}
	if !slices.Equal(kinds, []recorder.Kind{recorder.Started, recorder.Started, recorder.TornTail, recorder.PassedOver, recorder.EndedInOrder, recorder.Started}) || !slices.Equal(orderly, []int64{0, 0, 1}) {
		t.Errorf("the third boot knows %v; the boots before ended in order: %v", kinds, orderly)
	}
	rings, err := ReadDirectory(disk, "/data")
	if err != nil || len(rings) != 2 || rings[1].Boot != 2 || rings[1].Name(1) != "n1" {
		t.Errorf("the files hold %+v, %v", rings, err)
	}
	if rings, err := ReadDirectory(disk, "/elsewhere"); err != nil || len(rings) != 0 {
		t.Errorf("another directory holds %+v, %v", rings, err)
	}
}

// Goal: a process that was stopped by a signal and goes on records that.
func TestAStoppedProcessSaysSo(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		r := open(t, vfs.NewCrashable(), 1)
		continued := make(chan os.Signal, 1)
		forgotten := false
		go r.noteContinued(continued, func() { forgotten = true })
		continued <- os.Interrupt
		synctest.Wait()
		if got := events(r); len(got) != 1 || got[0].Kind != recorder.Continued {
			t.Errorf("%+v is recorded", got)
		}
		r.Close()
		synctest.Wait()
		if !forgotten {
			t.Error("a recording that ended listens for signals")
		}
	})
}
