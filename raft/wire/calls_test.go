package wire

import (
	"bytes"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"raftkv/raft/core"
)

// Goal: under heavy pipelining requests arrive in the order of Send, and every
// answer comes to its call. Method: three servers, each sends 3,000 numbered
// calls of changing sizes to each other one, all at once; what arrived must be
// the numbers in order, what came back must carry the call's number.
func TestCallsKeepTheirOrderAndFindTheirAnswers(t *testing.T) {
	noLeak(t)
	const each = 3000
	servers := cluster(t, 3, func(c *Config) { c.MaxCalls, c.MaxCallBytes = each, 1<<30 })
	var sending sync.WaitGroup
	ends := make(map[[2]core.ID]*outcomes)
	for from, s := range servers {
		for to := range servers {
			if from == to {
				continue
			}
			o := newOutcomes()
			ends[[2]core.ID{from, to}] = o
			sending.Go(func() {
				rng := rand.New(rand.NewPCG(1, 2))
				for n := uint64(1); n <= each; n++ {
					call := ping(to, n)
					if rng.IntN(4) == 0 {
						call = load(to, n, rng.IntN(2000))
					}
					s.Send(call, o.done)
				}
			})
		}
	}
	sending.Wait()
	for pair, o := range ends {
		eventually(t, "all calls are done", func() bool { return o.count() == each })
		o.once(t, each)
		if o.countLost() != 0 {
			t.Fatalf("%v: %d calls were lost", pair, o.countLost())
		}
		for i, term := range o.terms {
			if term != uint64(i)+1 || o.reply[term] != term {
				t.Fatalf("%v: call %d ended at place %d with answer %d", pair, term, i+1, o.reply[term])
			}
		}
	}
	for id, s := range servers {
		if got := len(s.received()); got != 2*each {
			t.Fatalf("%s received %d requests of %d", id, got, 2*each)
		}
		if st := s.Stats().Total; st.Calls != 2*each || st.FramesReceived != 4*each || st.LostCalls != 0 || st.Malformed != 0 {
			t.Fatalf("%s: stats %+v", id, st)
		}
	}
}

// Goal: the requests of one peer are handed over in order. Method: collect the
// numbers at the receiver while the answers come from many goroutines.
func TestRequestsAreHandedOverInOrder(t *testing.T) {
	const n = 2000
	l := listen(t, "127.0.0.1:0")
	l2 := listen(t, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l.Addr().String(), "n2": l2.Addr().String()}
	var later sync.WaitGroup
	n2 := start(t, "n2", l2, addrs, nil, &recorder{respond: func(from core.ID, request core.Request, answer func(core.Reply)) {
		later.Go(func() { echo(from, request, answer) })
	}})
	n1 := start(t, "n1", l, addrs, func(c *Config) { c.MaxCalls = n }, nil)
	connected(t, n1, 1)
	o := newOutcomes()
	for i := uint64(1); i <= n; i++ {
		n1.Send(ping("n2", i), o.done)
	}
	eventually(t, "all calls are done", func() bool { return o.count() == n })
	later.Wait()
	for i, request := range n2.received() {
		if got := callTerm(request); got != uint64(i)+1 {
			t.Fatalf("request %d arrived at place %d", got, i+1)
		}
	}
	for i, term := range o.terms {
		if term != uint64(i)+1 || o.reply[term] != term {
			t.Fatalf("call %d ended at place %d with answer %d", term, i+1, o.reply[term])
		}
	}
}

