package port

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// silent fills a port with connections on which nothing is said, and lets them grow old
// enough to make room.
func silent(p *Port, n int) (conns []*fakeConn, taken []*Conn) {
	for range n {
		f := &fakeConn{from: "127.0.0.1:1000"}
		conns, taken = append(conns, f), append(taken, p.take(f))
	}
	time.Sleep(2 * evictionAge)
	return conns, taken
}

func closedOf(conns []*fakeConn) (n int) {
	for _, f := range conns {
		if f.closed {
			n++
		}
	}
	return n
}

// Goal: a newcomer takes the place of one connection that keeps the server waiting, not of
// many, whose ends would all be dealt with before anything else.
// Method: a full port of silent connections, and newcomers.
func TestANewcomerClosesOneConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const places = 64
		p := newPort(func(c *Config) { c.MaxConnections = places })
		conns, _ := silent(p, places)
		for n := 1; n <= places; n++ {
			if p.take(&fakeConn{from: "127.0.0.1:1000"}) == nil {
				t.Fatalf("newcomer %d got no place", n)
			}
			if closed := closedOf(conns); closed != n {
				t.Fatalf("%d connections were closed for %d newcomers", closed, n)
			}
		}
	})
}

// Goal: no connection is closed for others that was chosen to be and has been used since, and
// one that came later is chosen again by its own age.
// Method: a look that chooses four connections, of which two get a request before their turn.
func TestAConnectionThatIsUsedAgainMakesNoRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const places = 4 * evictionBatch
		p := newPort(func(c *Config) { c.MaxConnections = places })
		conns, taken := silent(p, places)
		for i, c := range taken[:4] {
			c.since.Add(int64(i - 4)) // the first waits longest
		}
		come := func() { p.take(&fakeConn{from: "127.0.0.1:1000"}) }
		come()
		taken[1].Serving()
		noteState(taken[2], http.StateIdle)
		come()
		if !conns[0].closed || conns[1].closed || conns[2].closed || !conns[3].closed || closedOf(conns) != 2 {
			t.Errorf("of the first four are closed: %v %v %v %v; of all %d", conns[0].closed, conns[1].closed, conns[2].closed, conns[3].closed, closedOf(conns))
		}
	})
}

// Goal: to look for a connection in vain costs the time of one look in 10 ms, whatever
// number of newcomers there is.
// Method: a full port, each of whose connections is being served but for one that becomes
// idle after a look in vain.
func TestALookInVainIsNotRepeatedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPort(func(c *Config) { c.MaxConnections = 4 })
		_, taken := silent(p, 4)
		for _, c := range taken {
			c.Serving()
		}
		come := func() bool { return p.take(&fakeConn{from: "127.0.0.1:1000"}) != nil }
		if come() {
			t.Fatal("a connection that is served made room")
		}
		noteState(taken[0], http.StateIdle)
		taken[0].since.Store(0)
		if come() {
			t.Error("there was a second look at the same moment")
		}
		time.Sleep(evictionPause)
		if !come() {
			t.Error("there was no second look after the pause")
		}
	})
}

// Goal: silent connections that came together do not end together, for then those that come
// again do so together.
// Method: forty handshakes that do not begin, in virtual time. All would be early, or all late,
// once in half a trillion runs.
func TestSilentConnectionsEndByAndBy(t *testing.T) {
	ca := newTestCA(t)
	inBubble(t, func(t *testing.T) {
		p := newPort(func(c *Config) { c.TLS = ca.secure(true, false) })
		const many = 40
		took := make(chan time.Duration, many)
		begun := time.Now()
		for range many {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			conn := p.take(ours)
			go func() {
				_, _ = conn.Read(make([]byte, 1))
				took <- time.Since(begun)
			}()
		}
		early := 0
		for range many {
			if <-took < handshakeLimit*3/4 {
				early++
			}
		}
		if early == 0 || early == many {
			t.Errorf("%d of %d ended in less than three quarters of the time", early, many)
		}
	})
}
