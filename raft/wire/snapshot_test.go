package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/members"
)

// shelf is a Snapshots in memory.
type shelf struct {
	mu       sync.Mutex
	files    map[[2]uint64]string // by index and term
	partial  []byte
	begun    string // what partial is of
	is       core.Snapshot
	size     int64
	resumed  []int64 // what each BeginReceive answered
	fail     error   // of everything that writes
	members  members.Version
	block    chan struct{}
	finishes int
	inside   atomic.Int32 // calls that receive
	blocked  atomic.Int32 // calls of ReceiveAt that wait for block
}

// alone panics if another call is receiving, until the caller calls the result.
func (s *shelf) alone() (leave func()) {
	if s.inside.Add(1) > 1 {
		panic("two snapshots are received at one time")
	}
	return func() { s.inside.Add(-1) }
}

func (s *shelf) SnapshotFile(of core.Snapshot) (*io.SectionReader, io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, ok := s.files[[2]uint64{of.Index, of.Term}]
	if !ok {
		return nil, nil, errors.New("there is no such snapshot")
	}
	return io.NewSectionReader(strings.NewReader(file), 0, int64(len(file))), io.NopCloser(nil), nil
}

func (s *shelf) BeginReceive(of core.Snapshot, size int64, id [32]byte) (int64, error) {
	defer s.alone()()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	begun := fmt.Sprint(of.Index, of.Term, size, id)
	if begun != s.begun {
		s.partial, s.begun = nil, begun
	}
	s.is, s.size = of, size
	s.resumed = append(s.resumed, int64(len(s.partial)))
	return int64(len(s.partial)), nil
}

func (s *shelf) ReceiveAt(p []byte, offset int64) error {
	defer s.alone()()
	if s.block != nil {
		s.blocked.Add(1)
		<-s.block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset != int64(len(s.partial)) {
		panic("bytes out of order")
	}
	s.partial = append(s.partial, p...)
	return s.fail
}

func (s *shelf) FinishReceive() error {
	defer s.alone()()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishes++
	if s.fail != nil {
		return s.fail
	}
	if int64(len(s.partial)) != s.size {
		panic("finished early")
	}
	s.files[[2]uint64{s.is.Index, s.is.Term}] = string(s.partial)
	return nil
}

func (s *shelf) SnapshotMembers(of core.Snapshot) (members.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members, s.fail
}

func (s *shelf) get(index, term uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[[2]uint64{index, term}]
}

func (s *shelf) resumedAt() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int64(nil), s.resumed...)
}

func newShelf() *shelf { return &shelf{files: map[[2]uint64]string{}} }

// someBytes are n bytes that do not repeat.
func someBytes(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(b)
	return string(b)
}

// install is the call for the snapshot at index, of term 2.
func install(to core.ID, term, index uint64) core.Call {
	return core.Call{To: to, Request: &core.InstallSnapshot{Term: term, LeaderID: "n1", Snapshot: core.Snapshot{Index: index, Term: 2, UID: core.UID{9, 8}}}}
}

// result is how one call ended.
type result struct {
	once  atomic.Int32
	reply core.Reply
	over  chan struct{}
}

func newResult() *result { return &result{over: make(chan struct{})} }

func (r *result) done(_ core.Call, reply core.Reply) {
	if r.once.Add(1) > 1 {
		panic("a call ended twice")
	}
	r.reply = reply
	close(r.over)
}

func (r *result) wait(t testing.TB) core.Reply {
	t.Helper()
	select {
	case <-r.over:
		return r.reply
	case <-time.After(patience):
		t.Fatal("the call does not end")
		return nil
	}
}

// pair is two servers with a shelf each; n1's has a snapshot of n bytes at 7.
type pair struct {
	n1, n2         *server
	shelf1, shelf2 *shelf
	file           string
}

func newPair(t *testing.T, n int, tweak func(*Config)) *pair {
	p := &pair{shelf1: newShelf(), shelf2: newShelf(), file: someBytes(n)}
	p.shelf1.files[[2]uint64{7, 2}] = p.file
	servers := cluster(t, 2, func(c *Config) {
		c.Snapshots = p.shelf1
		if c.ID == "n2" {
			c.Snapshots = p.shelf2
		}
		if tweak != nil {
			tweak(c)
		}
	})
	p.n1, p.n2 = servers["n1"], servers["n2"]
	return p
}

