package wire

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

var flipCount = flag.Int("flips", 300, "how many bits are flipped under load")

// goodFrames are frames of every kind as servers send them.
func goodFrames(t testing.TB) [][]byte {
	e := newEncoder()
	var frames [][]byte
	for _, request := range sampleRequests() {
		b, err := e.request(nil, request)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, b)
	}
	for _, reply := range sampleReplies() {
		frames = append(frames, e.reply(nil, reply))
	}
	return append(frames,
		e.hello(nil, kindHello, documentedHello()), e.hello(nil, kindTransferHello, documentedHello()), e.hello(nil, kindHello, validHello("n2", "n1")),
		e.refusal(nil, &rejection{reason: identity.Wiped, detail: "another directory"}, documentedHello()),
		e.standing(nil, identity.Standing{Term: 1 << 40, Last: 2, LastTerm: 3, Commit: 4}, core.UID{5}), e.chunk(nil, 1<<40, []byte("data")),
		e.frame(nil, kindSnapshotOffer, sampleOffer(), headerBytes+maxSmallBody),
		e.frame(nil, kindSnapshotOfferReply, &snapshotOfferReply{70_000}, headerBytes+maxSmallBody),
		e.frame(nil, kindSnapshotFailed, &snapshotFailed{failureStorage}, headerBytes+maxSmallBody))
}

// Goal: a frame of which one bit was flipped on its way is never taken for one,
// wherever it may come. Method: every bit of frames of every kind, each followed by
// more bytes, for a length that became longer.
func TestNoFlippedBitIsBelieved(t *testing.T) {
	flips := 0
	for _, frame := range goodFrames(t) {
		if len(frame) > 2<<10 {
			continue // its checksum is that of the others
		}
		more := append(bytes.Clone(frame), bytes.Repeat(frame, 3)...)
		for bit := range 8 * len(frame) {
			more[bit/8] ^= 1 << (bit % 8)
			if k, message, err := readOne(more, everything()); err == nil {
				t.Errorf("bit %d of a frame of kind 0x%02x: taken as kind 0x%02x, %+v", bit, frame[0], uint8(k), message)
			}
			more[bit/8] ^= 1 << (bit % 8)
			flips++
		}
		if _, _, err := readOne(more, everything()); err != nil {
			t.Fatalf("the frame itself: %v", err)
		}
	}
	if flips < 10_000 {
		t.Fatalf("only %d bits were flipped", flips)
	}
}

// flipper flips a bit now and then in what passes connections.
type flipper struct {
	mu    sync.Mutex
	rng   *rand.Rand
	every int // bytes between two flips, at random
	next  int
	flips atomic.Int64
}

// pass flips a bit of b if it is time.
func (f *flipper) pass(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for at := f.next; ; at = f.next {
		if at >= len(b) {
			f.next -= len(b)
			return
		}
		b[at] ^= 1 << f.rng.IntN(8)
		f.flips.Add(1)
		f.next += 1 + f.rng.IntN(2*f.every)
	}
}

// flippedConn is a connection whose bytes pass a flipper in both directions.
type flippedConn struct {
	net.Conn
	f *flipper
}

func (c flippedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.f.pass(b[:n])
	return n, err
}

func (c flippedConn) Write(b []byte) (int, error) {
	damaged := bytes.Clone(b)
	c.f.pass(damaged)
	return c.Conn.Write(damaged)
}

