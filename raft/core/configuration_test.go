package core

import (
	"testing"

	"raftkv/raft/members"
)

// Goal: what is kept of a server is found by its ID, whatever the order in which
// servers were named, and a stranger has nothing.
// Method: IDs of different lengths, given unsorted; every one is looked up.
func TestMembers_AreFoundByTheirID(t *testing.T) {
	s := newSubject(t, func(c *Config) { c.ID, c.Peers = "n10", []ID{"n2", "n10", "n1", "x", "n3"} })
	for i, id := range []ID{"n1", "n10", "n2", "n3", "x"} {
		if row := s.member(id); row == nil || row.id != id || s.configuration.Position(id) != i || s.configuration.Places[i].ID != id {
			t.Errorf("%q is looked for at %d and found as %+v", id, i, row)
		}
	}
	for _, id := range []ID{None, "n", "n11", "y"} {
		if s.member(id) != nil {
			t.Errorf("the stranger %q is found", id)
		}
	}
	if s.self().id != "n10" {
		t.Errorf("it takes itself for %q", s.self().id)
	}
}

// Goal: a log whose configurations could decide apart stops the server, as does the
// record of another cluster: a dead server is harmless, a wrong one is not.
// Method: a follower is sent such entries behind a good record.
func TestConfigurations_ThatCannotFollowStopTheServer(t *testing.T) {
	first := members.First(testUID, 3, names(3))
	first.Stamp(2)
	other := first.Clone()
	other.Delete("3")
	stranger := first.Clone()
	stranger.UID[0]++
	unstamped := NewEntry(3, 1, KindConfiguration, []byte{1, 2, 3})
	for words, second := range map[string]Entry{
		"begins with the voters [1 2] follows a configuration of the voters [1 2 3]": recordEntry(t, 3, 1, other),
		"brings the members of the cluster 02020300":                                 recordEntry(t, 3, 1, stranger),
		"kind 2 with 3 bytes of data":                                                unstamped,
	} {
		s := newSubject(t)
		entries := []Entry{NewEntry(1, 1, KindNoop, testUID[:]), recordEntry(t, 2, 1, first)}
		if reply := s.append(AppendEntries{Term: 1, LeaderID: "2", Entries: entries}); !reply.Success {
			t.Fatalf("%+v", reply)
		}
		wantPanic(t, words, func() {
			s.append(AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: 1, Entries: []Entry{second}})
		})
	}
	if s := newSubject(t, func(c *Config) { c.Peers = nil }); s.isAlone() || s.mayStand() || memberText(s.configuration) != "nobody" {
		t.Errorf("a server that joins counts by %q", memberText(s.configuration))
	}
}

// Goal: a leader's snapshot cannot take back a configuration that is committed here.
// Method: one without any, and one with an older one than that of entry 2.
func TestConfigurations_ASnapshotTakesNoneBack(t *testing.T) {
	first := members.First(testUID, 3, names(3))
	first.Stamp(2)
	s := newSubject(t)
	entries := []Entry{NewEntry(1, 1, KindNoop, testUID[:]), recordEntry(t, 2, 1, first)}
	s.append(AppendEntries{Term: 1, LeaderID: "2", Entries: entries, LeaderCommit: 2})
	wantPanic(t, "with the configuration of entry 0, and that of entry 2 is committed", func() {
		s.receive("2", &InstallSnapshot{Term: 1, LeaderID: "2", Snapshot: Snapshot{Index: 9, Term: 1, UID: testUID}})
	})
	wantPanic(t, "the snapshot at 9 carries the configuration of entry 10", func() {
		s.receive("2", &InstallSnapshot{Term: 1, LeaderID: "2", Snapshot: Snapshot{Index: 9, Term: 1, UID: testUID, Members: members.Version{Index: 10, Record: &first}}})
	})
}