// Goal: a snapshot arrives whole before its request does, which has the members that
// the file carries, and the answer comes back. Method: sizes around a chunk's, one after the other.
func TestSnapshotArrivesBeforeItsRequest(t *testing.T) {
	noLeak(t)
	for i, size := range []int{1, snapshotChunkBytes - 1, snapshotChunkBytes, snapshotChunkBytes + 1, 10*snapshotChunkBytes + 3} {
		p := newPair(t, size, nil)
		record := members.First(members.UID{9, 8}, 3, []core.ID{"n1", "n2"})
		p.shelf2.members = members.Version{Index: 6, Record: &record} // what the file carries
		p.n2.respond = func(from core.ID, request core.Request, answer func(core.Reply)) {
			if p.shelf2.get(7, 2) != p.file {
				t.Errorf("%d bytes: the request came before its snapshot", size)
			}
			echo(from, request, answer)
		}
		r := newResult()
		p.n1.Send(install("n2", uint64(i)+5, 7), r.done)
		reply, ok := r.wait(t).(*core.InstallSnapshotReply)
		if !ok || reply.Term != uint64(i)+5 {
			t.Fatalf("%d bytes: answered %+v", size, r.reply)
		}
		got := p.n2.received()
		want := &core.InstallSnapshot{Term: uint64(i) + 5, LeaderID: "n1", Snapshot: core.Snapshot{Index: 7, Term: 2, UID: core.UID{9, 8}, Members: p.shelf2.members}}
		if len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(want) {
			t.Fatalf("received %+v", got)
		}
		eventually(t, "both ends count", func() bool {
			sent, received := p.n1.Stats().Total, p.n2.Stats().Total
			return sent.SnapshotsSent == 1 && sent.SnapshotBytesSent == uint64(size) &&
				received.SnapshotsReceived == 1 && received.SnapshotBytesReceived == uint64(size) &&
				sent.SnapshotsFailed+received.SnapshotsFailed == 0 && !sent.SendingSnapshot && !received.ReceivingSnapshot
		})
		p.n1.Close()
		p.n2.Close()
	}
}

// cuttable is a Dial whose connections for snapshots break after a number of bytes.
type cuttable struct {
	after atomic.Int64 // 0: never
}

type cuttableConn struct {
	net.Conn
	left *atomic.Int64
}

func (c *cuttable) dial(ctx context.Context, addr string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	left := new(atomic.Int64)
	left.Store(c.after.Load())
	return &cuttableConn{conn, left}, nil
}

func (c *cuttableConn) Write(b []byte) (int, error) {
	if len(b) > 0 && kind(b[0]) == kindSnapshotChunk && c.left.Load() != 0 && c.left.Add(-int64(len(b))) <= 0 {
		c.Close()
		return 0, errors.New("cut")
	}
	return c.Conn.Write(b)
}

// Goal: a transfer that is cut goes on where it ended, and the call is lost
// each time. Method: a link that breaks after three chunks; the sender asks
// again until the ten chunks are there; nothing is sent twice.
func TestCutTransferGoesOnWhereItEnded(t *testing.T) {
	link := &cuttable{}
	link.after.Store(3*snapshotChunkBytes + 1000)
	p := newPair(t, 10*snapshotChunkBytes, func(c *Config) { c.Dial = link.dial })
	lost := 0
	for {
		r := newResult()
		p.n1.Send(install("n2", 5, 7), r.done)
		if r.wait(t) != nil {
			break
		}
		if lost++; lost > 5 {
			t.Fatal("the transfer does not get on")
		}
	}
	if lost != 3 || p.shelf2.get(7, 2) != p.file {
		t.Fatalf("%d calls were lost; arrived whole: %v", lost, p.shelf2.get(7, 2) == p.file)
	}
	const c = snapshotChunkBytes
	if got := p.shelf2.resumedAt(); fmt.Sprint(got) != fmt.Sprint([]int64{0, 3 * c, 6 * c, 9 * c}) {
		t.Fatalf("resumed at %v", got)
	}
	if st := p.n2.Stats().Total; st.SnapshotBytesReceived != 10*c || st.Suspects != 0 || len(p.n1.suspected()) != 0 {
		t.Fatalf("stats %+v", st)
	}
}

