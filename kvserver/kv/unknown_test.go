package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
)

type unknownCommand struct {
	name string
	b    []byte
	want UnknownError
}

// unknownCommands are encodings that a later version may write: each is sound
// but for one number.
func unknownCommands() (all []unknownCommand) {
	tail := []byte{1, 'k', 1, 'v'}
	add := func(what string, number uint64, b ...byte) {
		all = append(all, unknownCommand{fmt.Sprint(what, " ", number), append(b, tail...), UnknownError{What: what, Number: number}})
	}
	for _, version := range []byte{0, 2, 255} {
		add("version of a command", uint64(version), version, byte(OpPut), 0)
	}
	for _, op := range []byte{0, 23, 0x40, 0x5f, 255} {
		add("operation", uint64(op), commandVersion, op, 0)
	}
	for bit := 8; bit < 64; bit++ {
		if 1<<bit&flagsKnown != 0 {
			continue // known, and needs a level
		}
		add("flag", 1<<bit, binary.AppendUvarint([]byte{commandVersion, byte(OpPut)}, 1<<bit)...)
	}
	for _, kind := range []byte{byte(conditionMax) + 1, 255} {
		add("condition", uint64(kind), append(binary.AppendUvarint([]byte{commandVersion, byte(OpPut)}, flagCondition), kind, 0)...)
	}
	// The lowest flag is named, and a number is unknown whatever follows it.
	add("flag", 1<<15, binary.AppendUvarint([]byte{commandVersion, byte(OpPut)}, 1<<15|1<<20|flagTime)...)
	all = append(all, unknownCommand{"version 2 of one byte", []byte{2}, UnknownError{What: "version of a command", Number: 2}},
		unknownCommand{"operation 23 of two bytes", []byte{1, 23}, UnknownError{What: "operation", Number: 23}})
	return all
}

// Goal: a command that a later version may know stops the store before it is
// applied: the store stands where it stood, down to its digest, and the error
// names the number. Method: every version, operation, flag and condition that is
// unknown, against a store with all kinds of content; Apply itself panics.
func TestACommandOfALaterVersionIsNeverPassedOver(t *testing.T) {
	for _, c := range unknownCommands() {
		s := populated(t)
		at, hash, digest := s.AppliedIndex(), s.Hash(), s.Digest()
		r, err := s.ApplyKnown(at+1, c.b)
		unknown, ok := errors.AsType[*UnknownError](err)
		if !ok || *unknown != c.want {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("%s %d;", c.want.What, c.want.Number)) || !strings.Contains(err.Error(), "upgrade this node") {
			t.Errorf("%s: the error is %q", c.name, err)
		}
		if s.AppliedIndex() != at || s.Hash() != hash || s.Digest() != digest || r.Status != StatusOK || r.Revision != 0 {
			t.Errorf("%s: the store stands at %d with %s, result %+v", c.name, s.AppliedIndex(), s.Digest(), r)
		}
		if !panics(func() { s.Apply(at+1, c.b) }) {
			t.Errorf("%s: Apply went on", c.name)
		}
		if again := s.Apply(at+1, EncodeCommand(Command{Op: OpPut, Key: []byte("k"), Value: []byte("v")})); again.Status != StatusOK {
			t.Errorf("%s: the next command at the same index: %+v", c.name, again)
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

// Goal: malformed bytes of the known version give the same definite result on
// every server and stop nobody. Method: some between two puts.
func TestMalformedBytesOfTheKnownVersionAreAnswered(t *testing.T) {
	s := New()
	put(s, "a", "1")
	for _, b := range [][]byte{nil, {1}, {1, 2}, {1, 2, 0, 9, 'k'}, {1, 5, 0xff}} {
		r, err := s.ApplyKnown(s.AppliedIndex()+1, b)
		if err != nil || !sameResult(r, Result{Status: StatusUnknownCommand, Revision: 1}) {
			t.Errorf("%x: %+v, %v", b, r, err)
		}
	}
	if r := put(s, "a", "2"); r.Version != 2 || s.AppliedIndex() != 7 {
		t.Errorf("after them: %+v at index %d", r, s.AppliedIndex())
	}
}

// Goal: what a server may propose is what this version can apply. Method: every
// operation and every kind of condition at every level, checked before it is encoded
// and applied after.
func TestOnlyWhatCanBeAppliedIsProposed(t *testing.T) {
	for op := range 256 {
		for _, kind := range []ConditionKind{0, IfVersion, conditionMax, conditionMax + 1, 255} {
			c := Command{Op: Op(op), Condition: Condition{Kind: kind}, Key: []byte("k")}
			for level := uint64(LevelBase); level <= LevelMax; level++ {
				_, err := NewAt(level).ApplyKnown(1, EncodeCommand(c))
				if known := c.CheckKnown(level); (known == nil) != (err == nil) {
					t.Errorf("%v with %v at level %d: checked with %v, applied with %v", c.Op, kind, level, known, err)
				}
			}
		}
	}
}
