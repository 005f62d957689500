package wire

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/tests/virtual"
)

// Goal: when a connection dies, every call without an answer is lost exactly
// once, and the peer is suspected, once. Method: a raw peer takes
// 100 of 500 calls, answers 10, and then closes or resets.
func TestDeathLosesAllCallsOnceAndIsSuspected(t *testing.T) {
	for _, reset := range []bool{false, true} {
		noLeak(t)
		l2 := listen(t, "127.0.0.1:0")
		defer l2.Close()
		n1 := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l2.Addr().String()}, nil, nil)
		n2 := acceptRaw(t, l2, "n2")
		eventually(t, "the connection", func() bool { return n1.Stats().Total.Connected })
		o := newOutcomes()
		for n := uint64(1); n <= 500; n++ {
			n1.Send(ping("n2", n), o.done)
		}
		for n := uint64(1); n <= 100; n++ {
			if _, _, err := n2.frames.next(requestFrames); err != nil {
				t.Fatal(err)
			}
		}
		var answers []byte
		for n := uint64(1); n <= 10; n++ {
			answers = n2.encoder.reply(answers, &core.TimeoutNowReply{Term: n})
		}
		n2.write(t, answers)
		eventually(t, "ten answers", func() bool { return o.count() == 10 })
		if reset {
			if err := n2.Conn.(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
		}
		n2.Close()
		eventually(t, "all calls are done", func() bool { return o.count() == 500 })
		o.once(t, 500)
		if o.countLost() != 490 {
			t.Fatalf("%d calls were lost, not 490", o.countLost())
		}
		if got := n1.suspected(); len(got) != 1 || got[0] != "n2" {
			t.Fatalf("suspected: %q", got)
		}
		if err := n1.Close(); err != nil {
			t.Fatal(err)
		}
		if got := n1.suspected(); len(got) != 1 {
			t.Fatalf("suspected after Close: %q", got)
		}
		o.once(t, 500)
	}
}

// Goal: a peer that dies while it only sends to us is suspected, too, and one
// that never said a valid hello is not. Method: raw connections from a peer and
// from a stranger, both closed.
func TestInboundDeathIsSuspectedOnlyAfterAHello(t *testing.T) {
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, nil, nil)
	stranger := dialRaw(t, s.config.Listener.Addr().String())
	stranger.Close()
	eventually(t, "the stranger is counted", func() bool { return s.Stats().Rejected[ReasonSilent] == 1 })
	if got := s.suspected(); len(got) != 0 {
		t.Fatalf("suspected: %q", got)
	}
	n2 := greetRaw(t, s, "n2")
	eventually(t, "the connection", func() bool { return s.Stats().Total.Accepted })
	n2.Close()
	eventually(t, "the suspicion", func() bool { return len(s.suspected()) == 1 })
	if st := s.Stats().Total; st.Suspects != 1 || st.Accepted {
		t.Fatalf("stats %+v", st)
	}
}

// Goal: connections that we close ourselves make nobody suspect on our side.
// Method: Close with connections both ways; a newer connection in place of an
// older; a malformed frame.
func TestOwnClosesAreNotSuspected(t *testing.T) {
	servers := cluster(t, 2, nil)
	servers["n1"].Close()
	eventually(t, "the other side's suspicion", func() bool { return len(servers["n2"].suspected()) > 0 })
	if got := servers["n1"].suspected(); len(got) != 0 {
		t.Fatalf("the closing side suspects %q", got)
	}

	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, nil, nil)
	first := greetRaw(t, s, "n2")
	second := greetRaw(t, s, "n2")
	first.ended(t)
	eventually(t, "the replacement is counted", func() bool { return s.Stats().Total.Replaced == 1 })
	second.write(t, []byte{0x77, 0, 0, 0, 0})
	second.ended(t)
	eventually(t, "the malformed frame is counted", func() bool { return s.Stats().Total.Malformed == 1 })
	if got := s.suspected(); len(got) != 0 {
		t.Fatalf("suspected %q", got)
	}
}

// Goal: a newer connection's requests never overtake those of the one that it
// replaces. Method: hold the Handler up with a request of the old connection,
// send one on a new connection, and wait until nothing moves any more: it must
// not have been handed over before the first was taken.
func TestReplacementKeepsTheOrder(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		gate := make(chan struct{})
		r := &recorder{respond: func(_ core.ID, request core.Request, _ func(core.Reply)) {
			if callTerm(request) == 1 {
				<-gate
			}
		}}
		network := newPipes()
		s := startOn(t, network, "n1", twoOnPipes, nil, r)
		var sending sync.WaitGroup
		send := func(p *raw, n uint64) {
			b, err := p.encoder.request(nil, ping("n1", n).Request)
			if err != nil {
				t.Fatal(err)
			}
			sending.Go(func() { _, _ = p.Write(b) }) // a pipe's write waits for the reader
		}
		first := greetPipe(t, network, "n2", "n1")
		send(first, 1)
		synctest.Wait()
		second := greetPipe(t, network, "n2", "n1")
		send(second, 2)
		synctest.Wait()
		if got := len(r.received()); got != 1 || s.Stats().Total.Replaced != 1 {
			t.Fatalf("%d requests were handed over while the Handler held the first", got)
		}
		close(gate)
		synctest.Wait()
		if got := len(r.received()); got != 2 {
			t.Fatalf("%d requests were handed over, not 2", got)
		}
		first.Close()
		second.Close()
		sending.Wait()
	})
}

