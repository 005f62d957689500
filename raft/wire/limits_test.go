package wire

import (
	"net"
	"sync"
	"testing"
	"time"

	"raftkv/raft/core"
)

// Goal: calls in flight are bounded in number and in bytes; what is beyond is
// lost at once, and there is room again when answers come. Method: a raw peer
// that does not answer until told.
func TestCallsInFlightAreBounded(t *testing.T) {
	const bytes = 10_000
	bound := frameBound(load("n2", 1, bytes).Request)
	for name, tweak := range map[string]func(*Config){
		"number": func(c *Config) { c.MaxCalls = 5 },
		"bytes":  func(c *Config) { c.MaxCallBytes = int64(5*bound + bound/2) },
	} {
		l2 := listen(t, "127.0.0.1:0")
		n1 := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l2.Addr().String()}, tweak, nil)
		n2 := acceptRaw(t, l2, "n2")
		eventually(t, "the connection", func() bool { return n1.Stats().Total.Connected })
		o := newOutcomes()
		for n := uint64(1); n <= 8; n++ {
			n1.Send(load("n2", n, bytes), o.done)
		}
		if o.countLost() != 3 || o.count() != 3 {
			t.Fatalf("%s: %d calls lost and %d done at once, not 3", name, o.countLost(), o.count())
		}
		if st := n1.Stats().Total; st.CallsInFlight != 5 || st.CallBytesInFlight != int64(5*bound) || st.LostCalls != 3 {
			t.Fatalf("%s: stats %+v", name, st)
		}
		for range 2 {
			if _, _, err := n2.frames.next(requestFrames); err != nil {
				t.Fatal(err)
			}
		}
		for n := uint64(1); n <= 2; n++ {
			n2.write(t, n2.encoder.reply(nil, &core.AppendEntriesReply{Term: n}))
		}
		eventually(t, "two answers", func() bool { return o.count() == 5 })
		for n := uint64(9); n <= 11; n++ {
			n1.Send(load("n2", n, bytes), o.done)
		}
		if o.countLost() != 4 {
			t.Fatalf("%s: %d calls lost, not 4", name, o.countLost())
		}
		n1.Close()
		o.once(t, 11)
		l2.Close()
	}
}

// Goal: a call always fits when there is no other, however small the limit.
// Method: a limit below one frame.
func TestOneCallAlwaysFits(t *testing.T) {
	l2 := listen(t, "127.0.0.1:0")
	defer l2.Close()
	n1 := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l2.Addr().String()}, func(c *Config) { c.MaxCallBytes = 1 }, nil)
	acceptRaw(t, l2, "n2")
	eventually(t, "the connection", func() bool { return n1.Stats().Total.Connected })
	o := newOutcomes()
	n1.Send(load("n2", 1, 100), o.done)
	n1.Send(load("n2", 2, 100), o.done)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.terms) != 1 || o.ends[2] != 1 {
		t.Fatalf("ended at once: %v, only call 2 should have", o.terms)
	}
}

// Goal: a peer's requests without an answer are bounded in number and in bytes,
// and reading goes on when answers are given. Method: a raw peer sends 50
// requests to a Handler that keeps its answers.
func TestRequestsWithoutAnAnswerAreBounded(t *testing.T) {
	const size = 1000
	for name, tweak := range map[string]func(*Config){
		"number": func(c *Config) { c.MaxRequests = 7 },
		"bytes":  func(c *Config) { c.MaxRequestBytes = 6*size + size/2 },
	} {
		var mu sync.Mutex
		var answers []func(core.Reply)
		r := &recorder{respond: func(_ core.ID, _ core.Request, answer func(core.Reply)) {
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, answer)
		}}
		s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, tweak, r)
		p := greetRaw(t, s, "n2")
		var out []byte
		for n := uint64(1); n <= 50; n++ {
			b, err := p.encoder.request(out, load("n1", n, size).Request)
			if err != nil {
				t.Fatal(err)
			}
			out = b
		}
		p.write(t, out)
		for given := 0; given < 50; given++ {
			want := min(50, given+7)
			eventually(t, name+": requests up to the bound", func() bool { return len(r.received()) == want })
			if st := s.Stats().Total; st.RequestsHeld > 7 {
				t.Fatalf("%s: %d requests are held", name, st.RequestsHeld)
			}
			mu.Lock()
			answer := answers[given]
			mu.Unlock()
			answer(&core.AppendEntriesReply{Term: uint64(given) + 1})
		}
		for n := uint64(1); n <= 50; n++ {
			_, body, err := p.frames.next(answerFrames)
			if err != nil {
				t.Fatal(err)
			}
			reply, err := p.decoder.reply(kindAppendEntriesReply, body)
			if err != nil || reply.(*core.AppendEntriesReply).Term != n {
				t.Fatalf("%s: answer %d is %+v, %v", name, n, reply, err)
			}
		}
		s.Close()
	}
}

// Goal: connections that have not said hello are bounded in all, and the bound
// leaves no trace once they are gone. Method: open more than the bound; the oldest
// is closed at once; after the others leave, a peer gets in.
func TestStrangersAreBounded(t *testing.T) {
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) { c.MaxStrangers = 3 }, nil)
	addr := s.config.Listener.Addr().String()
	var silent []*raw
	for range 3 {
		silent = append(silent, dialRaw(t, addr))
	}
	eventually(t, "three strangers", func() bool { return s.Stats().Strangers == 3 })
	silent = append(silent, dialRaw(t, addr))
	silent[0].ended(t)
	eventually(t, "the first is counted", func() bool { return s.Stats().Rejected[ReasonCrowded] == 1 })
	for _, p := range silent {
		p.Close()
	}
	eventually(t, "no strangers", func() bool { return s.Stats().Strangers == 0 })
	greetRaw(t, s, "n2")
	if n := s.Stats().Rejected[ReasonCrowded]; n != 1 {
		t.Fatalf("%d were turned away", n)
	}
}