// Goal: a receiver that stops reading hurts nobody: calls to it and to others
// go on, its transfer is lost after the stall time, and the sender can close.
// Method: a peer that accepts the offer and then reads nothing.
func TestReceiverThatStopsReadingHurtsNobody(t *testing.T) {
	noLeak(t)
	l2 := listen(t, "127.0.0.1:0")
	l1, l3 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String(), "n3": l3.Addr().String()}
	shelf := newShelf()
	shelf.files[[2]uint64{7, 2}] = someBytes(64 << 20) // more than any socket holds
	tweak := func(c *Config) { c.Snapshots = shelf; c.StallTimeout = 500 * time.Millisecond }
	n1 := start(t, "n1", l1, addrs, tweak, nil)
	start(t, "n3", l3, map[core.ID]string{"n1": addrs["n1"], "n2": "127.0.0.1:1"}, nil, nil)
	n2 := acceptRaw(t, l2, "n2")
	eventually(t, "connections", func() bool {
		st := n1.Stats().Peers
		return st["n2"].Connected && st["n3"].Connected
	})
	r := newResult()
	n1.Send(install("n2", 5, 7), r.done)
	acceptOffer(t, l2, "n2")
	for n := uint64(1); n <= 50; n++ {
		for _, to := range []core.ID{"n2", "n3"} {
			o := newOutcomes()
			n1.Send(ping(to, n), o.done)
			if to == "n2" {
				if _, _, err := n2.frames.next(requestFrames); err != nil {
					t.Fatal(err)
				}
				n2.write(t, n2.encoder.reply(nil, &core.TimeoutNowReply{Term: n}))
			}
			eventually(t, "a call beside the transfer", func() bool { return o.count() == 1 })
			if o.countLost() != 0 {
				t.Fatalf("call %d to %s was lost", n, to)
			}
		}
	}
	if r.wait(t) != nil {
		t.Fatal("a snapshot that was not read was answered")
	}
	if st := n1.Stats().Peers["n2"]; !st.Connected || st.SnapshotsFailed != 1 || len(n1.suspected()) != 0 {
		t.Fatalf("stats %+v, suspected %q", st, n1.suspected())
	}
	again := newResult()
	n1.Send(install("n2", 5, 7), again.done)
	acceptOffer(t, l2, "n2")
	begun := time.Now()
	n1.Close()
	if took := time.Since(begun); took > patience/2 {
		t.Fatalf("closing took %v", took)
	}
	if again.wait(t) != nil {
		t.Fatal("a call that was under way at Close was answered")
	}
}

// acceptOffer accepts a connection for a snapshot, takes the offer, and reads
// no further.
func acceptOffer(t testing.TB, l net.Listener, id core.ID) *raw {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := newRaw(conn)
	k, body, err := r.frames.next(transferGreetingFrames)
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.decoder.hello(k, body)
	if err != nil {
		t.Fatal(err)
	}
	own := validHello(id, h.From)
	own.Bootstrap = h.Bootstrap
	r.write(t, r.encoder.hello(nil, kindTransferHello, own))
	if _, _, err := r.frames.next(offerFrames); err != nil {
		t.Fatal(err)
	}
	r.write(t, r.encoder.frame(nil, kindSnapshotOfferReply, &snapshotOfferReply{}, headerBytes+maxSmallBody))
	return r
}

// Goal: a newer snapshot for a peer takes the place of the one under way, and
// each call ends once. Method: a receiver whose disk hangs; three calls; then
// the disk goes on.
func TestNewerSnapshotTakesThePlaceOfTheOlder(t *testing.T) {
	p := newPair(t, 3*snapshotChunkBytes, func(c *Config) { c.CallTimeout, c.StallTimeout = time.Hour, time.Hour })
	p.shelf1.files[[2]uint64{8, 2}] = p.file[:1000]
	p.shelf2.block = make(chan struct{})
	var results []*result
	for n := range 3 {
		r := newResult()
		results = append(results, r)
		p.n1.Send(install("n2", 5, []uint64{7, 7, 8}[n]), r.done)
		if n == 0 {
			eventually(t, "the first has begun", func() bool { return len(p.shelf2.resumedAt()) == 1 })
		}
	}
	if results[0].wait(t) != nil || results[1].wait(t) != nil {
		t.Fatal("a snapshot that was replaced was answered")
	}
	close(p.shelf2.block)
	if results[2].wait(t) == nil || p.shelf2.get(8, 2) != p.file[:1000] {
		t.Fatalf("the newest: answered %v", results[2].reply)
	}
}

