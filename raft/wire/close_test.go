package wire

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// Goal: Close in the middle of everything ends every call exactly once and all
// goroutines, and nothing reaches the Handler afterwards. Method: three servers
// under load, strangers on their doorstep and answers still held; close all at
// once, a few times over.
func TestCloseUnderLoadEndsEverything(t *testing.T) {
	noLeak(t)
	for round := range 5 {
		servers := cluster(t, 3, nil)
		stranger := dialRaw(t, servers["n1"].config.Listener.Addr().String())
		stop := make(chan struct{})
		var sending sync.WaitGroup
		type tally struct {
			*outcomes
			sent int
		}
		var tallies []*tally
		for from, s := range servers {
			for to := range servers {
				if from == to {
					continue
				}
				y := &tally{outcomes: newOutcomes()}
				tallies = append(tallies, y)
				sending.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						y.sent++
						if y.sent%100 == 0 {
							time.Sleep(100 * time.Microsecond) // leave the processor to the others
						}
						s.Send(load(to, uint64(y.sent), 300), y.done)
					}
				})
			}
		}
		eventually(t, "some load", func() bool { return servers["n1"].Stats().Total.FramesReceived > 500 })
		var closing sync.WaitGroup
		for _, s := range servers {
			for range 2 { // a second Close waits like the first
				closing.Go(func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
		closing.Wait()
		before := make(map[core.ID]int)
		for id, s := range servers {
			before[id] = len(s.received()) + len(s.suspected())
		}
		close(stop)
		sending.Wait()
		for _, y := range tallies {
			if y.count() != y.sent {
				t.Fatalf("round %d: %d of %d calls are done after Close", round, y.count(), y.sent)
			}
			y.once(t, y.sent)
		}
		for id, s := range servers {
			if after := len(s.received()) + len(s.suspected()); after != before[id] {
				t.Fatalf("the Handler of %s was called after Close", id)
			}
			if st := s.Stats(); st.Strangers != 0 || st.Total.CallsInFlight != 0 || st.Total.Connected || st.Total.Accepted {
				t.Fatalf("%s after Close: %+v", id, st)
			}
		}
		stranger.ended(t)
	}
}

// Goal: there are as few goroutines as promised: an acceptor, one that
// tells how far the disk has come, a dialler per peer, two per connection. Method: count the stacks of three idle servers, once
// the connections stand and however often they are made anew.
func TestGoroutinesAreFew(t *testing.T) {
	noLeak(t)
	running := func() int {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return strings.Count(string(stacks), "created by sync.(*WaitGroup).Go")
	}
	servers := cluster(t, 3, nil)
	const want = 3 * (2 + 2 + 2*2*2) // each has two peers and a connection in each direction
	for range 3 {
		eventually(t, "the promised number of goroutines", func() bool { return running() == want })
		servers["n1"].now().members["n2"].out.Load().fail(errCallTimeout)
		connected(t, servers["n1"], 2)
		connected(t, servers["n2"], 2)
	}
}

// Goal: Close waits for whoever is within the Handler. Method: a Handler that is
// stuck on a request; Close must not return before it is let go.
func TestCloseWaitsForTheHandler(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		gate := make(chan struct{})
		r := &recorder{respond: func(core.ID, core.Request, func(core.Reply)) { <-gate }}
		network := newPipes()
		s := startOn(t, network, "n1", twoOnPipes, nil, r)
		p := greetPipe(t, network, "n2", "n1")
		b, err := p.encoder.request(nil, ping("n1", 1).Request)
		if err != nil {
			t.Fatal(err)
		}
		p.write(t, b)
		synctest.Wait() // now the Handler is stuck
		closed := make(chan error, 1)
		var closing sync.WaitGroup
		closing.Go(func() { closed <- s.Close() })
		synctest.Wait()
		if len(r.received()) != 1 || len(closed) != 0 {
			t.Fatalf("%d requests handed over, closed %d times while the Handler was stuck", len(r.received()), len(closed))
		}
		close(gate)
		closing.Wait()
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		p.Close()
	})
}

// Goal: Close before Start, and Start after Close, do no harm. Method: both,
// and a listener that must be closed.
func TestCloseWithoutStart(t *testing.T) {
	noLeak(t)
	l := listen(t, "127.0.0.1:0")
	transport, err := New(Config{ClusterID: "c", ID: "n1", Listener: l, Peers: map[core.ID]string{"n2": "127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Fatal("the listener still listens")
	}
	transport.Start(&recorder{})
}

// Goal: an answer that comes after its connection or the whole transport is
// gone does nothing. Method: keep answers, close, give them.
func TestLateAnswersGoNowhere(t *testing.T) {
	answers := make(chan func(core.Reply), 2)
	r := &recorder{respond: func(_ core.ID, _ core.Request, answer func(core.Reply)) { answers <- answer }}
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, nil, r)
	p := greetRaw(t, s, "n2")
	b, err := p.encoder.request(nil, ping("n1", 1).Request)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, append(b, b...))
	first, second := <-answers, <-answers
	p.Close()
	eventually(t, "the suspicion", func() bool { return len(s.suspected()) == 1 })
	first(&core.TimeoutNowReply{})
	s.Close()
	second(&core.TimeoutNowReply{})
	if n := s.Stats().Total.FramesSent; n != 0 {
		t.Fatalf("%d answers were sent", n)
	}
}
