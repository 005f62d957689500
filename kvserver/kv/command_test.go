package kv

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// sampleCommands are commands of every kind with every optional field, for
// round trips and as seeds for fuzzing.
func sampleCommands() []Command {
	return []Command{
		{Op: OpOpenSession},
		{Op: OpOpenSession, ID: RequestID{Origin: math.MaxUint64, Number: 1}, Time: 1_790_000_000_000},
		{Op: OpPut, Key: []byte("k"), Value: []byte("v")},
		{Op: OpPut, Key: []byte("k"), Value: []byte{}},
		{Op: OpAppend, ID: RequestID{Number: 7}, Key: []byte("a/b"), Value: bytes.Repeat([]byte("x"), 300), MaxLength: 1 << 20},
		{Op: OpPut, Condition: Condition{Kind: IfVersion}, Key: []byte("new"), Value: []byte("v")},
		{Op: OpPut, Condition: Condition{Kind: IfVersion, Number: math.MaxUint64}, Key: []byte("k"), MaxLength: 1},
		{Op: OpAppend, Condition: Condition{Kind: IfRevision, Number: 17}, Key: []byte("k"), Quota: 1 << 40},
		{Op: OpDelete, Condition: Condition{Kind: IfPresent}, Key: []byte("k"), IdempotencyKey: "one"},
		{Op: OpPut, Condition: Condition{Kind: IfAbsent}, IdempotencyKey: strings.Repeat("~", MaxIdempotencyKeyBytes), Quota: 1, Key: []byte("k"), Value: []byte("v"), Time: 5},
		{Op: OpDelete, Session: SessionCall{ID: 9, Lane: math.MaxUint32, Seq: math.MaxUint64}, Key: []byte{0, 255}},
		{Op: OpGet, ID: RequestID{Origin: 1}, Session: SessionCall{Seq: 1}, Time: math.MaxUint64, Key: []byte("g")},
	}
}

