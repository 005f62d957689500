package port

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/tests/virtual"
)

// fakeConn is a connection from some address that never says anything.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
	until  time.Time
	wrote  bytes.Buffer
}

func (f *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.from))
}
func (f *fakeConn) Close() error                      { f.closed = true; return nil }
func (f *fakeConn) SetDeadline(time.Time) error       { return nil }
func (f *fakeConn) Write(p []byte) (int, error)       { return f.wrote.Write(p) }
func (f *fakeConn) Read([]byte) (int, error)          { return 0, io.EOF }
func (f *fakeConn) SetReadDeadline(t time.Time) error { f.until = t; return nil }
func (f *fakeConn) SetWriteDeadline(time.Time) error  { return nil }

// newPort returns a port as the tests want it, with the problems of a server that
// says nothing.
func newPort(change func(*Config)) *Port {
	config := Config{MaxConnections: 8192, Problem: func(error) []byte { return nil }, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&config)
	}
	return New(config)
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	virtual.Time(t, test)
}

// Goal: when all places are taken, the connections make room whose clients keep
// the server waiting: first those in the middle of a request, then idle ones,
// the oldest first, none that has just come, and none that is being served. If
// nobody can go, a new connection is refused.
// Method: a port with few places and connections in known phases.
func TestAFullHouseMakesRoomForNewConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPort(func(c *Config) { c.MaxConnections = 5 })
		come := func() (*fakeConn, *Conn) {
			f := &fakeConn{from: "127.0.0.1:1000"}
			return f, p.take(f)
		}
		slow, _ := come()
		time.Sleep(time.Second)
		slower, _ := come() // but not for as long
		time.Sleep(time.Second)
		idle, idleConn := come()
		noteState(idleConn, http.StateIdle)
		served, servedConn := come()
		servedConn.Serving()
		time.Sleep(2 * time.Second)
		fresh, freshConn := come()
		for i, step := range []struct {
			leaves *fakeConn
			comes  bool
		}{{slow, true}, {slower, true}, {idle, true}, {nil, false}} {
			if i == 1 && slower.closed {
				t.Error("the younger of two slow connections had to go first")
			}
			f, c := come()
			if (c != nil) != step.comes || f.closed {
				t.Fatalf("step %d: the new connection is taken: %v", i, c != nil)
			}
			if step.leaves != nil && !step.leaves.closed {
				t.Errorf("step %d: the connection that should have made room has not", i)
			}
		}
		if served.closed || fresh.closed {
			t.Error("a connection that is served, or has just come, was closed")
		}
		if now, evicted, refused := p.Counts(); now != 5 || evicted != 3 || refused != 1 {
			t.Errorf("%d connections, %d evicted, %d refused", now, evicted, refused)
		}
		freshConn.Close()
		freshConn.Close() // net/http does
		if _, c := come(); c == nil {
			t.Error("no room after one left")
		}
	})
}

// fillGate makes the gate full, and emptyGate lets out whoever is inside.
func fillGate(p *Port) {
	for p.gate.held() < p.gate.room {
		p.gate.enter(&Conn{})
	}
}

func emptyGate(p *Port) {
	for n := p.gate.held(); n > 0; n-- {
		p.gate.leave()
	}
}

// Goal: a connection whose request has come, and which this server keeps waiting
// at the gate, does not make room for others, however long its header took.
// Method: one place, a full gate, and a header whose end comes after two seconds.
func TestWhoWaitsAtTheGateMakesNoRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPort(func(c *Config) { c.MaxConnections = 1 })
		fillGate(p)
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := p.take(ours)
		read := make(chan error)
		go func() {
			for range 2 {
				_, err := c.Read(make([]byte, 100))
				read <- err
			}
		}()
		_, _ = io.WriteString(theirs, "GET /livez HTTP/1.1\r\nHost: kv\r\n")
		<-read
		time.Sleep(2 * evictionAge)
		_, _ = io.WriteString(theirs, "\r\n")
		synctest.Wait() // it waits at the gate
		if p.take(&fakeConn{from: "127.0.0.1:1000"}) != nil {
			t.Error("a connection made room while its request waited for this server")
		}
		emptyGate(p)
		if err := <-read; err != nil {
			t.Error(err)
		}
		c.LeaveGate()
		time.Sleep(evictionPause) // until the next look
		if p.take(&fakeConn{from: "127.0.0.1:1000"}) == nil {
			t.Error("a connection that keeps the server waiting made no room")
		}
	})
}

