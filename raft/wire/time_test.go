package wire

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// The tests of this file run in virtual time, over connections in memory.

// startOn starts a server on a network in memory.
func startOn(t *testing.T, network *pipes, id core.ID, peers map[core.ID]string, tweak func(*Config), r *recorder) *server {
	t.Helper()
	return start(t, id, network.listen(peers[id]), peers, func(c *Config) {
		c.Dial = network.dial
		if tweak != nil {
			tweak(c)
		}
	}, r)
}

var twoOnPipes = map[core.ID]string{"n1": "n1:1", "n2": "n2:1"}

// Goal: a call without an answer in time ends the connection with all its
// calls, once, nobody is suspected, and the peer is dialled again. Method: a
// peer that reads and never answers; virtual time up to and past the limit.
func TestCallWithoutAnswerTimesOut(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		network := newPipes()
		l2 := network.listen(twoOnPipes["n2"])
		defer l2.Close()
		n1 := startOn(t, network, "n1", twoOnPipes, func(c *Config) { c.CallTimeout = 5 * time.Second }, nil)
		n2 := acceptRaw(t, l2, "n2")
		synctest.Wait()
		time.Sleep(time.Hour) // an idle connection has no time-out
		o := newOutcomes()
		n1.Send(ping("n2", 1), o.done)
		n1.Send(ping("n2", 2), o.done)
		for range 2 {
			if _, _, err := n2.frames.next(requestFrames); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		if o.count() != 0 {
			t.Fatal("a call ended before its time")
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		o.once(t, 2)
		if st := n1.Stats().Total; o.countLost() != 2 || st.CallTimeouts != 1 || st.Suspects != 0 || len(n1.suspected()) != 0 {
			t.Fatalf("%d calls lost, stats %+v", o.countLost(), st)
		}
		acceptRaw(t, l2, "n2")
		synctest.Wait()
		if st := n1.Stats().Total; st.Connects != 2 || !st.Connected {
			t.Fatalf("not connected again: %+v", st)
		}
	})
}

// Goal: what counts is how long the oldest call waits, not how long the queue
// is. Method: ten calls at once, an answer every 4 s where the limit is 5 s;
// then no answer any more.
func TestSlowButSteadyAnswersAreNoTimeOut(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		network := newPipes()
		l2 := network.listen(twoOnPipes["n2"])
		defer l2.Close()
		n1 := startOn(t, network, "n1", twoOnPipes, func(c *Config) { c.CallTimeout = 5 * time.Second }, nil)
		n2 := acceptRaw(t, l2, "n2")
		synctest.Wait()
		o := newOutcomes()
		for n := uint64(1); n <= 10; n++ {
			n1.Send(ping("n2", n), o.done)
		}
		for range 10 {
			if _, _, err := n2.frames.next(requestFrames); err != nil {
				t.Fatal(err)
			}
		}
		for n := uint64(1); n <= 9; n++ {
			time.Sleep(4 * time.Second)
			n2.write(t, n2.encoder.reply(nil, &core.TimeoutNowReply{Term: n}))
		}
		synctest.Wait()
		if o.count() != 9 || o.countLost() != 0 {
			t.Fatalf("%d calls done, %d lost", o.count(), o.countLost())
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		o.once(t, 10)
		if o.countLost() != 1 || n1.Stats().Total.CallTimeouts != 1 {
			t.Fatalf("%d lost, stats %+v", o.countLost(), n1.Stats().Total)
		}
	})
}

// Goal: a large request has more time, so that a slow link is not taken for a
// dead one. Method: 2 MiB read at 1 Mbit/s, which takes 16 s, with a limit of
// 5 s on calls and on 64 KiB.
func TestLargeRequestMayTakeItsTimeOnASlowLink(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		network := newPipes()
		l2 := network.listen(twoOnPipes["n2"])
		defer l2.Close()
		n1 := startOn(t, network, "n1", twoOnPipes, nil, nil)
		n2 := acceptRaw(t, l2, "n2")
		synctest.Wait()
		o := newOutcomes()
		n1.Send(load("n2", 1, 2<<20), o.done)
		began := time.Now()
		var slow sync.WaitGroup
		slow.Go(func() {
			b := make([]byte, 16<<10)
			for total := 0; total < 2<<20; {
				time.Sleep(time.Second / 8)
				n, err := n2.Read(b)
				if err != nil {
					t.Errorf("given up after %d bytes and %v: %v", total, time.Since(began), err)
					return
				}
				total += n
			}
			n2.write(t, n2.encoder.reply(nil, &core.AppendEntriesReply{Term: 1, Success: true}))
		})
		go func() { // what is left of the frame once the reader above has had its 2 MiB
			slow.Wait()
			b := make([]byte, 1<<10)
			for {
				if _, err := n2.Read(b); err != nil {
					return
				}
			}
		}()
		slow.Wait()
		synctest.Wait()
		if o.count() != 1 || o.countLost() != 0 || time.Since(began) < 15*time.Second {
			t.Fatalf("%d done, %d lost after %v", o.count(), o.countLost(), time.Since(began))
		}
		n2.Close()
	})
}

// Goal: a peer that reads nothing does not keep the writer for ever. Method: a
// connection whose write never ends; the stall limit must end it, and its calls.
func TestStuckWriteIsGivenUp(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		network := newPipes()
		l2 := network.listen(twoOnPipes["n2"])
		defer l2.Close()
		n1 := startOn(t, network, "n1", twoOnPipes, func(c *Config) { c.CallTimeout, c.StallTimeout = time.Hour, 3*time.Second }, nil)
		acceptRaw(t, l2, "n2") // and never reads
		synctest.Wait()
		o := newOutcomes()
		n1.Send(ping("n2", 1), o.done)
		time.Sleep(2900 * time.Millisecond)
		synctest.Wait()
		if o.count() != 0 {
			t.Fatal("given up before its time")
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if st := n1.Stats().Total; o.countLost() != 1 || st.Stalls != 1 || st.Suspects != 0 {
			t.Fatalf("%d lost, stats %+v", o.countLost(), st)
		}
	})
}

