package core

import (
	"errors"
	"fmt"
	"testing"
)

// underWay returns the write that is with the disk, nil if there is none.
func (s *subject) underWay() *Write {
	if len(s.writes) == 0 || s.writes[len(s.writes)-1].Seq == s.saved {
		return nil
	}
	return &s.writes[len(s.writes)-1]
}

// Goal: one write holds a bounded part of what gathered, in order, and an answer to
// entries leaves with the write that holds the last of them. Method: a follower
// whose disk is busy gets five entries of 3 MiB in one message and a sixth in the
// next, and saves write after write.
func TestWrite_IsBoundedAndAnswersWaitForTheirs(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	s.receive("2", &AppendEntries{Term: 1, LeaderID: "2"})
	s.slowDisk = true
	s.receive("2", &RequestVote{Term: 2, CandidateID: "3"}) // a write is under way
	var large []Entry
	for i := range 6 {
		large = append(large, NewEntry(uint64(i+1), 3, KindCommand, make([]byte, 3<<20)))
	}
	five := s.receive("2", &AppendEntries{Term: 3, LeaderID: "2", Entries: large[:5]})
	six := s.receive("2", &AppendEntries{Term: 3, LeaderID: "2", PrevLogIndex: 5, PrevLogTerm: 3, Entries: large[5:]})
	s.save()
	for _, want := range []struct {
		last      uint64
		five, six bool
	}{{2, false, false}, {4, false, false}, {6, true, true}} {
		if w := s.underWay(); w == nil || w.Term != 3 || w.Entries[len(w.Entries)-1].Index != want.last {
			t.Fatalf("the write under way does not end at %d", want.last)
		}
		s.save()
		if s.durable != want.last || (s.answers[five] != nil) != want.five || (s.answers[six] != nil) != want.six {
			t.Fatalf("durable %d, answers %v and %v; want %+v", s.durable, s.answers[five], s.answers[six], want)
		}
	}
	if s.underWay() != nil {
		t.Fatal("there is one more write")
	}
}

// Goal: an answer that waits for the second of two writes never leaves if its
// entries are replaced before that; what is sent is true of the disk. Method: as
// above, and the leader of a later term replaces the entries when the first write
// is saved.
func TestWrite_AReplacedTailIsNotConfirmedByItsSuccessor(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	s.receive("2", &AppendEntries{Term: 1, LeaderID: "2"})
	s.slowDisk = true
	var large []Entry
	for i := range 4 {
		large = append(large, NewEntry(uint64(i+1), 1, KindCommand, make([]byte, 3<<20)))
	}
	old := s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", Entries: large})
	fresh := s.receive("3", &AppendEntries{Term: 2, LeaderID: "3", PrevLogIndex: 2, PrevLogTerm: 1, Entries: []Entry{
		NewEntry(3, 2, KindCommand, make([]byte, 3<<20)), NewEntry(4, 2, KindCommand, make([]byte, 3<<20)),
	}})
	if s.save(); s.answers[old] != nil || s.answers[fresh] != nil || s.underWay().Term != 2 {
		t.Fatalf("after the first write: %v, %v", s.answers[old], s.answers[fresh])
	}
	if s.save(); s.answers[fresh] == nil || s.durable != 4 {
		t.Fatalf("after the second: %v, durable %d", s.answers[fresh], s.durable)
	}
}

// Goal: a leader takes no more than it may hold, also where its followers' disks
// are quick and only its own is behind. Method: a leader with a disk that does not
// end and followers that confirm at once; then the disk ends.
func TestPropose_CountsWhatIsNotOnTheOwnDisk(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.MaxUncommittedBytes = 100 << 10 })
	both := func(calls []Call) {
		s.accept(s.to("2", calls))
		s.accept(s.to("3", calls))
	}
	both(s.lead())
	s.slowDisk = true
	taken := 0
	for ; taken < 200; taken++ {
		_, _, err := s.Propose(make([]byte, 1<<10))
		if errors.Is(err, ErrOverloaded) {
			break
		}
		s.run()
		both(s.takeCalls())
	}
	if taken < 90 || taken > 100 || s.commitIndex != uint64(taken) {
		t.Fatalf("%d proposals were taken, %d committed", taken, s.commitIndex)
	}
	s.save()
	s.save()
	if _, _, err := s.Propose(nil); err != nil {
		t.Fatalf("all is saved: %v", err)
	}
}

// Goal: what is written faster than a disk takes it does not pile up until the disk
// counts as hanging. Method: 48 commands of a MiB are under way at any time, on
// disks with a rate; a minute.
func TestWrite_ALimitedRateDeposesNobody(t *testing.T) {
	for _, rate := range []int64{30, 60, 100, 400} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			w := newTimed(t, 3, 5)
			for _, s := range w.servers {
				s.sync = func(write *Write) int64 {
					bytes := int64(0)
					for _, e := range write.Entries {
						bytes += int64(e.size())
					}
					return 1 + bytes*1000/(rate<<20)
				}
			}
			value := make([]byte, 1<<20-64)
			w.every(5, 5, func() {
				l := w.leader()
				if l == nil {
					return
				}
				for l.log.lastIndex() < l.lastApplied+48 {
					if _, _, err := l.Propose(value); err != nil {
						break
					}
				}
				l.turn()
			})
			w.run(20_000)
			if c := w.counts(); c.StalledDisk+c.LostQuorum > 0 || c.Campaigns > 2 {
				t.Errorf("%+v", c)
			}
			done, largest := w.leader().commitIndex, 0
			for _, s := range w.servers {
				largest = max(largest, s.largest)
			}
			if t.Logf("%d MiB in 20 s, largest write %d bytes", done, largest); largest > 8<<20 || done < uint64(rate)*20*3/4 && rate < 400 {
				t.Error("too large a write, or too slow")
			}
		})
	}
}