// Goal: the operator on the machine itself is never locked out, and one address
// cannot take all places.
// Method: addresses beyond and on this machine.
func TestPlacesAreKept(t *testing.T) {
	p := newPort(func(c *Config) { c.MaxConnections, c.MaxPerIP = 10, 3 })
	taken := func(from string) bool { return p.take(&fakeConn{from: from}) != nil }
	for i, c := range []struct {
		from string
		want bool
	}{
		{"10.0.0.1:1", true}, {"10.0.0.1:2", true}, {"10.0.0.1:3", true}, {"10.0.0.1:4", false},
		{"10.0.0.2:1", true}, {"[2001:db8::1]:1", true}, {"10.0.0.3:1", false}, // half of the places are left for loopback
		{"127.0.0.1:1", true}, {"[::1]:1", true}, {"127.0.0.1:2", true}, {"127.0.0.1:3", true}, {"[::ffff:127.0.0.1]:4", true}, {"127.0.0.1:5", false},
	} {
		if got := taken(c.from); got != c.want {
			t.Errorf("connection %d, from %s: taken %v", i, c.from, got)
		}
	}
}

// Goal: a connection frees its place once, however often it is closed.
// Method: an address with all the connections that it may have; one is closed
// twice, as net/http does, and others come.
func TestAPlaceIsFreedOnce(t *testing.T) {
	p := newPort(func(c *Config) { c.MaxPerIP = 3 })
	come := func() *Conn { return p.take(&fakeConn{from: "10.0.0.1:1"}) }
	first := come()
	come()
	come()
	first.Close()
	first.Close()
	if come() == nil {
		t.Error("no room after one left")
	}
	if come() != nil {
		t.Error("a connection that was closed twice made room for two")
	}
}

// Goal: slow clients that came at one moment are not ended at one moment, and
// everybody has half of the time at least; other times are what they are said to be.
// Method: many connections, and the deadlines that they get for a header, for a
// body, and between two requests.
func TestSlowClientsThatCameTogetherAreEndedOneByOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const most = 10 * time.Second
		p := newPort(func(c *Config) { c.BodyGrace = most })
		var header, body []time.Duration
		for range 200 {
			f := &fakeConn{from: "127.0.0.1:1000"}
			c := p.take(f)
			last := func() time.Duration { return time.Until(f.until) }
			_ = c.SetReadDeadline(time.Now().Add(most))
			header = append(header, last())
			c.note([]byte("PUT /v1/kv/k HTTP/1.1\r\nContent-Length: 10\r\n\r\n"))
			_ = c.SetReadDeadline(time.Now().Add(most))
			if last() != most {
				t.Fatalf("the time for the whole request: %v", last())
			}
			r := httptest.NewRequest("PUT", "/v1/kv/k", nil).WithContext(keepConn(t.Context(), c))
			p.AllowReading(connWriter{httptest.NewRecorder(), c}, r, time.Now(), bodyRate)
			body = append(body, last()-time.Second)
			noteState(c, http.StateIdle)
			_ = c.SetReadDeadline(time.Now().Add(most))
			if last() != most {
				t.Fatalf("the time between two requests: %v", last())
			}
			_ = c.SetReadDeadline(time.Time{})
			if !f.until.IsZero() {
				t.Fatalf("no limit became %v", f.until)
			}
			c.Close()
		}
		for what, times := range map[string][]time.Duration{"header": header, "body": body} {
			slices.Sort(times)
			if first, last := times[0], times[len(times)-1]; first < most/2 || first > most*6/10 || last < most*9/10 || last > most {
				t.Errorf("the times for a %s are from %v to %v", what, first, last)
			}
			for i, next := range times[1:] {
				if next-times[i] > most/10 {
					t.Errorf("between %v and %v no %s comes to its end", times[i], next, what)
				}
			}
		}
	})
}

// Goal: slow clients may take their time while there is room, and a third of it
// when places are short.
// Method: the deadline for a header and for a body, with three in four places
// taken, with one more, and when that one has left.
func TestSlowClientsGetLessTimeWherePlacesAreShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const most = 12 * time.Second
		p := newPort(func(c *Config) { c.MaxConnections, c.BodyGrace = 8, most })
		f := &fakeConn{from: "127.0.0.1:1000"}
		c := p.take(f)
		c.haste = 0
		w, r, began := connWriter{httptest.NewRecorder(), c}, httptest.NewRequest("PUT", "/v1/kv/k", nil).WithContext(keepConn(t.Context(), c)), time.Now()
		want := func(when string, want time.Duration) {
			t.Helper()
			_ = c.SetReadDeadline(time.Now().Add(most))
			header := time.Until(f.until)
			c.recording = false // the header has come
			p.AllowReading(w, r, began, 0)
			c.recording = true
			if body := time.Until(f.until); header != want || body != want {
				t.Errorf("%s: %v for a header and %v for a body, want %v", when, header, body, want)
			}
		}
		for range 5 {
			p.take(&fakeConn{from: "127.0.0.1:1000"})
		}
		want("with room", most)
		last := p.take(&fakeConn{from: "127.0.0.1:1000"})
		want("with little room", most/3)
		c.haste = 1
		want("with little room and in haste", most/6)
		last.Close()
		want("with room again", most/2)
	})
}