// Goal: snapshots are received one at a time, because there is one place for them
// on the disk: a newer one waits until the disk has let go of the older. Method:
// a disk that holds a chunk while a raw peer makes the next offer.
func TestSnapshotsAreReceivedOneAtATime(t *testing.T) {
	p := newPair(t, 1000, func(c *Config) { c.StallTimeout = time.Hour })
	p.shelf2.block = make(chan struct{})
	letGo := sync.OnceFunc(func() { close(p.shelf2.block) })
	t.Cleanup(letGo)
	first := newResult()
	p.n1.Send(install("n2", 5, 7), first.done)
	eventually(t, "the disk has the first chunk", func() bool { return p.shelf2.blocked.Load() == 1 })
	// The raw peer speaks for the process that n2 knows.
	next := offerRawBy(t, p.n2, p.n1.ownHello("n2"), sampleOffer())
	if first.wait(t) != nil { // the newer offer has ended it
		t.Fatal("a snapshot that was replaced was answered")
	}
	if err := next.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if k, _, err := next.frames.next(offerReplyFrames); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the next offer was answered while the disk held the first snapshot: kind 0x%02x, %v", uint8(k), err)
	}
	if err := next.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	letGo()
	if k, _, err := next.frames.next(offerReplyFrames); err != nil || k != kindSnapshotOfferReply {
		t.Fatalf("kind 0x%02x, %v", uint8(k), err)
	}
}

// Goal: of two servers that both send a snapshot, the newer offer wins, and a
// sender that stands still holds nobody up. Method: a raw peer makes an offer
// and stops; a real one sends its own.
func TestNewestOfferIsTaken(t *testing.T) {
	l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String(), "n3": "127.0.0.1:1"}
	shelf1, shelf2 := newShelf(), newShelf()
	shelf1.files[[2]uint64{7, 2}] = someBytes(100_000)
	n1 := start(t, "n1", l1, addrs, func(c *Config) { c.Snapshots = shelf1 }, nil)
	n2 := start(t, "n2", l2, addrs, func(c *Config) { c.Snapshots = shelf2; c.StallTimeout = time.Hour }, nil)
	connected(t, n1, 1)
	stuck := offerRaw(t, n2, "n3", sampleOffer())
	if k, _, err := stuck.frames.next(offerReplyFrames); err != nil || k != kindSnapshotOfferReply {
		t.Fatalf("kind 0x%02x, %v", uint8(k), err)
	}
	stuck.write(t, stuck.encoder.chunk(nil, 0, []byte("a beginning")))
	eventually(t, "the beginning is there", func() bool { return n2.Stats().Peers["n3"].SnapshotBytesReceived > 0 })
	r := newResult()
	n1.Send(install("n2", 5, 7), r.done)
	if r.wait(t) == nil || shelf2.get(7, 2) != shelf1.get(7, 2) {
		t.Fatalf("answered %v", r.reply)
	}
	stuck.ended(t)
	if got := len(n2.received()); got != 1 {
		t.Fatalf("%d requests reached the Handler", got)
	}
}

// offerRaw connects to s as peer id and makes an offer.
func offerRaw(t testing.TB, s *server, id core.ID, offer *snapshotOffer) *raw {
	t.Helper()
	h := validHello(id, s.config.ID)
	h.Bootstrap = s.bootstrap[:]
	return offerRawBy(t, s, h, offer)
}

// offerRawBy is offerRaw of the peer that says this hello.
func offerRawBy(t testing.TB, s *server, who *hello, offer *snapshotOffer) *raw {
	t.Helper()
	r := dialRaw(t, s.config.Listener.Addr().String())
	r.frames = newFrameReader(r.Conn, chunkBuffer)
	r.write(t, r.encoder.hello(nil, kindTransferHello, who))
	if k, _, err := r.frames.next(transferGreetingFrames); err != nil || k != kindTransferHello {
		t.Fatalf("no hello came back: kind 0x%02x, %v", uint8(k), err)
	}
	r.write(t, r.encoder.frame(nil, kindSnapshotOffer, offer, headerBytes+maxSmallBody))
	return r
}