// Goal: a large frame that has begun and stops is given up, also when its
// sender trickles; an idle connection is not. Method: half a frame; then one
// whose bytes come so slowly that 64 KiB would take for ever.
func TestFrameThatStopsIsGivenUp(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		network := newPipes()
		silent := &recorder{} // so that no answer can stall
		s := startOn(t, network, "n1", twoOnPipes, func(c *Config) { c.StallTimeout = 3 * time.Second }, silent)
		frame, err := newEncoder().request(nil, load("n1", 1, 200_000).Request)
		if err != nil {
			t.Fatal(err)
		}
		for i, trickle := range []bool{false, true} {
			p := greetPipe(t, network, "n2", "n1")
			time.Sleep(time.Hour)
			p.write(t, frame)
			synctest.Wait()
			if got := len(s.received()); got != i+1 {
				t.Fatalf("%d requests received", got)
			}
			time.Sleep(time.Hour)
			p.write(t, frame[:len(frame)/2])
			for n := 0; trickle && n < 20; n++ {
				time.Sleep(time.Second / 2)
				if _, err := p.Write(frame[n : n+1]); err != nil {
					break
				}
			}
			time.Sleep(3*time.Second + 1)
			synctest.Wait()
			if st := s.Stats().Total; st.Stalls != uint64(i)+1 || st.Accepted || st.Suspects != 0 {
				t.Fatalf("trickle %v: stats %+v", trickle, st)
			}
			p.Close()
		}
	})
}

// greetPipe connects to a server on a network in memory as peer from.
func greetPipe(t *testing.T, network *pipes, from, to core.ID) *raw {
	t.Helper()
	conn, err := network.dial(context.Background(), twoOnPipes[to])
	if err != nil {
		t.Fatal(err)
	}
	p := newRaw(conn)
	p.write(t, p.encoder.hello(nil, kindHello, validHello(from, to)))
	if k, _, err := p.frames.next(greetingFrames); err != nil || k != kindHello {
		t.Fatalf("no hello came back: kind 0x%02x, %v", uint8(k), err)
	}
	return p
}

// Goal: whoever connects and says nothing, or half a hello, is closed after the
// limit, on both sides. Method: silent raw connections, in and out.
func TestSilentStrangersAreClosed(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		network := newPipes()
		l2 := network.listen(twoOnPipes["n2"])
		defer l2.Close()
		n1 := startOn(t, network, "n1", twoOnPipes, nil, nil)
		var silent []net.Conn
		for _, say := range [][]byte{nil, {byte(kindHello), 30}} {
			conn, err := network.dial(context.Background(), twoOnPipes["n1"])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(say); err != nil {
				t.Fatal(err)
			}
			silent = append(silent, conn)
		}
		dialled, err := l2.Accept()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2900 * time.Millisecond)
		synctest.Wait()
		if st := n1.Stats(); st.Strangers != 2 || st.Total.DialFailures != 0 {
			t.Fatalf("before the limit: %+v", st)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if st := n1.Stats(); st.Strangers != 0 || st.Rejected[ReasonSilent] != 2 || st.Total.DialFailures != 1 {
			t.Fatalf("after the limit: %+v", st)
		}
		for _, conn := range append(silent, dialled) {
			conn.Close()
		}
	})
}

// Goal: attempts to connect back off up to the maximum, with jitter, start
// anew after a good hello, and are made at once when the peer shows up. Method:
// count attempts on a network where nobody listens; then let the peer connect.
func TestDiallingBacksOffAndWakesUp(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		network := newPipes()
		n1 := startOn(t, network, "n1", twoOnPipes, nil, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		failures := n1.Stats().Total.DialFailures
		if failures < 60 || failures > 135 { // pauses are 0.5 to 1 s, after eight shorter ones
			t.Fatalf("%d attempts in a minute", failures)
		}
		l2 := network.listen(twoOnPipes["n2"])
		defer l2.Close()
		p := greetPipe(t, network, "n2", "n1")
		began := time.Now()
		dialled := acceptRaw(t, l2, "n2")
		synctest.Wait()
		if took := time.Since(began); took != 0 || !n1.Stats().Total.Connected {
			t.Fatalf("dialled only %v after the peer had connected", took)
		}
		dialled.Close()
		began = time.Now()
		acceptRaw(t, l2, "n2")
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Fatalf("dialled again only after %v", took)
		}
		p.Close()
	})
}

// Goal: pauses double from the least to the most, and lie between a half and
// the whole. Method: look at a thousand of each.
func TestBackoff(t *testing.T) {
	spread := make(map[time.Duration]bool)
	for range 1000 {
		b := backoff{min: 10 * time.Millisecond, max: time.Second}
		for _, whole := range []time.Duration{10, 20, 40, 80, 160, 320, 640, 1000, 1000} {
			whole *= time.Millisecond
			got := b.next()
			if got < whole/2 || got > whole {
				t.Fatalf("a pause of %v where %v to %v belong", got, whole/2, whole)
			}
			spread[got] = true
		}
		b.reset()
		if got := b.next(); got > 10*time.Millisecond {
			t.Fatalf("a pause of %v after a reset", got)
		}
	}
	if len(spread) < 1000 {
		t.Fatalf("only %d different pauses", len(spread))
	}
}
