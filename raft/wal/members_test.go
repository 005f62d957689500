package wal

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/members"
	"raftkv/raft/snapshot"
	"raftkv/raft/vfs"
)

// packedMembers returns a container that carries these bytes as its configuration.
func packedMembers(t *testing.T, s core.Snapshot, configuration string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := snapshot.NewWriter(&b, snapshot.Header{ClusterID: "c1", Index: s.Index, Term: s.Term, UID: s.UID, Configuration: configuration})
	must(t, err)
	_, err = w.Write([]byte("state"))
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

// receiveBytes receives a container.
func receiveBytes(w *WAL, s core.Snapshot, b []byte) error {
	if _, err := w.BeginReceive(s, int64(len(b)), [32]byte{}); err != nil {
		return err
	}
	if err := w.ReceiveAt(b, 0); err != nil {
		return err
	}
	return w.FinishReceive()
}

// Goal: the configuration of a snapshot's index is in its file, with the index of its
// own entry, however the file came to be, and a start gives it back; the newer one of
// the log comes with its entry.
// Method: write a snapshot with one, with a newer configuration behind it in the log;
// restart; receive a newer snapshot; restart.
func TestASnapshotKeepsTheMembers(t *testing.T) {
	disk, uid := vfs.NewCrashable(), core.UID{1, 2, 3}
	first := members.First(uid, 3, []members.ID{"n1", "n2", "n3"})
	first.Stamp(2)
	second := first.Clone()
	second.Put(members.Member{ID: "n4", Role: members.Learner})
	second.Stamp(6)
	data, err := second.Encode()
	must(t, err)
	w, _, err := Open(testOptions(disk))
	must(t, err)
	seq := uint64(0)
	appendEntries(t, w, &seq, 3, 0, 5)
	seq++
	must(t, w.Save(&core.Write{Seq: seq, Term: 3, From: 6, Entries: []core.Entry{core.NewEntry(6, 3, core.KindConfiguration, data)}}))
	taken := core.Snapshot{Index: 4, Term: 3, UID: uid, Members: members.Version{Index: 2, Record: &first}}
	must(t, w.WriteSnapshot(taken, writePayload(positionOf(taken))))
	if v, err := w.SnapshotMembers(taken); err != nil || v.Index != 2 || len(v.Record.Members) != 3 {
		t.Errorf("the file carries %+v (%v)", v, err)
	}
	must(t, w.Save(&core.Write{Seq: seq + 1, Term: 3, Snapshot: &taken, Commit: 4}))
	must(t, w.Close())
	w, state, err := Open(testOptions(disk))
	must(t, err)
	if v := state.Snapshot.Members; v.Index != 2 || v.Record == nil || len(v.Record.Members) != 3 {
		t.Fatalf("a start begins with the configuration %+v", v)
	}
	if e := state.Entries[len(state.Entries)-1]; e.Kind != core.KindConfiguration || !bytes.Equal(e.Data, data) {
		t.Errorf("the log ends with %+v", e)
	}

	installed := core.Snapshot{Index: 9, Term: 4, UID: uid}
	version := members.Version{Index: 6, Record: &second}
	packed, err := version.Encode()
	must(t, err)
	if _, err := w.SnapshotMembers(installed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a snapshot that is not here carries: %v", err)
	}
	must(t, receiveBytes(w, installed, packedMembers(t, installed, string(packed))))
	if installed.Members, err = w.SnapshotMembers(installed); err != nil || installed.Members.Index != 6 {
		t.Errorf("received with %+v (%v)", installed.Members, err)
	}
	must(t, w.Save(&core.Write{Seq: 1, Term: 4, Snapshot: &installed, From: 10, Commit: 9}))
	if v, err := w.SnapshotMembers(core.Snapshot{Index: 5, Term: 3}); err != nil || v.Index != 0 {
		t.Errorf("a snapshot that is obsolete carries %+v (%v)", v, err)
	}
	must(t, w.Close())
	_, state, err = Open(testOptions(disk))
	must(t, err)
	if v := state.Snapshot.Members; state.Snapshot.Index != 9 || v.Index != 6 || len(v.Record.Members) != 4 {
		t.Fatalf("after an installation a start begins with %+v", state.Snapshot)
	}
}

// Goal: a snapshot whose configuration cannot be, or that a newer raftkv wrote, is
// refused when it arrives; the log goes on.
// Method: one of each.
func TestASnapshotOfImpossibleMembersIsRefused(t *testing.T) {
	uid := core.UID{1}
	first := members.First(uid, 3, []members.ID{"n1"})
	first.Stamp(10)
	late, err := members.Version{Index: 10, Record: &first}.Encode()
	must(t, err)
	for words, configuration := range map[string]string{
		"the configuration of entry 10 and ends at 9": string(late),
		"has at least 8 bytes, not 3":                 "abc",
		"version of a record 2 is not known":          "\x05\x00\x00\x00\x00\x00\x00\x00\x02",
		"this is no record":                           "\x05\x00\x00\x00\x00\x00\x00\x00\x01",
	} {
		w, _, err := Open(testOptions(vfs.NewCrashable()))
		must(t, err)
		s := core.Snapshot{Index: 9, Term: 4, UID: uid}
		if err := receiveBytes(w, s, packedMembers(t, s, configuration)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v; want an error with %q", err, words)
		}
		seq := uint64(0)
		appendEntries(t, w, &seq, 3, 0, 2)
		must(t, w.Close())
	}
}
