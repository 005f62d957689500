package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"strings"
	"testing"

	"raftkv/tests/compat/golden"
)

// A log of a release, and the digests that its store had on the way: servers of two
// builds that apply one log must come to one state, or the cluster takes one of them
// for damaged. All its commands are of level 2, and so is the store that applies them.

// goldenCommands is the length of the log; goldenEvery is how often it has a digest.
const goldenCommands, goldenEvery = 20_000, 1000

// numbers draws for what releases wrote: by a formula of its own, so that it draws the
// same for ever.
type numbers uint64

func (n *numbers) below(limit int) int {
	*n = *n*6364136223846793005 + 1442695040888963407
	return int(uint64(*n) >> 33 % uint64(limit))
}

// goldenLog returns the commands: every operation and condition, every refusal, time
// that jumps, quota, retries, and more sessions than are kept.
func goldenLog() [][]byte {
	n := numbers(17)
	var log [][]byte
	var clock, seq uint64
	for index := uint64(1); index <= goldenCommands; index++ {
		switch {
		case len(log) > 0 && n.below(8) == 0: // a retry, mostly a late one
			log = append(log, log[len(log)-min(len(log), 1+n.below(60))])
			continue
		case n.below(400) == 0:
			log = append(log, []byte{commandVersion, byte(OpPut), 0}[:n.below(4)]) // it ends early
			continue
		case index%5 < 3 && index > 1500 && index <= 19_000: // evicts those of the beginning
			log = append(log, EncodeCommand(Command{Op: OpOpenSession}))
			continue
		}
		c := Command{Op: []Op{OpPut, OpPut, OpAppend, OpAppend, OpDelete, OpGet, OpOpenSession}[n.below(7)]}
		if n.below(3) == 0 {
			clock += uint64(n.below(40_000) + n.below(2)*n.below(2)*n.below(2)*n.below(4_000_000))
			c.ID = RequestID{Origin: 5 + uint64(n.below(20)/19), Number: index}
			c.Time = clock - min(clock, uint64(n.below(2)*n.below(10_000)))
		}
		if c.Op != OpOpenSession {
			c = goldenRequest(&n, c, index, &seq)
		}
		log = append(log, EncodeCommand(c))
	}
	return log
}

// goldenRequest fills in what a put, append, delete or get may have.
func goldenRequest(n *numbers, c Command, index uint64, seq *uint64) Command {
	c.Key = fmt.Appendf(nil, "key/%d", n.below(40))
	if n.below(200) == 0 {
		c.Key = bytes.Repeat([]byte("k"), []int{0, 1024, 1025}[n.below(3)])
	}
	if c.Op == OpPut || c.Op == OpAppend {
		c.Value = fmt.Appendf(nil, "%d", n.below(1_000_000_000))[:n.below(3)+1]
		if n.below(4) == 0 {
			c.MaxLength = uint64(1 + n.below(60))
		}
		if n.below(4) == 0 {
			c.Quota = uint64(1 + n.below(2000))
		}
	}
	if c.Op != OpGet && n.below(3) == 0 {
		c.Condition.Kind = ConditionKind(1 + n.below(4))
		switch c.Condition.Kind {
		case IfVersion:
			c.Condition.Number = uint64(n.below(4))
		case IfRevision:
			c.Condition.Number = index/3 - min(index/3, uint64(n.below(40)))
		}
	}
	switch n.below(4) {
	case 0:
		if c.Op != OpGet {
			c.IdempotencyKey = fmt.Sprintf("r%d", int(index)-n.below(2)*n.below(10))
		}
	case 1, 2:
		*seq++
		c.Session = SessionCall{ID: uint64(1 + n.below(int(index))), Lane: uint32(n.below(3)), Seq: *seq}
		if index > 100 && n.below(3) > 0 {
			c.Session.ID = uint64(1 + n.below(100))
		}
		if n.below(6) == 0 {
			c.Session.Seq = uint64(1 + n.below(int(*seq)))
		}
		if n.below(60) == 0 {
			c.Session.Lane, c.Session.Seq = uint32(n.below(1100)), uint64(n.below(2))
		}
	}
	return c
}

// goldenFiles returns the log as it is kept, a length before each command, and what a
// store has to say after each part of it.
func goldenFiles(t *testing.T, log [][]byte) golden.Files {
	var text bytes.Buffer
	var kept []byte
	store, results := New(), fnv.New64a()
	for i, command := range log {
		kept = binary.AppendUvarint(kept, uint64(len(command)))
		kept = append(kept, command...)
		r := store.Apply(uint64(i+1), command)
		fmt.Fprintf(results, "%d %d %d %d %d %d %t %t %t %d %x\n", r.ID.Origin, r.ID.Number, r.Status, r.Revision, r.Version, r.Length, r.Created, r.Deleted, r.Replayed, r.Session, r.Value)
		if (i+1)%goldenEvery == 0 {
			fmt.Fprintf(&text, "%d: digest %s, results %016x, revision %d, log time %d, %d keys, %d bytes, %d sessions, %d records, snapshot %08x\n",
				i+1, store.Digest(), results.Sum64(), store.Revision(), store.LogTime(), store.Len(), store.Bytes(), store.Sessions(), store.IdempotencyRecords(), crc32.ChecksumIEEE(payload(t, store)))
		}
	}
	return golden.Files{"log": kept, "digests": text.Bytes()}
}

func writeGoldenLog(t *testing.T) golden.Files { return goldenFiles(t, goldenLog()) }

// readGoldenLog applies the release's log and compares every digest on the way.
func readGoldenLog(t *testing.T, f golden.Files) {
	var log [][]byte
	for rest := f["log"]; len(rest) > 0; {
		length, n := binary.Uvarint(rest)
		log = append(log, rest[n:n+int(length)])
		rest = rest[n+int(length):]
	}
	want := strings.Split(string(f["digests"]), "\n")
	for i, line := range strings.Split(string(goldenFiles(t, log)["digests"]), "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("this build says\n%s\nwhere the release said\n%s", line, want[min(i, len(want)-1)])
		}
	}
}

// Goal: the log of a release meets every rule, or equal digests would say little.
// Method: count how its commands end.
func TestTheGoldenLogMeetsEveryRule(t *testing.T) {
	store, seen, replays, evicted := New(), map[Status]int{}, 0, 0
	for i, command := range goldenLog() {
		sessions := store.Sessions()
		r := store.Apply(uint64(i+1), command)
		seen[r.Status]++
		if r.Replayed {
			replays++
		}
		if r.Session != 0 && store.Sessions() == sessions {
			evicted++
		}
	}
	for s := range statusMaxBase + 1 {
		if s != StatusIdempotencyFull && seen[s] < 10 { // that takes a million records
			t.Errorf("%q was met %d times", s, seen[s])
		}
	}
	if replays < 100 || evicted < 100 {
		t.Errorf("%d replays and %d evictions", replays, evicted)
	}
}