// Goal: a peer that restarts is connected again in both directions quickly, and
// its new address for clients is known; while it is away the old one stays.
// Method: close a server, start another on the same port with a long pause
// between attempts to connect, so that only its hello can make us try at once.
func TestRestartReconnectsBothWays(t *testing.T) {
	noLeak(t)
	l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String()}
	life := map[core.ID]identity.Life{"n1": newLife(), "n2": newLife()}
	quick := func(c *Config) { c.Life = life[c.ID]; life[c.ID] = c.Life.Next(draw) }
	slow := func(c *Config) { quick(c); c.BackoffMin, c.BackoffMax = time.Hour, time.Hour }
	n1 := start(t, "n1", l1, addrs, quick, nil)
	n2 := start(t, "n2", l2, addrs, quick, nil)
	connected(t, n1, 1)
	n1.Close()
	n1 = start(t, "n1", listen(t, addrs["n1"]), addrs, slow, nil)
	connected(t, n1, 1)
	if got := n1.ClientAddr("n2"); got != "http-n2" {
		t.Fatalf("client address %q", got)
	}
	n2.Close()
	eventually(t, "the loss of both connections", func() bool {
		st := n1.Stats().Total
		return !st.Connected && !st.Accepted
	})
	if got := n1.ClientAddr("n2"); got != "http-n2" {
		t.Fatalf("client address %q while the peer is away", got)
	}
	n2 = start(t, "n2", listen(t, addrs["n2"]), addrs, func(c *Config) { quick(c); c.ClientAddr = "elsewhere" }, nil)
	began := time.Now()
	connected(t, n1, 1)
	t.Logf("connected both ways again after %v", time.Since(began))
	connected(t, n2, 1) // n1 has accepted n2's connection; n2 may not have read the answer yet
	if got := n1.ClientAddr("n2"); got != "elsewhere" {
		t.Fatalf("client address %q after the restart", got)
	}
	o := newOutcomes()
	n1.Send(ping("n2", 1), o.done)
	n2.Send(ping("n1", 1), o.done)
	eventually(t, "calls both ways", func() bool { return o.count() == 2 })
	if o.countLost() != 0 {
		t.Fatal("a call was lost after the restart")
	}
}

const childVariable = "WIRE_TEST_CHILD"

// TestMain runs the tests, or plays a server in a process of its own that waits
// to be killed.
func TestMain(m *testing.M) {
	if peer := os.Getenv(childVariable); peer != "" {
		playChild(peer)
		return
	}
	os.Exit(m.Run())
}

func playChild(peer string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	transport, err := New(Config{ClusterID: "c", ID: "n2", Listener: l, Peers: map[core.ID]string{"n1": peer}})
	if err != nil {
		panic(err)
	}
	transport.Start(&recorder{respond: echo})
	os.Stdout.WriteString(l.Addr().String() + "\n")
	var b [1]byte
	_, _ = os.Stdin.Read(b[:]) // ends with our parent, should it die before it kills us
}

// Goal: a peer that ends one connection of two is alive, so it is not suspected; it is when
// the other one ends, too. Before, a leader that took new certificates and ended the old
// connections one by one made its followers forget it, each for the time of a handshake,
// and a follower that it had cut off for good was elected meanwhile.
// Method: a raw peer, with a connection in each direction, ends them in both orders.
func TestAPeerThatEndsOneConnectionIsNotSuspected(t *testing.T) {
	for _, inboundFirst := range []bool{false, true} {
		l2 := listen(t, "127.0.0.1:0")
		defer l2.Close()
		n1 := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l2.Addr().String()}, nil, nil)
		first, last := acceptRaw(t, l2, "n2"), greetRaw(t, n1, "n2")
		eventually(t, "both connections", func() bool { st := n1.Stats().Total; return st.Connected && st.Accepted })
		l2.Close() // it does not connect again
		if inboundFirst {
			first, last = last, first
		}
		first.Close()
		eventually(t, "the first end is counted", func() bool { return n1.Stats().Total.Suspects == 1 })
		last.Close()
		eventually(t, "the suspicion", func() bool { return len(n1.suspected()) > 0 })
		if got, ends := len(n1.suspected()), n1.Stats().Total.Suspects; got != 1 || ends != 2 {
			t.Errorf("%d suspicions after %d ends", got, ends)
		}
		n1.Close()
	}
}

// Goal: kill -9 of a peer is noticed within milliseconds.
// Method: a real process, killed; the time until the suspicion is logged and
// has a bound that a busy machine keeps and waiting for a keep-alive does not.
func TestKilledPeerIsSuspectedWithinMilliseconds(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+l.Addr().String())
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	n1 := start(t, "n1", l, map[core.ID]string{"n2": strings.TrimSpace(line)}, nil, nil)
	connected(t, n1, 1)
	o := newOutcomes()
	n1.Send(ping("n2", 1), o.done)
	eventually(t, "an answer", func() bool { return o.count() == 1 })
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "the suspicion", func() bool { return len(n1.suspected()) > 0 })
	took := time.Since(began)
	_ = child.Wait() // "signal: killed" is what was asked for
	t.Logf("suspected after %v", took)
	if took > time.Second {
		t.Fatalf("the suspicion took %v", took)
	}
}