// Goal: what is not the protocol ends a transfer, is counted, and leaves what
// had arrived alone. Method: a good chunk, then each bad thing.
func TestBadChunksEndTheTransfer(t *testing.T) {
	e := newEncoder()
	next := int64(len("beginning"))
	spoiled := e.chunk(nil, next, []byte("data"))
	spoiled[len(spoiled)-1] ^= 1
	long := e.frame(nil, kindSnapshotChunk, &snapshotChunk{Offset: uint64(next), Data: make([]byte, snapshotChunkBytes+1)}, 1<<20)
	for name, b := range map[string][]byte{
		"a flipped bit":           spoiled,
		"a gap":                   e.chunk(nil, next+1, []byte("data")),
		"the same chunk twice":    e.chunk(nil, 0, []byte("beginning")),
		"an offset of 2^64-1":     e.chunk(nil, -1, []byte("data")),
		"more than was offered":   e.chunk(nil, next, make([]byte, 1000)),
		"an empty chunk":          e.chunk(nil, next, nil),
		"a chunk that is long":    long,
		"a request":               frameOf(kindReadIndex, []byte{0x91, 1}),
		"a second offer":          e.frame(nil, kindSnapshotOffer, sampleOffer(), headerBytes+maxSmallBody),
		"a second hello":          e.hello(nil, kindTransferHello, validHello("n2", "n1")),
		"a huge length":           announce(kindSnapshotChunk, 0xffffffff),
		"an extension bomb":       frameOf(kindSnapshotChunk, []byte{0x93, 9, 9, 0xc9, 0xff, 0xff, 0xff, 0xff, 1}),
		"a checksum of 64 bits":   frameOf(kindSnapshotChunk, []byte{0x93, 9, 0xcf, 255, 255, 255, 255, 255, 255, 255, 255, 0xd4, 1, 1}),
		"bytes that mean nothing": bytes.Repeat([]byte{0xee}, 300),
	} {
		shelf := newShelf()
		s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) { c.Snapshots = shelf }, nil)
		offer := sampleOffer()
		offer.Size = 500
		p := offerRaw(t, s, "n2", offer)
		p.write(t, e.chunk(nil, 0, []byte("beginning")))
		p.write(t, b)
		if k, _, err := p.frames.next(offerReplyFrames); err != nil || k != kindSnapshotOfferReply {
			t.Fatalf("%s: kind 0x%02x, %v", name, uint8(k), err)
		}
		p.ended(t)
		eventually(t, name+": counted", func() bool {
			st := s.Stats().Total
			return st.Malformed == 1 && st.SnapshotsFailed == 1
		})
		if string(shelf.partial) != "beginning" || shelf.finishes != 0 || len(s.received()) != 0 {
			t.Errorf("%s: stored %d bytes, %d finished, %d requests", name, len(shelf.partial), shelf.finishes, len(s.received()))
		}
		s.Close()
	}
}

// Goal: an offer that makes no sense reaches no disk. Method: a table.
func TestBadOffersReachNoDisk(t *testing.T) {
	for name, change := range map[string]func(*snapshotOffer){
		"no bytes":      func(o *snapshotOffer) { o.Size = 0 },
		"2^63 bytes":    func(o *snapshotOffer) { o.Size = 1 << 63 },
		"no index":      func(o *snapshotOffer) { o.SnapshotIndex = 0 },
		"a short id":    func(o *snapshotOffer) { o.ID = o.ID[:31] },
		"no id":         func(o *snapshotOffer) { o.ID = nil },
		"a long leader": func(o *snapshotOffer) { o.LeaderID = longestID + "x" },
	} {
		shelf := newShelf()
		s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) { c.Snapshots = shelf }, nil)
		offer := sampleOffer()
		change(offer)
		offerRaw(t, s, "n2", offer).ended(t)
		eventually(t, name+": counted", func() bool { return s.Stats().Total.Malformed == 1 })
		if len(shelf.resumed) != 0 {
			t.Errorf("%s: reached the disk", name)
		}
		s.Close()
	}
}

