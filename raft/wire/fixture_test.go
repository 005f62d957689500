package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
)

// patience is how long a test waits for something that must happen. It is
// reached only when a test fails.
const patience = 20 * time.Second

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// recorder is a Handler that keeps what it is told and answers with respond.
type recorder struct {
	respond func(from core.ID, request core.Request, answer func(core.Reply))
	forget  bool // keep no requests

	mu       sync.Mutex
	requests []core.Request
	suspects []core.ID
}

func (r *recorder) Receive(from core.ID, request core.Request, answer func(core.Reply)) {
	if !r.forget {
		r.mu.Lock()
		r.requests = append(r.requests, request)
		r.mu.Unlock()
	}
	if r.respond != nil {
		r.respond(from, request, answer)
	}
}

func (r *recorder) Suspect(peer core.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.suspects = append(r.suspects, peer)
}

func (r *recorder) received() []core.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]core.Request(nil), r.requests...)
}

func (r *recorder) suspected() []core.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]core.ID(nil), r.suspects...)
}

// echo answers every kind of request at once, with the request's term.
func echo(_ core.ID, request core.Request, answer func(core.Reply)) {
	switch m := request.(type) {
	case *core.RequestVote:
		answer(&core.RequestVoteReply{Term: m.Term, VoteGranted: true})
	case *core.AppendEntries:
		answer(&core.AppendEntriesReply{Term: m.Term, Success: true})
	case *core.TimeoutNow:
		answer(&core.TimeoutNowReply{Term: m.Term})
	case *core.ReadIndex:
		answer(&core.ReadIndexReply{Term: m.Term, Success: true})
	case *core.Rejoin:
		answer(&core.RejoinReply{Leads: true})
	case *core.InstallSnapshot:
		answer(&core.InstallSnapshotReply{Term: m.Term})
	}
}

// server is a started Transport with its Handler.
type server struct {
	*Transport
	*recorder
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// start makes a server of cluster "c" and starts it. peers is copied without id.
func start(t testing.TB, id core.ID, l net.Listener, peers map[core.ID]string, tweak func(*Config), r *recorder) *server {
	t.Helper()
	config := Config{ClusterID: "c", ID: id, Listener: l, Peers: map[core.ID]string{}, ClientAddr: "http-" + string(id)}
	for peer, addr := range peers {
		if peer != id {
			config.Peers[peer] = addr
		}
	}
	if tweak != nil {
		tweak(&config)
	}
	transport, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		r = &recorder{respond: echo}
	}
	s := &server{transport, r}
	t.Cleanup(func() { s.Close() })
	s.Start(r)
	return s
}

// cluster starts n servers n1, n2, … on loopback and waits until they are
// connected both ways.
func cluster(t testing.TB, n int, tweak func(*Config)) map[core.ID]*server {
	t.Helper()
	listeners := make(map[core.ID]net.Listener)
	addrs := make(map[core.ID]string)
	for i := range n {
		id := core.ID(fmt.Sprintf("n%d", i+1))
		listeners[id] = listen(t, "127.0.0.1:0")
		addrs[id] = listeners[id].Addr().String()
	}
	servers := make(map[core.ID]*server)
	for id, l := range listeners {
		servers[id] = start(t, id, l, addrs, tweak, nil)
	}
	for _, s := range servers {
		connected(t, s, n-1)
	}
	return servers
}

// connected waits until s stands in both directions with n peers.
func connected(t testing.TB, s *server, n int) {
	t.Helper()
	eventually(t, "connections both ways", func() bool {
		stand := 0
		for _, p := range s.Stats().Peers {
			if p.Connected && p.Accepted {
				stand++
			}
		}
		return stand == n
	})
}

// raw is a peer played by the test, byte by byte.
type raw struct {
	net.Conn
	frames  *frameReader
	encoder *encoder
	decoder *decoder
}

func newRaw(conn net.Conn) *raw {
	return &raw{conn, newFrameReader(conn, requestBuffer), newEncoder(), newDecoder()}
}

// dialRaw connects to a transport and says nothing.
func dialRaw(t testing.TB, addr string) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return newRaw(conn)
}

// greetRaw connects to s as peer id and exchanges hellos.
func greetRaw(t testing.TB, s *server, id core.ID) *raw {
	t.Helper()
	r := dialRaw(t, s.config.Listener.Addr().String())
	h := validHello(id, s.config.ID)
	h.Bootstrap = s.bootstrap[:]
	r.write(t, r.encoder.hello(nil, kindHello, h))
	if k, _, err := r.frames.next(greetingFrames); err != nil || k != kindHello {
		t.Fatalf("no hello came back: kind 0x%02x, %v", uint8(k), err)
	}
	return r
}

