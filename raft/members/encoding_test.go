package members

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// Goal: the encoding is the one that stands on disks, and gives back every field.
// Method: a record that uses all of them, both ways, against bytes written by hand.
func TestEncoding_IsTheOneOnDisk(t *testing.T) {
	want := full()
	b, err := want.Encode()
	if err != nil || !bytes.Equal(b, goldenBytes(t)) {
		t.Fatalf("%x\nwant %x (%v)", b, goldenBytes(t), err)
	}
	got, err := Decode(b)
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Fatalf("%+v\nwant %+v (%v)", got, want, err)
	}
	for i := range b {
		b[i] = 0xff // the record must not point into the bytes
	}
	if !reflect.DeepEqual(*got, want) {
		t.Fatal("the record changed with the bytes that it was read from")
	}
}

// Goal: every field matters: no two records that differ have one encoding.
// Method: the full record with one field changed at a time.
func TestEncoding_DiffersWithEveryField(t *testing.T) {
	seen := map[string]string{string(goldenBytes(t)): "the full record"}
	for name, change := range map[string]func(*Record){
		"uid":               func(r *Record) { r.UID[15] = 1 },
		"generation":        func(r *Record) { r.Generation++ },
		"level":             func(r *Record) { r.Level++ },
		"wanted":            func(r *Record) { r.Settings.Wanted = 3 },
		"hold":              func(r *Record) { r.Settings.Hold = false },
		"promotion":         func(r *Record) { r.Settings.Promotion = false },
		"promote after":     func(r *Record) { r.Settings.PromoteAfter++ },
		"autopilot":         func(r *Record) { r.Settings.Autopilot = false },
		"replace after":     func(r *Record) { r.Settings.ReplaceAfter++ },
		"dead after":        func(r *Record) { r.Settings.DeadAfter++ },
		"peer TLS":          func(r *Record) { r.Settings.PeerTLS = false },
		"join by":           func(r *Record) { r.Settings.JoinBy = JoinByToken },
		"id":                func(r *Record) { r.Members[4].ID = "n6" },
		"role":              func(r *Record) { r.Members[4].Role = Learner },
		"was voter":         func(r *Record) { r.Members[0].WasVoter = false },
		"incarnation":       func(r *Record) { r.Members[1].Incarnation[0] = 1 },
		"added":             func(r *Record) { r.Members[1].Added++ },
		"peer":              func(r *Record) { r.Members[0].Peer = "h2:4001" },
		"http":              func(r *Record) { r.Members[0].HTTP = "h2:4000" },
		"name":              func(r *Record) { r.Members[2].Others[0].Name = "admiN" },
		"address":           func(r *Record) { r.Members[2].Others[0].Address = "h3:3" },
		"promote":           func(r *Record) { r.Members[3].Promote = false },
		"replaces":          func(r *Record) { r.Members[3].Replaces = None },
		"removed id":        func(r *Record) { r.Removed[0].ID = "n7" },
		"removed directory": func(r *Record) { r.Removed[0].Incarnation[1] = 1 },
		"removed added":     func(r *Record) { r.Removed[0].Added++ },
		"removed index":     func(r *Record) { r.Removed[0].Index++ },
		"change id":         func(r *Record) { r.Changes[0].ID = "grew" },
		"change index":      func(r *Record) { r.Changes[0].Index++ },
		"token id":          func(r *Record) { r.Tokens[0].ID = "t2" },
		"token hash":        func(r *Record) { r.Tokens[0].Hash[0] = 1 },
		"token role":        func(r *Record) { r.Tokens[0].Role = Replica },
		"token for":         func(r *Record) { r.Tokens[0].For = None },
		"token uses":        func(r *Record) { r.Tokens[0].Uses++ },
		"token expiry":      func(r *Record) { r.Tokens[0].Expiry++ },
	} {
		r := full()
		change(&r)
		b, err := r.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if other := seen[string(b)]; other != "" {
			t.Errorf("%s is not in the encoding: the same bytes as for %s", name, other)
		}
		seen[string(b)] = name
		if got, err := Decode(b); err != nil || !reflect.DeepEqual(*got, r) {
			t.Errorf("%s is read as %+v (%v)", name, got, err)
		}
	}
}

