package core

import (
	"errors"
	"testing"
)

// Limits and windows: what a leader takes, sends at once and leaves under way.

// one is what a command of one byte counts for.
const one = entryOverhead + 1

// Goal: a leader holds no more uncommitted work than it may, takes work again
// when some is committed, and what it counts comes back to nothing (etcd-io/raft
// a370b6f: a leak refused every proposal in the end).
// Method: a limit of four entries, a follower that acknowledges one at a time,
// many rounds, and a leadership lost in between.
func TestUncommittedWork_IsBoundedAndTheCountComesBack(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.MaxUncommittedBytes = 4 * one })
	for round := range 20 {
		for _, call := range s.lead() {
			s.accept(call)
		}
		s.takeCalls()
		for range 4 {
			if _, _, err := s.Propose([]byte("x")); err != nil {
				t.Fatalf("round %d: refused with %d bytes uncommitted: %v", round, s.uncommittedBytes, err)
			}
		}
		if _, _, err := s.Propose([]byte("x")); !errors.Is(err, ErrOverloaded) {
			t.Fatalf("round %d: a fifth entry: %v", round, err)
		}
		last := s.log.lastIndex()
		s.run()
		if round%3 == 2 { // lose them
			s.append(AppendEntries{Term: s.currentTerm + 1, LeaderID: "2", PrevLogIndex: s.commitIndex, PrevLogTerm: s.log.entries[s.commitIndex-1].Term,
				Entries: entriesOf(s.commitIndex+1, s.currentTerm+1), LeaderCommit: s.commitIndex + 1})
			continue
		}
		s.accept(s.takeCalls()[0])
		if s.commitIndex != last || s.uncommittedBytes != 0 {
			t.Fatalf("round %d: committed %d of %d, %d bytes counted as uncommitted", round, s.commitIndex, last, s.uncommittedBytes)
		}
		s.append(AppendEntries{Term: s.currentTerm + 1, LeaderID: "2"})
	}
}

// Goal: the first entry of a term is taken however much earlier leaders left
// uncommitted: only together with it can that ever be committed (§5.4.2).
// Method: five entries of an earlier term against a limit of one; the new
// leader's first command commits them all.
func TestFirstEntryOfATermIsTakenWhateverTheLimit(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1, 1, 1, 1, 1), func(c *Config) { c.MaxUncommittedBytes = one })
	s.accept(s.lead()[0])
	s.takeCalls()
	if _, _, err := s.Propose([]byte("x")); err != nil {
		t.Fatalf("the first command of the term was refused: %v", err)
	}
	if _, _, err := s.Propose([]byte("y")); !errors.Is(err, ErrOverloaded) {
		t.Fatalf("the second: %v", err)
	}
	s.run()
	s.accept(s.takeCalls()[0])
	if s.commitIndex != 6 {
		t.Fatalf("committed %d, want 6", s.commitIndex)
	}
}

// Goal: a refused proposal leaves nothing behind, and one that is larger than
// the limit of uncommitted work is taken when nothing else waits.
// Method: commands around both limits.
func TestPropose_RefusalsLeaveNothingBehind(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.MaxEntryBytes, c.MaxUncommittedBytes = 100, 50 })
	for _, call := range s.lead() {
		s.accept(call)
	}
	s.propose("x")
	s.accept(s.to("2", s.ticks(2)))
	if s.commitIndex != 1 {
		t.Fatalf("committed %d, want 1", s.commitIndex)
	}
	if _, _, err := s.Propose(make([]byte, 101)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("101 bytes: %v", err)
	}
	s.wantLog(1)
	if _, _, err := s.Propose(make([]byte, 100)); err != nil {
		t.Fatalf("100 bytes with nothing waiting: %v", err)
	}
	if _, _, err := s.Propose(nil); !errors.Is(err, ErrOverloaded) {
		t.Fatalf("an empty one behind it: %v", err)
	}
	s.wantLog(1, 1)
}

// Goal: one AppendEntries carries no more than MaxAppendBytes, but one entry
// whatever its size; a pipelined follower gets the rest in further ones.
// Method: ten entries, a limit of three, one of them too large.
func TestMaxAppendBytes_SplitsWhatIsSent(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.MaxAppendBytes = 3 * one })
	for _, call := range s.lead() {
		s.accept(call)
	}
	for i := range 10 {
		data := []byte("x")
		if i == 5 {
			data = make([]byte, 500)
		}
		if _, _, err := s.Propose(data); err != nil {
			t.Fatal(err)
		}
	}
	s.run()
	var sizes []int
	next := uint64(1)
	for _, call := range s.takeCalls() {
		if req := call.Request.(*AppendEntries); call.To == "2" {
			if req.PrevLogIndex+1 != next {
				t.Fatalf("a message behind %d, want %d", req.PrevLogIndex, next-1)
			}
			next += uint64(len(req.Entries))
			sizes = append(sizes, len(req.Entries))
		}
	}
	want := []int{3, 2, 1, 3, 1}
	if len(sizes) != len(want) {
		t.Fatalf("messages of %v entries, want %v", sizes, want)
	}
	for i := range want {
		if sizes[i] != want[i] {
			t.Fatalf("messages of %v entries, want %v", sizes, want)
		}
	}
}

// Goal: no more AppendEntries and bytes are under way than the windows allow;
// answers open them again, and what waited leaves together (etcd-io/raft e419ba5).
// Method: a window of two messages, then one of the bytes of two entries.
func TestWindow_BoundsWhatIsUnderWay(t *testing.T) {
	defer failOnPanic(t)
	for name, change := range map[string]func(*Config){
		"messages": func(c *Config) { c.Window = 2 },
		"bytes":    func(c *Config) { c.WindowBytes = 2 * one },
	} {
		s := newSubject(t, change)
		for _, call := range s.lead() {
			s.accept(call)
		}
		var underWay []Call
		for range 5 {
			for _, call := range s.propose("x") {
				if call.To == "2" {
					underWay = append(underWay, call)
				}
			}
		}
		if p := s.Status().Peers[0]; len(underWay) != 2 || p.Inflight != 2 {
			t.Fatalf("%s: %d messages are under way, counted as %d, want 2", name, len(underWay), p.Inflight)
		}
		s.accept(underWay[0])
		rest := s.entriesTo("2", s.takeCalls())
		if rest.PrevLogIndex != 2 || len(rest.Entries) != 3 {
			t.Fatalf("%s: then %d entries behind %d, want 3 behind 2", name, len(rest.Entries), rest.PrevLogIndex)
		}
		s.accept(underWay[1])
		if p := s.Status().Peers[0]; p.Inflight != 1 || p.MatchIndex != 2 {
			t.Fatalf("%s: then %+v", name, p)
		}
	}
}

// Goal: a probed follower gets one message with entries at a time, a silent one
// gets heartbeats only, until it answers.
// Method: a first probe is lost; commands and heartbeats follow.
func TestSilentFollower_GetsHeartbeatsOnly(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	s.giveBack(s.to("2", s.lead()), nil)
	for range 3 {
		for _, call := range s.propose("x") {
			if call.To == "2" {
				t.Fatalf("sent to a silent follower: %+v", call.Request)
			}
		}
		if req := s.entriesTo("2", s.ticks(2)); len(req.Entries) != 0 {
			t.Fatalf("the heartbeat carries %d entries", len(req.Entries))
		}
	}
	s.accept(s.to("2", s.ticks(2)))
	if req := s.entriesTo("2", s.takeCalls()); len(req.Entries) != 3 {
		t.Fatalf("after its answer it got %d entries, want 3", len(req.Entries))
	}
}