// Goal: an answer that is ready early waits for those before it. Method: the
// receiver answers ten requests backwards; a raw caller sees no byte before the
// first request is answered, and then all answers in order.
func TestAnswersAreSentInTheOrderOfTheRequests(t *testing.T) {
	type held struct {
		term   uint64
		answer func(core.Reply)
	}
	requests := make(chan held, 10)
	r := &recorder{respond: func(_ core.ID, request core.Request, answer func(core.Reply)) {
		requests <- held{callTerm(request), answer}
	}}
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, nil, r)
	caller := greetRaw(t, s, "n2")
	var out []byte
	for n := uint64(1); n <= 10; n++ {
		b, err := caller.encoder.request(out, ping("n1", n).Request)
		if err != nil {
			t.Fatal(err)
		}
		out = b
	}
	caller.write(t, out)
	var waiting []held
	for range 10 {
		waiting = append(waiting, <-requests)
	}
	for i := 9; i > 0; i-- {
		waiting[i].answer(&core.TimeoutNowReply{Term: waiting[i].term})
	}
	if st := s.Stats().Total; st.FramesSent != 0 || st.RequestsHeld != 10 {
		t.Fatalf("%d answers left before the first was there; %d requests held", st.FramesSent, st.RequestsHeld)
	}
	waiting[0].answer(nil) // there is none: that must not hold up the others
	for n := uint64(1); n <= 10; n++ {
		k, body, err := caller.frames.next(answerFrames)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := caller.decoder.reply(k, body)
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			if reply != nil {
				t.Fatalf("the first answer is %+v, not none", reply)
			}
		} else if got := reply.(*core.TimeoutNowReply).Term; got != n {
			t.Fatalf("answer %d came where %d belongs", got, n)
		}
	}
	if st := s.Stats().Total; st.RequestsHeld != 0 {
		t.Fatalf("%d requests are held after all answers", st.RequestsHeld)
	}
}

// Goal: a request without an answer ends as lost and the connection lives on.
// Method: a receiver that has no answer for every second request.
func TestNoAnswerLosesOneCallOnly(t *testing.T) {
	l, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l.Addr().String(), "n2": l2.Addr().String()}
	start(t, "n2", l2, addrs, nil, &recorder{respond: func(from core.ID, request core.Request, answer func(core.Reply)) {
		if callTerm(request)%2 == 0 {
			answer(nil)
			return
		}
		echo(from, request, answer)
	}})
	n1 := start(t, "n1", l, addrs, nil, nil)
	connected(t, n1, 1)
	o := newOutcomes()
	for n := uint64(1); n <= 100; n++ {
		n1.Send(ping("n2", n), o.done)
	}
	eventually(t, "all calls are done", func() bool { return o.count() == 100 })
	o.once(t, 100)
	if o.countLost() != 50 || o.reply[99] != 99 || n1.Stats().Total.Connects != 1 {
		t.Fatalf("%d calls lost, %d connects", o.countLost(), n1.Stats().Total.Connects)
	}
}

// Goal: two answers to one request, or one of the wrong type, are a mistake
// that is noticed, because the next call would get the wrong answer. Method:
// make both and recover.
func TestWrongAnswersPanic(t *testing.T) {
	for name, misuse := range map[string]func(answer func(core.Reply)){
		"twice":      func(answer func(core.Reply)) { answer(&core.TimeoutNowReply{}); answer(&core.TimeoutNowReply{}) },
		"wrong type": func(answer func(core.Reply)) { answer(&core.ReadIndexReply{}) },
	} {
		answers := make(chan func(core.Reply), 1)
		r := &recorder{respond: func(_ core.ID, _ core.Request, answer func(core.Reply)) { answers <- answer }}
		s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, nil, r)
		caller := greetRaw(t, s, "n2")
		b, err := caller.encoder.request(nil, ping("n1", 1).Request)
		if err != nil {
			t.Fatal(err)
		}
		caller.write(t, b)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse(<-answers)
		}()
	}
}

// Goal: entries that were handed over are never overwritten by what comes
// later. Method: send many requests whose entries all differ, keep them at the
// receiver, compare at the end.
func TestEntriesStayAsTheyCame(t *testing.T) {
	servers := cluster(t, 2, func(c *Config) { c.MaxCallBytes = 1 << 30 })
	o := newOutcomes()
	sizes := []int{0, 1, 100, 1000, smallBytes - 200, smallBytes, smallBytes + 1, 300_000}
	content := func(n int) []byte { return bytes.Repeat([]byte{byte(n), byte(n >> 8), 0xa5}, sizes[n%len(sizes)]/3+1) }
	const n = 400
	for i := 1; i <= n; i++ {
		servers["n1"].Send(core.Call{To: "n2", Request: &core.AppendEntries{Term: uint64(i), Entries: []core.Entry{core.NewEntry(1, 0, core.KindCommand, content(i))}}}, o.done)
	}
	eventually(t, "all calls are done", func() bool { return o.count() == n })
	if o.countLost() != 0 {
		t.Fatalf("%d calls were lost", o.countLost())
	}
	for i, request := range servers["n2"].received() {
		if got := request.(*core.AppendEntries).Entries[0].Data; !bytes.Equal(got, content(i+1)) {
			t.Fatalf("the entry of request %d is not what was sent", i+1)
		}
	}
}