// same compares commands, taking nil and empty byte strings for equal.
func same(a, b Command) bool {
	if !bytes.Equal(a.Key, b.Key) || !bytes.Equal(a.Value, b.Value) {
		return false
	}
	a.Key, a.Value, b.Key, b.Value = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

// Goal: what is encoded comes back equal, for samples and for random commands.
// Method: encode, decode, compare.
func TestCommandsComeBackAsTheyWereEncoded(t *testing.T) {
	commands := sampleCommands()
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		c := Command{Op: Op(1 + r.IntN(int(opMax)))}
		if r.IntN(2) == 0 {
			c.ID = RequestID{Origin: r.Uint64() >> r.IntN(64), Number: r.Uint64() >> r.IntN(64)}
		}
		if r.IntN(2) == 0 {
			c.Session = SessionCall{ID: r.Uint64() >> r.IntN(64), Lane: r.Uint32(), Seq: r.Uint64() >> r.IntN(64)}
		}
		if r.IntN(2) == 0 {
			c.Time = r.Uint64() >> r.IntN(64)
		}
		if r.IntN(2) == 0 {
			c.MaxLength = r.Uint64() >> r.IntN(64)
		}
		if r.IntN(2) == 0 {
			c.Condition = Condition{Kind: ConditionKind(1 + r.IntN(int(conditionMax))), Number: r.Uint64() >> r.IntN(64)}
		}
		if r.IntN(2) == 0 {
			c.Quota = r.Uint64()>>r.IntN(64) | 1
		}
		if r.IntN(2) == 0 {
			c.IdempotencyKey = string(randomBytes(r, 1+r.IntN(70)))
		}
		c.Key = randomBytes(r, r.IntN(40))
		c.Value = randomBytes(r, r.IntN(400))
		commands = append(commands, c)
	}
	for _, c := range commands {
		got, err := DecodeCommand(EncodeCommand(c))
		if err != nil {
			t.Fatalf("decoding the encoding of %+v: %v", c, err)
		}
		if !same(got, c) {
			t.Fatalf("%+v came back as %+v", c, got)
		}
		if b := EncodeCommand(c); cap(b) != len(b) || !bytes.Equal(b, appendCommand(nil, c)) {
			t.Fatalf("%+v is encoded in %d bytes of %d, or differently when appended", c, len(b), cap(b))
		}
	}
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Goal: everything that is not exactly one known command is refused.
// Method: a table of broken encodings, and every proper prefix of good ones. What
// a later version may know is in unknown_test.go.
func TestBrokenCommandsAreRefused(t *testing.T) {
	put := EncodeCommand(Command{Op: OpPut, Key: []byte("k"), Value: []byte("v")})
	cases := []struct {
		name string
		b    []byte
		says string
	}{
		{"nothing", nil, "too few"},
		{"padded flags", []byte{1, 2, 0x80, 0x00, 1, 'k', 0}, "needless"},
		{"flag without quota", []byte{1, 2, flagQuota, 0, 1, 'k', 0}, "empty quota"},
		{"flag without idempotency key", []byte{1, 2, flagIdempotency, 0, 1, 'k', 0}, "empty idempotency"},
		{"flag without condition", []byte{1, 2, 0x80, 0x01, 0, 0, 1, 'k', 0}, "another encoding"},
		{"a second encoding of a version", []byte{1, 2, 0x80, 0x01, byte(IfVersion), 0, 1, 'k', 0}, "another encoding"},
		{"two conditions", []byte{1, 2, 0x80 | flagIfVersion, 0x01, 1, byte(IfPresent), 0, 1, 'k', 0}, "two conditions"},
		{"byte after the end", append(bytes.Clone(put), 0), "after the end"},
		{"huge key length", []byte{1, 2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "length beyond"},
		{"number over 64 bits", []byte{1, 2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, "too large"},
		{"padded number", []byte{1, 2, 0, 0x81, 0x00, 'k', 0}, "needless"},
		{"flag without identity", []byte{1, 2, flagID, 0, 0, 1, 'k', 0}, "empty identity"},
		{"flag without session", []byte{1, 2, flagSession, 0, 0, 0, 1, 'k', 0}, "empty session"},
		{"flag without time", []byte{1, 2, flagTime, 0, 1, 'k', 0}, "empty time"},
		{"flag without limit", []byte{1, 2, flagMaxLength, 0, 1, 'k', 0}, "empty limit"},
		{"lane over 32 bits", []byte{1, 2, flagSession, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1, 'k', 0}, "lane beyond"},
	}
	for _, c := range cases {
		got, err := DecodeCommand(c.b)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.says)
		}
		if !reflect.DeepEqual(got, Command{}) {
			t.Errorf("%s: a command came out beside the error: %+v", c.name, got)
		}
	}
	for _, c := range sampleCommands() {
		b := EncodeCommand(c)
		for n := range len(b) {
			if got, err := DecodeCommand(b[:n]); err == nil {
				t.Errorf("the first %d of %d bytes of %+v were taken for %+v", n, len(b), c, got)
			}
		}
	}
}

// Fuzz target: no input makes the decoder panic or allocate beyond its size,
// and what it accepts has exactly the encoding it was read from.
func FuzzCommand(f *testing.F) {
	for _, c := range sampleCommands() {
		f.Add(EncodeCommand(c))
	}
	f.Add([]byte{1, 2, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{1, 2, 0x0f, 0x81, 0x00})
	for _, c := range unknownCommands() {
		f.Add(c.b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := DecodeCommand(b)
		runtime.ReadMemStats(&after)
		if grew, most := after.TotalAlloc-before.TotalAlloc, uint64(4*len(b)+64<<10); grew > most {
			t.Fatalf("%d bytes allocated for an input of %d", grew, len(b))
		}
		if err != nil {
			if _, unknown := errors.AsType[*UnknownError](err); unknown == errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is neither malformed nor unknown, or both", err)
			}
			return
		}
		if again := EncodeCommand(c); !bytes.Equal(again, b) {
			t.Fatalf("%x was read as %+v, which encodes as %x", b, c, again)
		}
	})
}