// acceptRaw accepts the connection that a transport dials and exchanges hellos.
func acceptRaw(t testing.TB, l net.Listener, id core.ID) *raw {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := newRaw(conn)
	k, body, err := r.frames.next(greetingFrames)
	if err != nil || k != kindHello {
		t.Fatalf("no hello came: kind 0x%02x, %v", uint8(k), err)
	}
	h, err := r.decoder.hello(k, body)
	if err != nil {
		t.Fatal(err)
	}
	own := validHello(id, h.From)
	own.Bootstrap = h.Bootstrap
	r.write(t, r.encoder.hello(nil, kindHello, own))
	return r
}

func validHello(from, to core.ID) *hello {
	members := bootstrapOf(slices.Sorted(slices.Values([]core.ID{from, to})))
	h := &hello{
		Magic: magic, Version: version, ClusterID: "c", From: from, To: to, ClientAddr: "http-" + string(from),
		UID: make(packedBytes, 16), Bootstrap: members[:], LevelMin: levels.Min, LevelMax: levels.Released, Addresses: packedBytes{},
	}
	return h.of(testLife)
}

// among makes a hello one of a server whose list of members is another one.
func (h *hello) among(ids ...core.ID) *hello {
	members := bootstrapOf(slices.Sorted(slices.Values(ids)))
	h.Bootstrap = members[:]
	return h
}

// testLife is the life of peers that tests play.
var testLife = identity.Life{Incarnation: identity.Incarnation{1}, Boot: 1, Nonces: []uint64{1}}

// of makes a hello one of the given life.
func (h *hello) of(l identity.Life) *hello {
	b := packLife(l)
	h.Incarnation, h.Boot, h.Nonces, h.Rejoined = b.incarnation, l.Boot, b.nonces, l.Rejoined
	return h
}

func (r *raw) write(t testing.TB, b []byte) {
	t.Helper()
	if _, err := r.Write(b); err != nil {
		t.Fatal(err)
	}
}

// ended waits until the other side has closed the connection.
func (r *raw) ended(t testing.TB) {
	t.Helper()
	var b [512]byte
	for {
		if _, err := r.Read(b[:]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection was not closed")
			}
			return
		}
	}
}

// outcomes gathers how calls ended, in the order in which they did.
type outcomes struct {
	mu    sync.Mutex
	terms []uint64          // the term of the call
	reply map[uint64]uint64 // term of the call to term of the reply
	ends  map[uint64]int    // how often each call ended
	lost  int
}

func newOutcomes() *outcomes {
	return &outcomes{reply: make(map[uint64]uint64), ends: make(map[uint64]int)}
}

func (o *outcomes) done(call core.Call, reply core.Reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	term := callTerm(call.Request)
	o.terms = append(o.terms, term)
	o.ends[term]++
	switch m := reply.(type) {
	case nil:
		o.lost++
	case *core.TimeoutNowReply:
		o.reply[term] = m.Term
	case *core.AppendEntriesReply:
		o.reply[term] = m.Term
	default:
		panic(fmt.Sprintf("a reply of type %T", reply))
	}
}

func (o *outcomes) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.terms)
}

func (o *outcomes) countLost() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost
}

// once fails the test unless each of the calls 1 to n ended exactly once.
func (o *outcomes) once(t testing.TB, n int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for term := uint64(1); term <= uint64(n); term++ {
		if o.ends[term] != 1 {
			t.Fatalf("call %d ended %d times, not once", term, o.ends[term])
		}
	}
}

func callTerm(request core.Request) uint64 {
	switch m := request.(type) {
	case *core.TimeoutNow:
		return m.Term
	case *core.AppendEntries:
		return m.Term
	}
	panic(fmt.Sprintf("a request of type %T", request))
}

// ping is call number n to a peer; its number is its term.
func ping(to core.ID, n uint64) core.Call {
	return core.Call{To: to, Request: &core.TimeoutNow{Term: n, LeaderID: "n1"}}
}

// load is call number n, with the given number of bytes of entries.
func load(to core.ID, n uint64, bytes int) core.Call {
	return core.Call{To: to, Request: &core.AppendEntries{
		Term: n, LeaderID: "n1", Entries: []core.Entry{core.NewEntry(1, 0, core.KindCommand, make([]byte, bytes))},
	}}
}

// noLeak fails the test if goroutines are left at its end that were not there
// at its beginning. It must be called before servers are started.
func noLeak(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
			}
			time.Sleep(time.Millisecond)
		}
	})
}