// Goal: silent strangers, which need no certificate, do not keep a peer out by holding all
// places. Method: all places held, and taken again as soon as one is free; a peer dials.
func TestSilentStrangersKeepNoPeerOut(t *testing.T) {
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) {
		c.MaxStrangers = 8
	}, nil)
	addr := s.config.Listener.Addr().String()
	var holding sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		holding.Go(func() {
			for {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				over := make(chan struct{})
				go func() { defer close(over); _, _ = conn.Read(make([]byte, 1)) }()
				select {
				case <-over:
					conn.Close()
					time.Sleep(50 * time.Millisecond)
				case <-stop:
					conn.Close()
					<-over
					return
				}
			}
		})
	}
	eventually(t, "all places are taken", func() bool { return s.Stats().Strangers == 8 })
	greetRaw(t, s, "n2")
	if n := s.Stats().Strangers; n > 8 {
		t.Errorf("%d strangers have a place of 8", n)
	}
	close(stop)
	holding.Wait()
}

// Goal: a peer that has shown its certificate gives way to nobody, and places change hands
// no faster than handshakes may be computed. Method: connections that come and go at given
// times.
func TestWhoGivesWayOnTheDoorstep(t *testing.T) {
	d := doorstep{gaveWay: map[net.Conn]bool{}}
	conns := make([]net.Conn, 6)
	for i := range conns {
		conns[i], _ = net.Pipe()
	}
	now := time.Now()
	enter := func(i int, after time.Duration, gone net.Conn, ok bool) {
		t.Helper()
		now = now.Add(after)
		if g, is := d.enter(conns[i], 2, now); g != gone || is != ok || d.strangers != 2 && i > 0 {
			t.Errorf("connection %d: %v gives way, let in: %t, %d strangers", i, g, is, d.strangers)
		}
	}
	enter(0, 0, nil, true)
	enter(1, 0, nil, true)
	d.proved(conns[0])
	enter(2, 0, conns[1], true)
	enter(3, wayPause-1, nil, false)
	enter(4, 1, conns[2], true)
	d.proved(conns[4])
	enter(5, time.Hour, nil, false)
	for i, gaveWay := range map[int]bool{1: true, 2: true, 0: false, 4: false} {
		if d.leave(conns[i]) != gaveWay {
			t.Errorf("connection %d gave way: %t", i, !gaveWay)
		}
	}
	if d.strangers != 0 || len(d.unproved)+len(d.gaveWay) != 0 {
		t.Errorf("what is left: %+v", d)
	}
}

// Goal: a peer that does not read, and one whose requests the Handler does not
// take, hold up nobody else and never Send. Method: three peers, one raw that
// never reads, one that floods a Handler that is stuck on its first request;
// 500 calls to the third must all be answered meanwhile.
func TestStuckPeersHoldUpNobodyElse(t *testing.T) {
	noLeak(t)
	l1, l2, l3 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	defer l3.Close()
	addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String()}
	gate := make(chan struct{})
	r := &recorder{respond: func(from core.ID, request core.Request, answer func(core.Reply)) {
		if from == "n4" {
			<-gate
		}
		echo(from, request, answer)
	}}
	n1 := start(t, "n1", l1, addrs, func(c *Config) {
		c.MaxCallBytes = 64 << 20
		c.Peers["n3"], c.Peers["n4"] = l3.Addr().String(), "127.0.0.1:1"
	}, r)
	n2 := start(t, "n2", l2, addrs, func(c *Config) { c.Peers["n3"], c.Peers["n4"] = "127.0.0.1:1", "127.0.0.1:2" }, nil)
	acceptRaw(t, l3, "n3") // and never reads
	eventually(t, "the connections", func() bool {
		st := n1.Stats().Peers
		return st["n2"].Connected && st["n2"].Accepted && st["n3"].Connected
	})
	n4 := greetRaw(t, n1, "n4")
	b, err := n4.encoder.request(nil, ping("n1", 1).Request)
	if err != nil {
		t.Fatal(err)
	}
	n4.write(t, append(b, b...))

	stuck, fine := newOutcomes(), newOutcomes()
	for n := uint64(1); n <= 100; n++ { // far more than the kernel's buffers hold
		n1.Send(load("n3", n, 1<<20), stuck.done)
	}
	for n := uint64(1); n <= 500; n++ {
		n1.Send(ping("n2", n), fine.done)
	}
	back := newOutcomes()
	n2.Send(ping("n1", 1), back.done)
	eventually(t, "calls to and from the third peer", func() bool { return fine.count() == 500 && back.count() == 1 })
	if fine.countLost() != 0 || back.countLost() != 0 {
		t.Fatalf("%d and %d calls were lost", fine.countLost(), back.countLost())
	}
	if st := n1.Stats().Peers["n3"]; st.CallsInFlight == 0 || uint64(stuck.countLost()) != st.LostCalls {
		t.Fatalf("stats of the stuck peer: %+v", st)
	}
	close(gate)
	n1.Close()
	stuck.once(t, 100)
}
