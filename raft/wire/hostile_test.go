package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"raftkv/raft/core"
)

// announce returns the header of a frame whose body does not come.
func announce(k kind, length uint32) []byte {
	header := make([]byte, headerBytes)
	header[0] = byte(k)
	binary.LittleEndian.PutUint32(header[1:], onlyGroup)
	binary.LittleEndian.PutUint32(header[5:], length)
	return header
}

// badFrames are what a peer, or a process that poses as one, must not send on a
// connection that stands.
func badFrames(t testing.TB) map[string][]byte {
	e := newEncoder()
	good, err := e.request(nil, load("n1", 5, 100).Request)
	if err != nil {
		t.Fatal(err)
	}
	body := good[headerBytes:]
	flipped := bytes.Clone(body)
	flipped[0] = 0x97
	group := bytes.Clone(good)
	group[1] = 2
	sum := bytes.Clone(good)
	sum[headerBytes-1] ^= 1
	rng := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	noise[0] = 0x99
	return map[string][]byte{
		"unknown kind":             frameOf(0x7f, nil),
		"kind kept for snapshots":  frameOf(0x20, []byte{0x90}),
		"kind 0":                   make([]byte, 64),
		"second hello":             e.hello(nil, kindHello, validHello("n2", "n1")),
		"refusal":                  e.refusal(nil, &rejection{reason: ReasonSender}, validHello("n2", "n1")),
		"an answer to no call":     e.reply(nil, &core.AppendEntriesReply{Term: 1, Success: true}),
		"no-reply for a request":   e.reply(nil, nil),
		"huge length":              announce(kindAppendEntries, 0xffffffff),
		"length just above limit":  announce(kindAppendEntries, maxLargeBody+1),
		"large body, small kind":   frameOf(kindRequestVote, make([]byte, maxSmallBody+1)),
		"truncated body":           frameOf(kindAppendEntries, body[:len(body)-1]),
		"trailing byte":            frameOf(kindAppendEntries, append(bytes.Clone(body), 0)),
		"empty body":               frameOf(kindAppendEntries, nil),
		"other number of fields":   flipped,
		"body of another kind":     frameOf(kindRequestVote, body),
		"nil":                      frameOf(kindReadIndex, []byte{0xc0}),
		"wrong msgpack type":       frameOf(kindReadIndex, []byte{0x91, 0xa1, 'x'}),
		"array32 bomb":             frameOf(kindAppendEntries, []byte{0xdd, 0xff, 0xff, 0xff, 0xff}),
		"map32 bomb":               frameOf(kindAppendEntries, []byte{0xdf, 0xff, 0xff, 0xff, 0xff}),
		"extension bomb":           frameOf(kindAppendEntries, []byte{0x98, 5, 0xa0, 7, 4, 6, 1, 0xc9, 0xff, 0xff, 0xff, 0xff, 1}),
		"deep nesting":             frameOf(kindAppendEntries, bytes.Repeat([]byte{0x91}, 100_000)),
		"nested array16":           frameOf(kindAppendEntries, bytes.Repeat([]byte{0xdc, 0xff, 0xff}, 24_000)),
		"too many entries claimed": frameOf(kindAppendEntries, []byte{0x98, 5, 0xa0, 7, 4, 6, 0x7f, 0xc7, 3, 1, 0, 0, 0, 0xc7, 0, 1}),
		"id too long":              frameOf(kindTimeoutNow, append([]byte{0x92, 1, 0xd9, 65}, strings.Repeat("x", 65)...)),
		"noise":                    noise,
		"text":                     []byte("{\"jsonrpc\": \"2.0\"}\r\n\r\n"),
	}
}

