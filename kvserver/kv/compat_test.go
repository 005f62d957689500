package kv

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"raftkv/tests/compat/golden"
)

// formats is the table of this package's formats that were ever released.
var formats = []golden.Format{
	{Release: "v0.1.0", Name: "commands", Write: writeCommands, Read: readCommands},
	{Release: "v0.1.0", Name: "command-log", Write: writeGoldenLog, Read: readGoldenLog},
	{Release: "v0.1.0", Name: "kv-snapshot", Write: writePayload, Read: readPayload},
}

// Goal: commands and snapshots that an earlier release wrote are read by this one,
// and mean the same. Method: see golden.Check. The table of commands has every
// operation, flag and condition.
func TestWhatEarlierReleasesWroteIsRead(t *testing.T) { golden.Check(t, formats) }

// releasedCommands has every operation, flag and condition of version 1.
func releasedCommands() map[string]Command {
	k, v := []byte("key"), []byte("value")
	return map[string]Command{
		"open-session":     {Op: OpOpenSession, ID: RequestID{Origin: 1 << 63, Number: 300}, Time: 1234},
		"put":              {Op: OpPut, Key: k, Value: v},
		"put-empty":        {Op: OpPut, Key: []byte{0, 0xff}, Value: []byte{}},
		"append":           {Op: OpAppend, Key: k, Value: v, MaxLength: 1 << 20, Quota: 1 << 30},
		"delete":           {Op: OpDelete, Key: k, Value: []byte{}, IdempotencyKey: "order 17"},
		"get":              {Op: OpGet, Key: k, Value: []byte{}, Session: SessionCall{ID: 70, Seq: 2}},
		"put-if-version":   {Op: OpPut, Key: k, Value: v, Condition: Condition{IfVersion, 129}},
		"put-if-version-0": {Op: OpPut, Key: k, Value: v, Condition: Condition{IfVersion, 0}},
		"put-if-revision":  {Op: OpPut, Key: k, Value: v, Condition: Condition{IfRevision, 1 << 40}},
		"put-if-present":   {Op: OpPut, Key: k, Value: v, Condition: Condition{Kind: IfPresent}},
		"put-if-absent":    {Op: OpPut, Key: k, Value: v, Condition: Condition{Kind: IfAbsent}},
		"append-all-flags-but-condition": {
			Op: OpAppend, ID: RequestID{Origin: 7, Number: 8}, Session: SessionCall{ID: 9, Lane: 1023, Seq: 1 << 33}, Time: 10,
			MaxLength: 11, Quota: 12, Condition: Condition{IfVersion, 13}, IdempotencyKey: "key", Key: k, Value: v,
		},
		"delete-all-flags-but-version": {
			Op: OpDelete, ID: RequestID{Number: 8}, Session: SessionCall{Seq: 1}, Time: 10,
			MaxLength: 11, Quota: 12, Condition: Condition{IfRevision, 13}, IdempotencyKey: "key", Key: k, Value: []byte{},
		},
	}
}

func writeCommands(*testing.T) golden.Files {
	all := golden.Files{}
	for name, c := range releasedCommands() {
		all[name] = EncodeCommand(c)
	}
	return all
}

func readCommands(t *testing.T, f golden.Files) {
	want := releasedCommands()
	for name, b := range f {
		c, err := DecodeCommand(b)
		if err != nil || fmt.Sprintf("%+v", c) != fmt.Sprintf("%+v", want[name]) {
			t.Errorf("%s is read as %+v, %v", name, c, err)
		}
	}
}

