package wire

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
)

// frameOf makes a frame of any kind and body.
func frameOf(k kind, body []byte) []byte {
	return newEncoder().seal(append(make([]byte, k.headerBytes()), body...), 0, k)
}

// mismatches are hellos that n1 of cluster "c", whose only peer is n2, must
// turn down, each for its reason.
func mismatches() map[identity.Reason]*hello {
	change := func(f func(*hello)) *hello { h := validHello("n2", "n1"); f(h); return h }
	return map[identity.Reason]*hello{
		identity.OtherCluster: change(func(h *hello) { h.ClusterID = "d" }),
		ReasonReceiver:        change(func(h *hello) { h.To = "n3" }),
		ReasonSender:          change(func(h *hello) { h.From = "n3" }),
		ReasonVersion:         change(func(h *hello) { h.Version = version + 1 }),
		ReasonBootstrap:       change(func(h *hello) { h.among("n1", "n2", "n3") }),
		ReasonLevel:           change(func(h *hello) { h.LevelMin, h.LevelMax = levels.Newest+1, levels.Newest+2 }),
		ReasonMalformed:       change(func(h *hello) { h.Magic = "raftkv-clerk" }),
	}
}

// Goal: a hello that does not fit is refused with its reason, counted, and the
// connection closed, before anything reaches the Handler. Method: each mismatch
// from a raw socket, followed at once by a good request.
func TestEachMismatchOfAHelloIsRefused(t *testing.T) {
	for reason, h := range mismatches() {
		s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, nil, nil)
		p := dialRaw(t, s.config.Listener.Addr().String())
		p.write(t, p.encoder.hello(nil, kindHello, h))
		k, body, err := p.frames.next(greetingFrames)
		if reason == ReasonMalformed {
			if err == nil {
				t.Errorf("%s: a stranger got a frame of kind 0x%02x", reason, uint8(k))
			}
		} else {
			if err != nil || k != kindRefusal {
				t.Fatalf("%s: no refusal but kind 0x%02x, %v", reason, uint8(k), err)
			}
			r, err := p.decoder.refusal(body)
			if reason == ReasonVersion {
				// A later version refuses us in a form of its own, and we it in ours.
				if err != nil || r.Reason != reason {
					t.Errorf("%s: refused with %+v, %v", reason, r, err)
				}
			} else if err != nil || r.Reason != reason || r.Version != version || r.by.From != "n1" || r.Detail == "" {
				t.Errorf("%s: refused with %+v, %v", reason, r, err)
			}
			b, err := p.encoder.request(nil, ping("n1", 1).Request)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = p.Write(b) // may fail: the other side closes
		}
		p.ended(t)
		eventually(t, string(reason)+" is counted", func() bool { return s.Stats().Rejected[reason] == 1 })
		if st := s.Stats(); st.Total.Accepted || st.Total.Accepts != 0 || st.Strangers != 0 || len(st.Rejected) != 1 {
			t.Errorf("%s: stats %+v", reason, st)
		}
		if len(s.received()) != 0 || len(s.suspected()) != 0 {
			t.Errorf("%s: something reached the Handler", reason)
		}
	}
}

// Goal: the dialling side judges the other's hello, too. Method: a raw listener
// answers with each mismatch; no connection may come to stand.
func TestDiallerTurnsDownMismatches(t *testing.T) {
	for reason, h := range mismatches() {
		l := listen(t, "127.0.0.1:0")
		s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l.Addr().String()}, nil, nil)
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p := newRaw(conn)
		p.write(t, p.encoder.hello(nil, kindHello, h))
		p.ended(t)
		eventually(t, string(reason)+" is counted", func() bool { return s.Stats().Rejected[reason] >= 1 })
		if st := s.Stats().Total; st.Connects != 0 || st.Connected || len(s.suspected()) != 0 {
			t.Errorf("%s: stats %+v, suspected %q", reason, st, s.suspected())
		}
		conn.Close()
		l.Close()
	}
}

// Goal: two servers of different clusters never talk, and the refusal is
// counted at both ends. Method: two transports that know each other.
func TestServersOfTwoClustersDoNotTalk(t *testing.T) {
	l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String()}
	n1 := start(t, "n1", l1, addrs, nil, nil)
	n2 := start(t, "n2", l2, addrs, func(c *Config) { c.ClusterID = "d" }, nil)
	for _, s := range []*server{n1, n2} {
		eventually(t, "both ends count", func() bool {
			st := s.Stats()
			return st.Rejected[identity.OtherCluster] > 0 && st.Total.Refusals > 0
		})
		if st := s.Stats().Total; st.Connected || st.Accepted || st.Connects+st.Accepts != 0 {
			t.Fatalf("stats %+v", st)
		}
	}
}