// Goal: under load, with bits flipped at random in everything that two servers
// say, hellos and snapshots included, no server hears a request and no caller an
// answer that was not given; nobody is ended. Method: the connections of two
// transports pass a flipper; every request and answer holds a checksum of its own
// that the test compares. -flips=10000 is the long run.
func TestFlippedBitsUnderLoadAreNotBelieved(t *testing.T) {
	f := &flipper{rng: rand.New(rand.NewPCG(7, uint64(*flipCount))), every: 12_000, next: 100}
	content := func(n uint64) []byte { return fmt.Appendf(nil, "entry %d %x", n, bytes.Repeat([]byte{byte(n)}, 200)) }
	var believed atomic.Int64
	hears := &recorder{forget: true, respond: func(_ core.ID, request core.Request, answer func(core.Reply)) {
		switch m := request.(type) {
		case *core.AppendEntries:
			if len(m.Entries) != 1 || !bytes.Equal(m.Entries[0].Data, content(m.Term)) || m.PrevLogIndex != m.Term || m.LeaderCommit != m.Term {
				believed.Add(1)
			}
			answer(&core.AppendEntriesReply{Term: m.Term, Success: m.Term%2 == 0, ConflictIndex: m.Term})
		case *core.InstallSnapshot:
			answer(&core.InstallSnapshotReply{Term: m.Term})
		}
	}}
	s := newSite(t, 2)
	shelf := newShelf()
	snapshot := someBytes(6 << 10) // two flips are 12,000 bytes apart, so some pass between them
	shelf.files[[2]uint64{7, 2}] = snapshot
	theirs := newShelf()
	var begun, through atomic.Int64 // snapshots
	s.told["n1"], s.told["n2"] = &verdicts{}, &verdicts{}
	n1 := start(t, "n1", s.listeners["n1"], s.addrs, func(c *Config) {
		c.Fenced, c.Snapshots, c.HelloTimeout, c.CallTimeout, c.StallTimeout = s.told["n1"].fenced, shelf, time.Second, time.Second, time.Second
		c.BackoffMax, c.UID = 10*time.Millisecond, core.UID{1}
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			return flippedConn{conn, f}, nil
		}
	}, nil)
	n2 := start(t, "n2", s.listeners["n2"], s.addrs, func(c *Config) {
		c.Fenced, c.Snapshots, c.UID, c.HelloTimeout, c.StallTimeout = s.told["n2"].fenced, theirs, core.UID{1}, time.Second, time.Second
	}, hears)
	var answered atomic.Int64
	var under atomic.Bool
	deadline := time.Now().Add(patience + time.Duration(*flipCount)*20*time.Millisecond)
	for n := uint64(1); f.flips.Load() < int64(*flipCount); n++ {
		if time.Now().After(deadline) {
			t.Fatalf("only %d bits were flipped", f.flips.Load())
		}
		request := &core.AppendEntries{Term: n, LeaderID: "n1", PrevLogIndex: n, PrevLogTerm: n, LeaderCommit: n,
			Entries: []core.Entry{core.NewEntry(n+1, n, core.KindCommand, content(n))}}
		ended := make(chan struct{})
		n1.Send(core.Call{To: "n2", Request: request}, func(call core.Call, reply core.Reply) {
			if m, ok := reply.(*core.AppendEntriesReply); ok {
				answered.Add(1)
				if m.Term != n || m.Success != (n%2 == 0) || m.ConflictIndex != n || m.ConflictTerm != 0 {
					believed.Add(1)
				}
			}
			close(ended)
		})
		if under.CompareAndSwap(false, true) { // there is always one on its way, so that flips meet it
			begun.Add(1)
			n1.Send(core.Call{To: "n2", Request: &core.InstallSnapshot{Term: n, LeaderID: "n1", Snapshot: core.Snapshot{Index: 7, Term: 2}}}, func(_ core.Call, reply core.Reply) {
				if reply != nil {
					through.Add(1)
				}
				under.Store(false)
			})
		}
		if n%16 == 0 {
			<-ended
			if !n1.Stats().Total.Connected {
				time.Sleep(time.Millisecond)
			}
		}
	}
	if n := believed.Load(); n != 0 {
		t.Errorf("%d damaged messages were believed", n)
	}
	for _, s := range []*server{n1, n2} {
		if s.muted.Load() || len(s.Stats().Rejected) > 0 && s.Stats().Rejected[identity.Wiped]+s.Stats().Rejected[identity.Copied]+s.Stats().Rejected[identity.RolledBack] > 0 {
			t.Errorf("a damaged hello was believed: %+v", s.Stats().Rejected)
		}
	}
	if len(s.told["n1"].told)+len(s.told["n2"].told) > 0 {
		t.Error("a server was ended")
	}
	theirs.mu.Lock() // the last snapshot may still be arriving
	for at, b := range theirs.files {
		if b != snapshot {
			t.Errorf("snapshot %v was damaged on its way", at)
		}
	}
	theirs.mu.Unlock()
	t.Logf("%d bits flipped, %d answers, %d connections, %d snapshots asked for, %d through", f.flips.Load(), answered.Load(), n1.Stats().Total.Connects, begun.Load(), through.Load())
	if begun.Load() <= through.Load() || through.Load() == 0 && *flipCount >= 300 {
		t.Errorf("of %d snapshots %d came through: flips should meet some and not all", begun.Load(), through.Load())
	}
	if answered.Load() == 0 {
		t.Error("nothing came through at all")
	}
}