// countingConn counts writes and can hold up one of them.
type countingConn struct {
	net.Conn
	mu     sync.Mutex
	writes int
	gate   chan struct{} // nil: no write waits
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	gate := c.gate
	c.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return c.Conn.Write(b)
}

// Goal: a burst of calls leaves in one write. Method: hold up the write of one
// call, queue a hundred behind it, let go, and count writes: two more at most.
func TestABurstLeavesInOneWrite(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go func() { // a peer that reads everything
		var b [4096]byte
		for {
			if _, err := far.Read(b[:]); err != nil {
				return
			}
		}
	}()
	conn := &countingConn{Conn: near, gate: make(chan struct{})}
	transport, err := New(Config{ClusterID: "c", ID: "n1", Listener: newPipes().listen("n1"), Peers: map[core.ID]string{"n2": "n2:1"}})
	if err != nil {
		t.Fatal(err)
	}
	transport.handler = &recorder{}
	c := newOutbound(transport, transport.now().members["n2"], conn, newFrameReader(conn, answerBuffer), newDecoder())
	var writer sync.WaitGroup
	writer.Go(c.write)
	queue := func(n uint64) {
		c.send(pending{call: ping("n2", n), done: func(core.Call, core.Reply) {}, kind: kindTimeoutNow, bytes: 100})
	}
	queue(0)
	eventually(t, "the first write", func() bool { conn.mu.Lock(); defer conn.mu.Unlock(); return conn.writes == 1 })
	for n := uint64(1); n <= 100; n++ {
		queue(n)
	}
	conn.mu.Lock()
	close(conn.gate)
	conn.mu.Unlock()
	eventually(t, "all frames are written", func() bool { return transport.now().members["n2"].framesSent.Load() == 101 })
	if conn.writes != 2 {
		t.Fatalf("%d writes, 2 were enough", conn.writes)
	}
	c.fail(errTransportClosed)
	writer.Wait()
}

// Goal: Send answers at once whatever the state: unknown peer, no connection,
// before Start, after Close, a request that fits in no frame. Method: one call
// in each state must be lost before Send returns.
func TestSendWithoutAConnectionLosesAtOnce(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	transport, err := New(Config{ClusterID: "c", ID: "n1", Listener: l, Peers: map[core.ID]string{"n2": "127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	lost := func(when string, call core.Call) {
		t.Helper()
		ended := 0
		transport.Send(call, func(got core.Call, reply core.Reply) {
			ended++
			if reply != nil || got.To != call.To || got.Request != call.Request {
				t.Errorf("%s: ended with %+v for %+v", when, reply, got)
			}
		})
		if ended != 1 {
			t.Errorf("%s: the call ended %d times before Send returned", when, ended)
		}
	}
	lost("before Start", ping("n2", 1))
	transport.Start(&recorder{})
	lost("no connection", ping("n2", 2))
	lost("unknown peer", ping("n9", 3))
	lost("too large", load("n2", 4, MaxFrameBytes))
	if err := transport.Close(); err != nil {
		t.Fatal(err)
	}
	lost("after Close", ping("n2", 5))
	if err := transport.Close(); err != nil {
		t.Fatalf("closing again: %v", err)
	}
	if st := transport.Stats().Peers["n2"]; st.Calls != 4 || st.LostCalls != 4 || st.TooLarge != 1 || !st.LastContact.Equal(time.Time{}) {
		t.Fatalf("stats %+v", st)
	}
}
