package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"raftkv/raft/core"
)

// Goal: what is written by hand has the bytes that the library writes, so that peers
// of earlier builds read it.
// Method: messages with numbers of every length, and entries around every form of an
// extension's length and around the bound for padding, each written both ways.
func TestHotFramesHaveTheBytesOfTheLibrary(t *testing.T) {
	dice := rand.New(rand.NewPCG(7, 7))
	number := func() uint64 { return dice.Uint64() >> dice.IntN(64) }
	e := newEncoder()
	same := func(what string, byHand, byLibrary []byte) {
		t.Helper()
		if !bytes.Equal(byHand, byLibrary) {
			t.Errorf("%s: % x by hand, % x by the library", what, byHand, byLibrary)
		}
	}
	for range 2000 {
		m := &core.AppendEntriesReply{
			Term: number(), Success: dice.IntN(2) == 0, ConflictTerm: number(), ConflictIndex: number(),
			Pending: dice.IntN(2) == 0, RatherNot: dice.IntN(2) == 0, Commit: number(),
		}
		same("an answer", e.reply(nil, m), e.frame(nil, kindAppendEntriesReply, m, headerBytes+maxSmallBody))
		o := overtakes{Older: number()}
		same("an overtaking", e.overtakes(nil, o.Older), e.frame(nil, kindOvertakes, &o, headerBytes+maxSmallBody))
	}
	for _, shape := range [][2]int{{0, 0}, {1, 0}, {1, 1}, {1, 9}, {1, 240}, {1, 250}, {2, 256}, {3, 40000}, {freeEntries, 0}, {freeEntries + 1, 0}, {freeEntries + 400, 0}, {freeEntries + 400, 20}} {
		m := &core.AppendEntries{Term: number() | 1, LeaderID: "n1", PrevLogIndex: number() >> 1, PrevLogTerm: 1, LeaderCommit: number()}
		for i := range shape[0] {
			m.Entries = append(m.Entries, core.NewEntry(m.PrevLogIndex+1+uint64(i), 1, core.KindCommand, make([]byte, shape[1])))
		}
		packed := core.EncodeEntries(packedBytes{}, m.Entries)
		body := appendEntries{
			Term: m.Term, LeaderID: m.LeaderID, PrevLogIndex: m.PrevLogIndex, PrevLogTerm: m.PrevLogTerm, LeaderCommit: m.LeaderCommit,
			Count: uint64(len(m.Entries)), Entries: packed, Padding: make(packedBytes, paddingFor(len(m.Entries), len(packed))),
		}
		byHand, err := e.request(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		same("entries", byHand, e.frame(nil, kindAppendEntries, &body, 1<<18))
	}
}

// Goal: a leader is the one that the message names, also where another one was named
// before on the same connection.
// Method: messages of three leaders through one decoder, each twice.
func TestEachMessageNamesItsOwnLeader(t *testing.T) {
	e, d := newEncoder(), newDecoder()
	for _, leader := range []core.ID{"n1", "n1", "n2", "n2", "n10", "n1"} {
		frame, err := e.request(nil, &core.AppendEntries{Term: 1, LeaderID: leader})
		if err != nil {
			t.Fatal(err)
		}
		m, err := d.appendEntries(frame[headerBytes:])
		if err != nil || m.LeaderID != leader {
			t.Errorf("the message of %s came as %+v, %v", leader, m, err)
		}
	}
}

// Goal: what a message costs in memory does not depend on the number of its entries:
// writing it costs nothing, reading it one message and one slice of entries; an answer
// costs itself.
// Method: count allocations for messages of one and of 64 entries.
func TestHotMessagesAllocateNothingPerEntry(t *testing.T) {
	e, d := newEncoder(), newDecoder()
	var out []byte
	var err error
	for _, n := range []int{1, 64} {
		m := batch()
		m.Entries = m.Entries[:n]
		encode := func() { out, err = e.request(out[:0], m) }
		encode()
		decode := func() { _, err = d.request(kindAppendEntries, out[headerBytes:]) }
		if a, b := testing.AllocsPerRun(100, encode), testing.AllocsPerRun(100, decode); a != 0 || b != 2 || err != nil {
			t.Errorf("%d entries: %v allocations to write, %v to read, want 0 and 2: %v", n, a, b, err)
		}
	}
	reply := &core.AppendEntriesReply{Term: 7, Success: true, Commit: 1 << 20}
	encode := func() { out = e.answer(out[:0], departing{reply, 3}) }
	encode()
	alone := e.reply(nil, reply)
	decode := func() { _, err = d.reply(kindAppendEntriesReply, alone[headerBytes:]) }
	if a, b := testing.AllocsPerRun(100, encode), testing.AllocsPerRun(100, decode); a != 0 || b != 1 || err != nil {
		t.Errorf("an answer: %v allocations to write, %v to read, want 0 and 1: %v", a, b, err)
	}
}