// Goal: bytes that Encode would not have written are refused, and what a newer build
// wrote is refused by its number.
// Method: every beginning of the golden bytes, every byte of them changed, and numbers
// written in a longer way.
func TestDecode_RefusesWhatNobodyWrote(t *testing.T) {
	whole := goldenBytes(t)
	for n := range whole {
		if _, err := Decode(whole[:n]); err == nil {
			t.Errorf("the first %d bytes are taken for a record", n)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x80
		if r, err := Decode(b); err == nil {
			if again, _ := r.Encode(); !bytes.Equal(again, b) {
				t.Errorf("byte %d changed: read as another record", i)
			}
		}
	}
	_, err := Decode(append(bytes.Clone(whole), 0))
	wantError(t, "a byte more", err, "1 bytes are left over")
	longer := append(append(bytes.Clone(whole[:17]), 0x82, 0x00), whole[18:]...) // generation 2, in two bytes
	_, err = Decode(longer)
	wantError(t, "a long number", err, "written otherwise")
	_, err = Decode(make([]byte, MaxBytes+1))
	wantError(t, "too long", err, fmt.Sprintf("a record of %d bytes; the limit is %d", MaxBytes+1, MaxBytes))

	for name, c := range map[string]struct {
		at     int
		to     byte
		number uint64
	}{
		"version of a record":  {0, 2, 2},
		"setting":              {20, 0x1f, 0x10},
		"way to join":          {30, 2, 2},
		"role":                 {35, 4, 4},
		"property of a member": {36, 5, 4},
	} {
		b := bytes.Clone(whole)
		b[c.at] = c.to
		_, err := Decode(b)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || unknown.What != name || unknown.Number != c.number {
			t.Errorf("%s %d: %v", name, c.number, err)
		}
	}
}

// Goal: a record that does not fit into an entry is refused before it is one.
// Method: members with the longest addresses; the sentence names both numbers.
func TestEncode_RefusesMoreThanTheLimit(t *testing.T) {
	r := First(UID{1}, 3, []ID{"n1"})
	long := strings.Repeat("a", MaxAddressBytes)
	for i := range MaxMembers - 1 {
		r.Put(Member{ID: ID(fmt.Sprintf("m%02d", i)), Role: Learner, Peer: long, HTTP: long, Others: []Address{{"x", long}}})
	}
	_, err := r.Encode()
	wantError(t, "31 long members", err, "bytes; the limit is 16384")
}

// Goal: no bytes make the decoder panic or take memory that they do not have, and
// whatever it takes is written back byte for byte.
func FuzzDecode(f *testing.F) {
	whole := goldenBytes(f)
	f.Add(whole)
	f.Add(whole[:40])
	first, _ := three().Encode()
	f.Add(first)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is read, and written as %x (%v)", b, again, err)
		}
		v, err := Version{Index: 5, Record: r}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeVersion(v); err != nil || back.Index != 5 || !reflect.DeepEqual(back.Record, r) {
			t.Fatalf("%x with its index is read as %+v (%v)", b, back, err)
		}
	})
}

// Goal: a snapshot's bytes name an index and a record, or nothing.
// Method: both ways, none at all, and bytes that say less.
func TestVersion_TravelsWithItsIndex(t *testing.T) {
	if b, err := (Version{}).Encode(); b != nil || err != nil {
		t.Errorf("no record has the bytes %x (%v)", b, err)
	}
	if v, err := DecodeVersion(nil); err != nil || v != (Version{}) {
		t.Errorf("no bytes are read as %+v (%v)", v, err)
	}
	r := full()
	b, err := Version{Index: 303, Record: &r}.Encode()
	if err != nil || !bytes.Equal(b[:8], []byte{0x2f, 1, 0, 0, 0, 0, 0, 0}) || !bytes.Equal(b[8:], goldenBytes(t)) {
		t.Fatalf("%x (%v)", b, err)
	}
	_, err = DecodeVersion(b[:7])
	wantError(t, "half an index", err, "at least 8 bytes")
	_, err = DecodeVersion(append(make([]byte, 8), b[8:]...))
	wantError(t, "index 0", err, "the first entry of a log has index 1")
	_, err = DecodeVersion(b[:len(b)-1])
	wantError(t, "half a record", err, "it ends early")
}