// releasedStore has content in every section, and answers of several sorts.
func releasedStore() *Store {
	s := New()
	id := apply(s, Command{Op: OpOpenSession, ID: RequestID{Origin: 5, Number: 1}, Time: 1000}).Session
	other := apply(s, Command{Op: OpOpenSession}).Session
	for i, c := range []Command{
		{Op: OpPut, Key: []byte("a"), Value: []byte("first")},
		{Op: OpPut, Key: []byte("b"), Value: []byte{}},
		{Op: OpAppend, Key: []byte("a"), Value: []byte(" and second"), Session: SessionCall{ID: id, Lane: 3, Seq: 1 << 20}},
		{Op: OpPut, Key: []byte("gone"), Value: []byte("x"), Session: SessionCall{ID: other, Seq: 1}},
		{Op: OpDelete, Key: []byte("gone"), Session: SessionCall{ID: other, Seq: 2}},
		{Op: OpPut, Key: []byte("b"), Value: []byte("y"), Session: SessionCall{ID: other, Lane: 1, Seq: 1}, Condition: Condition{IfVersion, 9}},
		{Op: OpPut, Key: []byte{0, 0xff}, Value: bytes.Repeat([]byte{0x80}, 3), IdempotencyKey: "one"},
		{Op: OpDelete, Key: []byte("b"), IdempotencyKey: "two"},
		{Op: OpPut, Key: []byte("a"), Value: []byte("z"), IdempotencyKey: "three", Condition: Condition{Kind: IfAbsent}},
	} {
		c.ID, c.Time = RequestID{Origin: 5, Number: uint64(i) + 2}, 2000+100*uint64(i)
		apply(s, c)
	}
	return s
}

// described puts all that a store holds into words, from its fields.
func described(s *Store) []string {
	says := []string{fmt.Sprintf("applied %d, revision %d, log time %d, stamp %v, %d bytes, digest %s", s.applied, s.revision, s.logTime, s.stamped, s.Bytes(), s.Digest())}
	line := func(format string, args ...any) { says = append(says, fmt.Sprintf(format, args...)) }
	s.items.scan(func(key string, i Item) bool {
		line("item %q = %q, revision %d, version %d", key, i.Value, i.Revision, i.Version)
		return true
	})
	s.sessions.Scan(func(id uint64, is session) bool {
		line("session %d, last used at %d", id, is.lastUsed)
		return true
	})
	s.lanes.Scan(func(l lane) bool {
		line("lane {session:%d number:%d status:%d created:%v deleted:%v seq:%d revision:%d version:%d length:%d}",
			l.session, l.number, uint8(l.status), l.created, l.deleted, l.seq, l.revision, l.version, l.length)
		return true
	})
	s.records.scan(func(r *record) bool {
		line("record %s %s at %d: %s, revision %d, version %d, length %d, created %t, deleted %t", hex.EncodeToString(r.id[:]), hex.EncodeToString(r.fingerprint[:]),
			r.time, r.status, r.revision, r.version, r.length, r.created, r.deleted)
		return true
	})
	return says
}

func writePayload(t *testing.T) golden.Files {
	return golden.Files{"kv-snapshot": payload(t, releasedStore())}
}

func payload(t *testing.T, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readPayload(t *testing.T, f golden.Files) {
	s, err := Restore(bytes.NewReader(f["kv-snapshot"]))
	if err != nil {
		t.Fatal(err)
	}
	if got := described(s); !slices.Equal(got, releasedState) {
		t.Errorf("it is read as\n%q", got)
	}
	if !bytes.Equal(payload(t, s), f["kv-snapshot"]) {
		t.Error("what was read is written as other bytes")
	}
}

// releasedState is the content of the release's snapshot. The digest is the
// release's, too: servers of different builds compare theirs.
var releasedState = []string{
	`applied 11, revision 7, log time 1800, stamp {5 2800}, 22 bytes, digest 1aa1b5bf410efd7f`,
	`item "\x00\xff" = "\x80\x80\x80", revision 6, version 1`,
	`item "a" = "first and second", revision 3, version 2`,
	`session 1, last used at 5`,
	`session 2, last used at 8`,
	`lane {session:1 number:3 status:0 created:false deleted:false seq:1048576 revision:3 version:2 length:16}`,
	`lane {session:2 number:0 status:0 created:false deleted:true seq:2 revision:5 version:0 length:0}`,
	`lane {session:2 number:1 status:8 created:false deleted:false seq:1 revision:2 version:1 length:0}`,
	`record 7692c3ad3540bb803c020b3aee66cd88 71e82e346694b06e00da45d924aac5de at 1600: ok, revision 6, version 1, length 3, created true, deleted false`,
	`record 3fc4ccfe745870e2c0d99f71f30ff065 21b7002afc962ae6e265c2c2ff7958e5 at 1700: ok, revision 7, version 0, length 0, created false, deleted true`,
	`record 8b5b9db0c13db24256c829aa364aa90c f499776b44ea308402055f2eae07954b at 1800: condition failed, revision 3, version 2, length 0, created false, deleted false`,
}