// Goal: hellos are bounded and strict. Method: a table of first frames that no
// peer would send; each must close the connection, count one, and reach nobody.
func TestBadFirstFrames(t *testing.T) {
	e := newEncoder()
	good := e.hello(nil, kindHello, validHello("n2", "n1"))
	longID := validHello("n2", "n1")
	longID.From = core.ID(strings.Repeat("x", core.MaxIDBytes+1))
	request, err := e.request(nil, ping("n1", 1).Request)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"request before hello":    request,
		"refusal instead":         e.refusal(nil, &rejection{reason: identity.OtherCluster}, validHello("n2", "n1")),
		"length above the limit":  frameOf(kindHello, make([]byte, maxHelloBody+1)),
		"huge length":             {byte(kindHello), 0xff, 0xff, 0xff, 0xff},
		"empty":                   frameOf(kindHello, nil),
		"array32 bomb":            frameOf(kindHello, []byte{0xdd, 0xff, 0xff, 0xff, 0xff}),
		"deep nesting":            frameOf(kindHello, bytes.Repeat([]byte{0x91}, maxHelloBody)),
		"one byte more":           frameOf(kindHello, append(bytes.Clone(good[greetingHeaderBytes:len(good)-sumBytes]), 0)),
		"another checksum":        append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
		"no checksum":             append([]byte{byte(kindHello), byte(len(good) - greetingHeaderBytes - sumBytes), 0, 0, 0}, good[greetingHeaderBytes:len(good)-sumBytes]...),
		"one byte less":           frameOf(kindHello, good[greetingHeaderBytes:len(good)-sumBytes-1]),
		"version 0":               e.hello(nil, kindHello, &hello{Magic: magic, ClusterID: "c", From: "n2", To: "n1"}),
		"id too long":             e.hello(nil, kindHello, longID),
		"tls client hello":        {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
		"msgpack map in the body": frameOf(kindHello, []byte{0x81, 0xa1, 'x', 1}),
	} {
		s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, nil, nil)
		p := dialRaw(t, s.config.Listener.Addr().String())
		p.write(t, b)
		p.ended(t)
		eventually(t, name+": counted", func() bool { return s.Stats().Rejected[ReasonMalformed] == 1 })
		if st := s.Stats(); len(s.received()) != 0 || len(s.suspected()) != 0 || st.Total.Accepts != 0 || st.Strangers != 0 {
			t.Errorf("%s: stats %+v, received %d", name, st, len(s.received()))
		}
		s.Close()
	}
}

// Goal: a newer version is recognised even if the rest of its hello looks
// different, and an unknown reason in a refusal is no trouble. Method: decode a
// hello of version 4 with other fields; have a raw peer refuse with a new word.
func TestRoomForNewerVersions(t *testing.T) {
	future := append([]byte{0x94, 0xab}, magic...)
	future = append(future, 4, 0xc0, 0x80)
	var no *rejection
	if _, err := newDecoder().hello(kindHello, future); !errors.As(err, &no) || no.reason != ReasonVersion {
		t.Fatalf("a hello of version 4: %v", err)
	}

	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l.Addr().String()}, nil, nil)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := newRaw(conn)
	p.write(t, p.encoder.refusal(nil, &rejection{reason: "some-new-reason"}, validHello("n2", "n1")))
	eventually(t, "the refusal is counted", func() bool { return s.Stats().Total.Refusals == 1 })
}

// Goal: what is wrong with a configuration is said before anything starts.
// Method: a table of configurations and a word that the error must hold.
func TestConfigIsChecked(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		want string
		f    func(*Config)
	}{
		{"cluster id", func(c *Config) { c.ClusterID = "" }},
		{"cluster id", func(c *Config) { c.ClusterID = long }},
		{"our own id", func(c *Config) { c.ID = "" }},
		{"our own id", func(c *Config) { c.ID = core.ID(long) }},
		{"listener", func(c *Config) { c.Listener = nil }},
		{"client address", func(c *Config) { c.ClientAddr = long }},
		{"leave ourselves out", func(c *Config) { c.Peers = map[core.ID]string{"n1": "h:1"} }},
		{"id of a peer", func(c *Config) { c.Peers = map[core.ID]string{"": "h:1"} }},
		{"host:port", func(c *Config) { c.Peers = map[core.ID]string{"n2": "h"} }},
		{"host:port", func(c *Config) { c.Peers = map[core.ID]string{"n2": "h:"} }},
		{"same address", func(c *Config) { c.Peers = map[core.ID]string{"n2": "h:1", "n3": "h:1"} }},
		{"CallTimeout", func(c *Config) { c.CallTimeout = -1 }},
		{"HelloTimeout", func(c *Config) { c.HelloTimeout = time.Minute }},
		{"BackoffMin", func(c *Config) { c.BackoffMin = time.Minute }},
		{"negative", func(c *Config) { c.MaxCalls = -1 }},
	} {
		config := Config{ClusterID: "c", ID: "n1", Listener: l, Peers: map[core.ID]string{"n2": "h:1"}}
		c.f(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q expected, got %v", c.want, err)
		}
	}
}

// logbook is a place for a log that a test can read.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(b) }
func (l *logbook) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// Goal: an event that repeats is logged once in a while, not every time, and
// with the reason. Method: twenty strangers of another cluster, one line.
func TestRepeatedEventsAreLoggedOnce(t *testing.T) {
	var log logbook
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, nil)
	h := mismatches()[identity.OtherCluster]
	for range 20 {
		conn, err := net.Dial("tcp", s.config.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		p := newRaw(conn)
		p.write(t, p.encoder.hello(nil, kindHello, h))
		p.ended(t)
		conn.Close()
	}
	eventually(t, "all are counted", func() bool { return s.Stats().Rejected[identity.OtherCluster] == 20 })
	if n := strings.Count(log.String(), "a connection was turned down"); n != 1 {
		t.Fatalf("%d lines:\n%s", n, log.String())
	}
	if !strings.Contains(log.String(), "reason=cluster") {
		t.Fatalf("the reason is missing:\n%s", log.String())
	}
}
