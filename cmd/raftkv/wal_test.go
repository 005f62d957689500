package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/wal"
)

// writtenLog is the data directory of a node with a log of a few segments and
// two snapshots.
func writtenLog(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	w, _, err := wal.Open(wal.Options{Dir: filepath.Join(dir, datadir.LogDir), ClusterID: "test", NodeID: "n1", SegmentBytes: wal.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range uint64(30) {
		b := &core.Write{Seq: i + 1, Term: 3, VotedFor: "n1", From: i + 1, Entries: []core.Entry{core.NewEntry(i+1, 3, core.KindCommand, make([]byte, 1000))}}
		if i == 10 || i == 20 || i == 25 {
			b.Snapshot = &core.Snapshot{Index: i, Term: 3}
			if err := w.WriteSnapshot(*b.Snapshot, func(to io.Writer) error {
				_, err := fmt.Fprintf(to, "state at %d", i)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Save(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// inspected runs the inspection and returns its lines by type.
func inspected(t *testing.T, want int, dir string) map[string][]map[string]any {
	t.Helper()
	lines := map[string][]map[string]any{}
	for line := range strings.Lines(wantLine(t, want, "", "wal", "inspect", "--json", dir)) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines[l["type"].(string)] = append(lines[l["type"].(string)], l)
	}
	return lines
}

// Goal: the inspection shows every record and snapshot of a log and what a start
// would find, and changes nothing. Method: a log of some segments, given by its
// own directory and by the data directory; the directory compared before and
// after.
func TestALogIsInspected(t *testing.T) {
	dir := writtenLog(t)
	before := directoryContent(t, filepath.Join(dir, datadir.LogDir))
	for _, at := range []string{dir, filepath.Join(dir, datadir.LogDir)} {
		lines := inspected(t, exit.Done, at)
		if n := len(lines["segment"]); n < 2 || len(lines["seal"]) != n-1 || len(lines["snapshot-file"]) != 2 || len(lines["damage"]) != 0 {
			t.Errorf("%d segments, %d seals, %d snapshots", n, len(lines["seal"]), len(lines["snapshot-file"]))
		}
		records := lines["snapshot"]
		if last := records[len(records)-1]; fmt.Sprint(last["snapshot"]) != "map[index:25 term:3]" || last["from"] != 26.0 {
			t.Errorf("the last record of a snapshot is %v", last)
		}
		if s := lines["summary"][0]; s["last_index"] != 30.0 || s["node"] != "n1" || s["cluster"] != "test" || s["voted_for"] != "n1" || fmt.Sprint(s["snapshot"]) != "map[index:25 term:3]" {
			t.Errorf("summary %v", s)
		}
	}
	text := wantLine(t, exit.Done, "snapshot at index 25 of term 3 and entries 26 to 30", "wal", "inspect", dir)
	if !strings.Contains(text, "vote for n1, entries 30 to 30") {
		t.Errorf("it prints\n%s", text)
	}
	if after := directoryContent(t, filepath.Join(dir, datadir.LogDir)); after != before {
		t.Error("the inspection changed something")
	}
	wantLine(t, exit.Usage, "holds no log", "wal", "inspect", t.TempDir())
	wantLine(t, exit.Usage, "", "wal", "inspect")
}

// Goal: the inspection shows how far the log was known to be committed and which
// cluster it belongs to, as the batches and the start say. A uid that was replaced
// with its entry is not shown, and that of the snapshot needs no entry. Method: a
// leader's uid is overwritten by the next one's; then a snapshot takes the place of
// the entries.
func TestAnInspectionShowsCommitAndUID(t *testing.T) {
	dir := t.TempDir()
	w, _, err := wal.Open(wal.Options{Dir: filepath.Join(dir, datadir.LogDir), ClusterID: "test", NodeID: "n1", SegmentBytes: wal.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	first, second := core.UID{1}, core.UID{2}
	save := func(b *core.Write) {
		t.Helper()
		if b.Snapshot != nil {
			if err := w.WriteSnapshot(*b.Snapshot, func(io.Writer) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Save(b); err != nil {
			t.Fatal(err)
		}
	}
	says := func(batch int, commit any, uid any, summaryCommit any, summaryUID any) {
		t.Helper()
		lines := inspected(t, exit.Done, dir)
		records := append(lines["batch"], lines["snapshot"]...)
		if r := records[batch]; r["commit"] != commit || r["uid"] != uid {
			t.Errorf("batch %d: %v", batch, r)
		}
		if s := lines["summary"][0]; s["commit"] != summaryCommit || s["uid"] != summaryUID {
			t.Errorf("summary %v", s)
		}
	}
	save(&core.Write{Seq: 1, Term: 1, From: 1, Entries: []core.Entry{core.NewEntry(1, 1, core.KindNoop, first[:])}})
	says(0, nil, first.String(), nil, first.String())
	save(&core.Write{Seq: 2, Term: 2, From: 1, Entries: []core.Entry{core.NewEntry(1, 2, core.KindCommand, nil)}})
	says(1, nil, nil, nil, nil)
	save(&core.Write{Seq: 3, Term: 3, From: 1, Entries: []core.Entry{core.NewEntry(1, 3, core.KindCommand, nil), core.NewEntry(2, 3, core.KindNoop, second[:])}, Commit: 1})
	says(2, 1.0, second.String(), 1.0, second.String())
	says(0, nil, first.String(), 1.0, second.String())
	wantLine(t, exit.Done, "entries 1 to 2, committed up to 1, brings the uid "+second.String(), "wal", "inspect", dir)
	save(&core.Write{Seq: 4, Term: 3, Snapshot: &core.Snapshot{Index: 2, Term: 3, UID: second}, Commit: 2})
	says(3, 2.0, nil, 2.0, second.String())
	wantLine(t, exit.Done, "and entries 3 to 2 (none), committed up to 2, uid "+second.String(), "wal", "inspect", dir)
}

// directoryContent is all that a directory holds.
func directoryContent(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range namesIn(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %q\n", name, b)
	}
	return all.String()
}

// Goal: damage is named with file and offset, and the exit code says that there
// is some; a torn end is none. Method: a damaged snapshot, a damaged record, a
// missing segment, a torn end.
func TestDamageOfALogIsInspected(t *testing.T) {
	spoil := func(path string, at int) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err == nil {
			b[at] ^= 1
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := writtenLog(t)
	newest := inspected(t, exit.Done, dir)["snapshot-file"][1]["file"].(string)
	spoil(newest, 150)
	lines := inspected(t, exit.Failed, dir)
	if d := lines["damage"]; len(d) != 1 || d[0]["file"] != newest || d[0]["offset"] != 128.0 {
		t.Errorf("a damaged snapshot: %v", d)
	}
	if s := lines["summary"][0]; fmt.Sprint(s["snapshot"]) != "map[index:20 term:3]" || s["reason"] == nil {
		t.Errorf("summary %v", s)
	}
	wantLine(t, exit.Failed, "would pass over a damaged snapshot", "wal", "inspect", dir)

	segment := lines["segment"][0]["file"].(string)
	spoil(segment, 4096+100)
	lines = inspected(t, exit.Failed, dir)
	if d := lines["damage"]; len(d) != 2 || d[0]["file"] != segment || d[0]["offset"] != 4096.0 {
		t.Errorf("a damaged record: %v", d)
	}
	wantLine(t, exit.Failed, "would not start", "wal", "inspect", dir)
	spoil(segment, 4096+100)
	if err := os.Remove(segment); err != nil {
		t.Fatal(err)
	}
	wantLine(t, exit.Failed, "missing", "wal", "inspect", dir)

	dir = writtenLog(t)
	segments := inspected(t, exit.Done, dir)["segment"]
	last := segments[len(segments)-1]["file"].(string)
	marks := inspected(t, exit.Done, dir)["mark"]
	spoil(last, int(marks[0]["offset"].(float64)))
	if torn := inspected(t, exit.Done, dir)["torn"]; len(torn) != 1 {
		t.Errorf("a torn end: %v", torn)
	}
}