// Goal: a bad frame closes its connection, is counted, reaches nobody, and
// harms no other connection. Method: a raw peer sends a good request and then
// each bad frame, while two real servers keep calling each other.
func TestBadFramesHarmTheirConnectionOnly(t *testing.T) {
	noLeak(t)
	l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String(), "n3": "127.0.0.1:1"}
	n1, n2 := start(t, "n1", l1, addrs, nil, nil), start(t, "n2", l2, addrs, nil, nil)
	connected(t, n1, 1)
	connected(t, n2, 1)
	good, err := newEncoder().request(nil, &core.ReadIndex{Term: 77})
	if err != nil {
		t.Fatal(err)
	}
	bad := badFrames(t)
	seen := 0
	for name, b := range bad {
		p := greetRaw(t, n1, "n3")
		p.write(t, append(bytes.Clone(good), b...))
		p.ended(t)
		seen++
		eventually(t, name+": counted", func() bool { return n1.Stats().Peers["n3"].Malformed == uint64(seen) })
		o := newOutcomes()
		n2.Send(ping("n1", uint64(seen)), o.done)
		eventually(t, name+": a call between others", func() bool { return o.count() == 1 })
		if o.countLost() != 0 {
			t.Fatalf("%s: a call between others was lost", name)
		}
		got := n1.received()
		if len(got) != 2*seen {
			t.Fatalf("%s: %d requests reached the Handler, not %d", name, len(got), 2*seen)
		}
	}
	if st := n1.Stats().Peers["n2"]; st.Malformed != 0 || st.Accepts != 1 || st.Connects != 1 {
		t.Fatalf("the other peer's connections suffered: %+v", st)
	}
	if len(n1.suspected()) != 0 {
		t.Fatalf("suspected %q", n1.suspected())
	}
}

// Goal: bad answers end the connection and lose its calls, once, without
// harming the caller. Method: a raw peer answers two calls with each bad thing.
func TestBadAnswersLoseTheCalls(t *testing.T) {
	e := newEncoder()
	for name, b := range map[string][]byte{
		"wrong kind of answer": e.reply(nil, &core.ReadIndexReply{Term: 1}),
		"more answers than calls": e.reply(e.reply(e.reply(nil, &core.TimeoutNowReply{Term: 1}),
			&core.TimeoutNowReply{Term: 2}), &core.TimeoutNowReply{Term: 3}),
		"more no-replies than calls": e.reply(e.reply(e.reply(nil, nil), nil), nil),
		"a request":                  frameOf(kindReadIndex, []byte{0x91, 1}),
		"hello":                      e.hello(nil, kindHello, validHello("n2", "n1")),
		"huge length":                announce(kindTimeoutNowReply, 0xffffffff),
		"bomb":                       frameOf(kindTimeoutNowReply, []byte{0xdd, 0xff, 0xff, 0xff, 0xff}),
		"wrong type":                 frameOf(kindTimeoutNowReply, []byte{0x91, 0xc3}),
		"no-reply with body":         frameOf(kindNoReply, []byte{0xc0}),
		"noise":                      bytes.Repeat([]byte{0xee}, 300),
	} {
		l2 := listen(t, "127.0.0.1:0")
		n1 := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l2.Addr().String()}, nil, nil)
		n2 := acceptRaw(t, l2, "n2")
		eventually(t, "the connection", func() bool { return n1.Stats().Total.Connected })
		o := newOutcomes()
		n1.Send(ping("n2", 1), o.done)
		n1.Send(ping("n2", 2), o.done)
		for range 2 {
			if _, _, err := n2.frames.next(requestFrames); err != nil {
				t.Fatal(err)
			}
		}
		n2.write(t, b)
		eventually(t, name+": both calls are done", func() bool { return o.count() == 2 })
		eventually(t, name+": counted", func() bool { return n1.Stats().Total.Malformed == 1 })
		o.once(t, 2)
		if name != "more answers than calls" && o.countLost() != 2 {
			t.Errorf("%s: %d calls lost", name, o.countLost())
		}
		if len(n1.suspected()) != 0 {
			t.Errorf("%s: suspected %q", name, n1.suspected())
		}
		n1.Close()
		l2.Close()
	}
}