// Goal: a receiver whose disk is full loses the call and nothing else, says so
// once at both ends, and takes the snapshot when there is room. Method: a shelf
// that fails, asked again and again.
func TestFullDiskAtTheReceiver(t *testing.T) {
	var log logbook
	p := newPair(t, 100_000, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	p.shelf2.fail = errors.New("no space left on device")
	for range 3 {
		r := newResult()
		p.n1.Send(install("n2", 5, 7), r.done)
		if r.wait(t) != nil {
			t.Fatal("answered though the disk is full")
		}
	}
	text := log.String()
	if strings.Count(text, "no space left") != 1 || strings.Count(text, "it will be tried again") != 1 || !strings.Contains(text, `gives up: \"storage\"`) {
		t.Fatalf("the log says:\n%s", text)
	}
	p.shelf2.mu.Lock()
	p.shelf2.fail = nil
	p.shelf2.mu.Unlock()
	r := newResult()
	p.n1.Send(install("n2", 5, 7), r.done)
	if r.wait(t) == nil || p.shelf2.get(7, 2) != p.file {
		t.Fatal("not taken though there is room")
	}
	if got := len(p.n2.received()); got != 1 {
		t.Fatalf("%d requests reached the Handler", got)
	}
}

// Goal: calls that cannot come to anything are lost at once or refused by name.
// Method: no Snapshots here, none there, no such file, no connection, closed.
func TestInstallSnapshotThatCannotBe(t *testing.T) {
	for name, tweak := range map[string]func(*Config){
		"we have no snapshots":  func(c *Config) { c.Snapshots = nil },
		"the peer takes none":   func(c *Config) { c.Snapshots = map[bool]Snapshots{true: c.Snapshots}[c.ID == "n1"] },
		"there is no such file": func(c *Config) { c.Snapshots = newShelf() },
	} {
		p := newPair(t, 1000, tweak)
		r := newResult()
		p.n1.Send(install("n2", 5, 7), r.done)
		if r.wait(t) != nil || len(p.n2.received()) != 0 {
			t.Errorf("%s: answered %v", name, r.reply)
		}
		p.n1.Close()
		p.n2.Close()
	}
	p := newPair(t, 1000, nil)
	p.n2.Close()
	eventually(t, "the connection is gone", func() bool { return !p.n1.Stats().Total.Connected })
	r := newResult()
	p.n1.Send(install("n2", 5, 7), r.done)
	if r.wait(t) != nil {
		t.Error("answered without a connection")
	}
	p.n1.Close()
	r = newResult()
	p.n1.Send(install("n2", 5, 7), r.done)
	if r.wait(t) != nil {
		t.Error("answered after Close")
	}
}

// Goal: a Handler that has no answer loses the call; one that answers late is
// waited for. Method: both.
func TestAnswersToInstallSnapshot(t *testing.T) {
	p := newPair(t, 1000, nil)
	p.n2.respond = func(_ core.ID, _ core.Request, answer func(core.Reply)) { answer(nil) }
	r := newResult()
	p.n1.Send(install("n2", 5, 7), r.done)
	if r.wait(t) != nil {
		t.Fatalf("answered %v", r.reply)
	}
	var late func(core.Reply)
	got := make(chan struct{})
	p.n2.respond = func(_ core.ID, _ core.Request, answer func(core.Reply)) { late = answer; close(got) }
	r = newResult()
	p.n1.Send(install("n2", 5, 7), r.done)
	<-got
	late(&core.InstallSnapshotReply{Term: 6})
	if reply, ok := r.wait(t).(*core.InstallSnapshotReply); !ok || reply.Term != 6 {
		t.Fatalf("answered %v", r.reply)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second answer was taken")
		}
	}()
	late(&core.InstallSnapshotReply{Term: 6})
}

// Goal: snapshots leave at the configured rate, and together at that rate.
// Method: reserve places for two senders in turn, in made-up time.
func TestLimiter(t *testing.T) {
	p := &limiter{rate: 1 << 20}
	now := time.Now()
	var due time.Duration
	for range 160 { // 10 MiB
		due = p.reserve(64<<10, now)
	}
	if due < 9900*time.Millisecond || due > 10*time.Second {
		t.Fatalf("the last of 10 MiB at 1 MiB/s leaves after %v", due)
	}
	now = now.Add(time.Hour)
	if due := p.reserve(64<<10, now); due > 0 {
		t.Fatalf("after an hour the first waits %v", due)
	}
	if due := p.reserve(64<<10, now); due < 60*time.Millisecond-limiterSlack {
		t.Fatalf("an idle hour is made up for: the second waits %v", due)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.wait(ctx, 1<<30); !errors.Is(err, context.Canceled) {
		t.Fatalf("waiting ended with %v", err)
	}
}