// connWriter is an answer whose deadlines are a connection's.
type connWriter struct {
	http.ResponseWriter
	conn net.Conn
}

func (w connWriter) SetReadDeadline(t time.Time) error { return w.conn.SetReadDeadline(t) }

// Goal: a connection that sends a part of a header, or a small piece of a body, does not
// queue for it; one that sends a whole request does.
// Method: a gate that is full, and a connection that gets a request in pieces;
// time is the bubble's.
func TestCrumbsDoNotQueueAtTheGate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPort(nil)
		fillGate(p)
		defer emptyGate(p)
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := p.take(ours)
		defer c.Close()
		for _, piece := range []struct {
			text  string
			waits bool
		}{
			{"PUT /v1/kv/k HTTP/1.1\r\nHo", false}, {"st: kv\r\n", false}, {"Content-Length: 200\r\n\r", false}, {"\n", true},
			{"x", false}, {strings.Repeat("x", smallPiece), false}, {strings.Repeat("x", smallPiece+1), true},
		} {
			go func() { _, _ = io.WriteString(theirs, piece.text) }()
			began := time.Now()
			n, err := c.Read(make([]byte, 4096))
			if took := time.Since(began); err != nil || n != len(piece.text) || (took >= gateLimit) != piece.waits {
				t.Errorf("%.20q: %d bytes after %v: %v", piece.text, n, took, err)
			}
		}
	})
}

// Goal (S12): where the places of strangers are nearly used up, a stranger's connection ends with
// its answer, so that one that asks again and again within a second does not keep its place.
// Connections of known owners and of this machine stay, and all do where nothing is enforced.
// Method: a port of forty places, of which strangers may have ten, and a question at each number.
func TestAStrangersConnectionEndsWherePlacesAreShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		strict := true
		p := newPort(func(c *Config) { c.MaxConnections, c.Strict = 40, func() bool { return strict } })
		owned, near := p.take(&fakeConn{from: "10.0.0.1:1"}), p.take(&fakeConn{from: "127.0.0.1:1"})
		if err := owned.Belong(7, func() (func(), error) { return nil, nil }); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 10; n++ {
			stranger := p.take(&fakeConn{from: "10.0.0.2:1"})
			if must := stranger.MustEnd(); must != (n > 7) {
				t.Errorf("with %d strangers, one must end: %v", n, must)
			}
			if owned.MustEnd() || near.MustEnd() || (*Conn)(nil).MustEnd() {
				t.Errorf("with %d strangers another must end", n)
			}
			strict = false
			if stranger.MustEnd() {
				t.Errorf("with %d connections one must end where nothing is enforced", n)
			}
			strict = true
		}
	})
}

// Goal (S12): where identities are enforced, connections on which nobody has proved an identity
// have at most a quarter of the places; old ones make room for new ones, and those of known
// owners and of this machine are neither counted nor closed for them. A connection counts for
// its owner once, until it ends or gets another one.
// Method: a port with few places, strangers, owners, and connections from this machine.
func TestStrangersHaveAQuarterOfThePlaces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		strict := true
		p := newPort(func(c *Config) { c.MaxConnections, c.Strict = 40, func() bool { return strict } })
		come := func(from string) *Conn { return p.take(&fakeConn{from: from}) }
		held := map[uint64]int{}
		belong := func(c *Conn, to uint64) {
			t.Helper()
			if err := c.Belong(to, func() (func(), error) { held[to]++; return func() { held[to]-- }, nil }); err != nil || !c.Belongs(to) {
				t.Errorf("%v", err)
			}
		}
		owned := come("10.0.0.1:1")
		belong(owned, 7)
		for i := range 10 {
			if come("10.0.0.2:1") == nil {
				t.Fatalf("stranger %d is refused", i)
			}
		}
		if come("10.0.0.2:1") != nil {
			t.Error("an eleventh stranger of forty places is taken")
		}
		if come("127.0.0.1:1") == nil {
			t.Error("this machine is refused")
		}
		strict = false
		extra := come("10.0.0.2:1")
		if extra == nil {
			t.Fatal("a stranger is refused where nothing is enforced")
		}
		belong(extra, 7)
		strict = true
		if held[7] != 2 {
			t.Errorf("the owner has %d connections", held[7])
		}
		time.Sleep(2 * evictionAge)
		for i := range 20 {
			if come("10.0.0.3:1") == nil && i == 0 {
				t.Error("strangers that wait make no room for another")
			}
		}
		if owned.raw.(*fakeConn).closed || extra.raw.(*fakeConn).closed || p.strangers.Load() > 10 {
			t.Errorf("connections of a known owner make room, or there are %d strangers", p.strangers.Load())
		}
		belong(extra, 8)
		owned.Close()
		owned.Close()
		if held[7] != 0 || held[8] != 1 {
			t.Errorf("the owners have %v connections", held)
		}
	})
}
