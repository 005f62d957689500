package clerkwire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

// sampleNotes has one full note of each kind, and some with little in them.
func sampleNotes() []Note {
	state := State{Value: []byte("value"), Revision: 1 << 40, Version: 3, Created: 300, Lease: 9}
	return []Note{
		{Kind: NoteItem, Key: []byte("k\x00\xff"), State: state},
		{Kind: NoteState, Revision: 70_000, Items: 1},
		{Kind: NoteChange, Revision: 70_001, Events: []Event{
			{Op: EventPut, Key: []byte("a"), After: State{Value: []byte("new"), Revision: 70_001, Version: 2, Created: 7, Lease: 9}, HadPrev: true, Prev: state},
			{Op: EventDelete, Key: []byte("b"), After: State{Value: []byte{}}},
		}},
		{Kind: NoteHolder, Key: []byte("jobs\xff"), State: State{Value: []byte("v"), Revision: 57, Lease: 9}},
		{Kind: NoteChange, Revision: 70_002, Events: []Event{
			{Op: EventExpire, Key: []byte("b"), After: State{Value: []byte{}}},
			{Op: EventGranted, Key: []byte("jobs"), After: State{Value: []byte("v"), Revision: 70_002, Lease: 9}},
			{Op: EventLockRevoked, Key: []byte("jobs"), After: State{Value: []byte{}, Revision: 7, Lease: 1 << 63}},
		}},
		{Kind: NoteProgress, Revision: 1 << 50},
		{Kind: NoteReset, Revision: 12},
		{Kind: NoteChange, Revision: 1},
	}
}

func readNotes(content []byte) (all []Note, err error) {
	r := NewNotes(content)
	for n := (Note{}); r.Next(&n); n = (Note{}) {
		all = append(all, n)
	}
	return all, r.Err()
}

// Goal: what a watch brings comes back as it was sent, and is refused if a byte of it is
// missing, or something has no meaning. Method: every kind of note; every prefix; kinds,
// operations and numbers of fields that nobody knows.
func TestNotesComeBack(t *testing.T) {
	var content []byte
	ends := map[int]int{0: 0} // of the content → the notes up to there
	for i, n := range sampleNotes() {
		content = AppendNote(content, &n)
		ends[len(content)] = i + 1
	}
	got, err := readNotes(content)
	if err != nil || !reflect.DeepEqual(got, sampleNotes()) {
		t.Errorf("they came back as\n %+v, %v", got, err)
	}
	for cut := range content {
		got, err := readNotes(content[:cut])
		whole, at := ends[cut]
		if at && (err != nil || len(got) != whole) || !at && !errors.Is(err, msgpack.ErrMalformed) {
			t.Errorf("cut at %d: %d notes, %v", cut, len(got), err)
		}
	}
	unknown := Event{Op: 9, Key: []byte("k")}
	for name, content := range map[string][]byte{
		"a kind":      {0x92, 9, 1},
		"a length":    {0x93, byte(NoteProgress), 1, 1},
		"an array":    {0x01},
		"an op":       AppendNote(nil, &Note{Kind: NoteChange, Revision: 1, Events: []Event{unknown}}),
		"a long key":  AppendNote(nil, &Note{Kind: NoteItem, Key: make([]byte, api.MaxKeyBytes+1)}),
		"a long list": {0x93, byte(NoteChange), 1, 0xdc, 0xff, 0xff},
	} {
		if got, err := readNotes(content); !errors.Is(err, msgpack.ErrMalformed) {
			t.Errorf("%s that has no meaning: %+v, %v", name, got, err)
		}
	}
}

// Goal: whatever bytes come as the content of changes, reading them does no harm, takes
// no more memory than they justify, and what is accepted is exactly what writing it again
// gives.
func FuzzNotes(f *testing.F) {
	for _, n := range sampleNotes() {
		f.Add(AppendNote(nil, &n))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		all, err := readNotes(content)
		if err != nil {
			if !errors.Is(err, msgpack.ErrMalformed) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		var again []byte
		for i := range all {
			again = AppendNote(again, &all[i])
		}
		if !bytes.Equal(again, content) {
			t.Errorf("% x was read as %+v", content, all)
		}
	})
}
