package wire

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
	"raftkv/tests/virtual"
)

// moved are servers of ofMembers that were restarted at other addresses than those in their
// record: the record says addressOf, and each listens at movedOf.
func movedOf(id core.ID) string { return "new-" + string(id) + ":1" }

// startMoved starts such a server. listed are the peers of its list.
func startMoved(g *grown, id core.ID, listed map[core.ID]string, tweak func(*Config)) *server {
	g.t.Helper()
	s := start(g.t, id, g.network.listen(movedOf(id)), nil, func(c *Config) {
		c.Peers, c.Dial, c.UID, c.LevelMax = listed, g.network.dial, ofMembers, levels.Newest
		c.Addresses = []Address{{AddressPeer, movedOf(id)}}
		if tweak != nil {
			tweak(c)
		}
	}, nil)
	s.SetMembers(madeOf(5, id, "n1", "n2"))
	g.all[id] = s
	return s
}

// Goal: M15, with discovery, and with a corrected list: servers that were all restarted at
// new addresses, of which the record knows nothing, reach each other. What was found for
// one is enough for both, since each then tells its address. Method: two servers whose
// record has the old addresses; virtual time.
func TestServersWithNewAddressesReachEachOther(t *testing.T) {
	for name, c := range map[string]struct {
		listed  map[core.ID]string
		suggest bool
	}{
		"nothing is known":    {},
		"one is found":        {suggest: true},
		"the list is correct": {listed: map[core.ID]string{"n2": movedOf("n2")}},
	} {
		virtual.Time(t, func(t *testing.T) {
			g := newGrown(t)
			defer g.close()
			n1 := startMoved(g, "n1", c.listed, nil)
			startMoved(g, "n2", nil, nil)
			time.Sleep(10 * time.Second)
			if c.suggest {
				if g.talk("n1", "n2") {
					t.Fatal("they talk before one is found")
				}
				shown, err := n1.Ask(t.Context(), movedOf("n2"))
				if err != nil || shown.ID != "n2" {
					t.Fatalf("asked who is there: %+v, %v", shown, err)
				}
				n1.Suggest(shown.ID, movedOf("n2"))
				n1.Suggest("n9", movedOf("n2")) // is no member
				time.Sleep(3 * time.Second)
			}
			want := c.suggest || c.listed != nil
			if there, back := g.talk("n1", "n2"), g.talk("n2", "n1"); there != want || back != want {
				t.Errorf("%s: n1 reaches n2: %v, n2 reaches n1: %v", name, there, back)
			}
		})
	}
}

// Goal: M15, with names: an address that is a name stays one, and is resolved whenever it is
// dialled. Method: a resolver that gives another answer after a server has moved.
func TestNamesAreResolvedAtEveryDial(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		var leads atomic.Pointer[string] // where the name of n2 leads
		old, new := "old:1", "new:1"
		leads.Store(&old)
		n1 := g.start("n1", []core.ID{"n2"}, func(c *Config) {
			c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
				if address != addressOf("n2") {
					t.Errorf("%s is dialled, which is no name", address)
				}
				return g.network.dial(ctx, *leads.Load())
			}
		})
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		begin := func(at string, life identity.Life) {
			g.all["n2"] = start(t, "n2", g.network.listen(at), nil, func(c *Config) {
				c.Dial, c.UID, c.LevelMax, c.Joining, c.Life = g.network.dial, ofMembers, levels.Newest, true, life
			}, nil)
			time.Sleep(3 * time.Second)
		}
		begin(old, testLife)
		if !g.talk("n1", "n2") {
			t.Fatal("n1 does not reach n2 by its name")
		}
		g.all["n2"].Close()
		synctest.Wait()
		leads.Store(&new)
		begin(new, testLife.Next(draw))
		if !g.talk("n1", "n2") {
			t.Error("n1 does not reach n2 where its name leads now")
		}
	})
}

// Goal: M16: what answers at an address that was found is judged as everybody is: another
// server than the one that is looked for, and one of another cluster of the same name, are
// taken for nobody. Method: such servers are suggested; the right one is reached afterwards.
func TestWhoIsFoundIsJudged(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := startMoved(g, "n1", nil, nil)
		foreign := startMoved(g, "n3", nil, nil)
		stranger := start(t, "n2", g.network.listen("foreign:1"), nil, func(c *Config) {
			c.Dial, c.UID, c.LevelMax, c.Joining = g.network.dial, core.UID{9}, levels.Newest, true
		}, nil)
		defer stranger.Close()
		for _, at := range []string{movedOf("n3"), "foreign:1"} {
			n1.Suggest("n2", at)
			time.Sleep(3 * time.Second)
			if g.talk("n1", "n2") || len(foreign.received())+len(stranger.received()) > 0 {
				t.Errorf("the server at %s is taken for n2", at)
			}
			if shown, err := n1.Ask(t.Context(), at); err == nil && shown.ID == "n2" {
				t.Errorf("a server of another cluster says that it is n2: %+v", shown)
			}
		}
		startMoved(g, "n2", nil, nil)
		n1.Suggest("n2", movedOf("n2"))
		time.Sleep(3 * time.Second)
		if !g.talk("n1", "n2") {
			t.Error("n1 does not reach n2 after it was misled")
		}
	})
}

// Goal: M16: a server that does not know yet how it begins tells its identity to all that ask
// that, belongs to no cluster, and is silent to everybody else; afterwards its listener serves
// the transport that it begins with. Method: over TCP, before and after.
func TestAServerThatDoesNotKnowHowItBeginsOnlySaysWhoItIs(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	at := l.Addr().String()
	probe, err := New(Config{ClusterID: "c", ID: "n1", Listener: l, Joining: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { probe.AnswerOnly(ctx); close(ended) }()
	other := listen(t, "127.0.0.1:0")
	defer other.Close()
	asks, err := New(Config{ClusterID: "c", ID: "n2", Listener: other, Joining: true})
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := asks.Ask(t.Context(), at); err != nil || shown.ID != "n1" || shown.UID != (core.UID{}) {
		t.Errorf("asked who it is: %+v, %v", shown, err)
	}
	p := dialRaw(t, at)
	p.write(t, p.encoder.hello(nil, kindHello, validHello("n2", "n1")))
	if k, _, err := p.frames.next(greetingFrames); err == nil {
		t.Errorf("a peer that dials it is answered with kind 0x%02x", uint8(k))
	}
	cancel()
	<-ended
	start(t, "n1", l, map[core.ID]string{"n2": "127.0.0.1:1"}, nil, nil)
	if shown, err := asks.Ask(t.Context(), at); err != nil || shown.ID != "n1" {
		t.Errorf("asked afterwards: %+v, %v", shown, err)
	}
}

// Goal: a server asks to join behind the hellos of a connection for nobody in particular; it
// is heard only with a certificate of its name, and no longer than a body may be. Method: a
// server that takes peers with TLS and in clear, asked in each way.
func TestAServerAsksToJoinWithItsCertificate(t *testing.T) {
	a := newTrust(t, "a")
	var heard atomic.Pointer[string]
	s := start(t, "n1", listen(t, "127.0.0.1:0"), nil, func(c *Config) {
		c.TLS, c.UID, c.LevelMax = a.secure(t, "n1", true, false), ofMembers, levels.Newest
		c.Join = func(_ context.Context, from core.ID, body []byte) []byte {
			text := string(from) + " says " + string(body)
			heard.Store(&text)
			return []byte("welcome")
		}
	}, nil)
	at := s.config.Listener.Addr().String()
	newcomer := func(id core.ID, tls *Secure) *Transport {
		l := listen(t, "127.0.0.1:0")
		t.Cleanup(func() { l.Close() })
		n, err := New(Config{ClusterID: "c", ID: id, Listener: l, Joining: true, LevelMax: levels.Newest, TLS: tls})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n9 := newcomer("n9", a.secure(t, "n9", true, true))
	if _, err := n9.AskToJoin(t.Context(), at, []byte("hi")); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("a cluster without a record is asked: %v", err)
	}
	s.SetMembers(madeOf(5, "n1", "n1"))
	for name, refused := range map[string]func() ([]byte, error){
		"in clear": func() ([]byte, error) { return newcomer("n9", nil).AskToJoin(t.Context(), at, []byte("hi")) },
		"under another name": func() ([]byte, error) {
			return newcomer("n8", a.secure(t, "n9", true, true)).AskToJoin(t.Context(), at, []byte("hi"))
		},
		"too long": func() ([]byte, error) { return n9.AskToJoin(t.Context(), at, make([]byte, maxJoinBody+1)) },
	} {
		if answer, err := refused(); err == nil || heard.Load() != nil {
			t.Errorf("%s: %q, and heard was %v", name, answer, heard.Load())
		}
	}
	p := dialRaw(t, at)
	h := validHello("n9", core.None)
	h.UID, h.LevelMax = make(packedBytes, 16), levels.Newest
	p.write(t, append(p.encoder.hello(nil, kindHello, h), p.encoder.opaque(nil, kindJoin, []byte("hi"))...))
	if k, _, err := p.frames.next(greetingFrames); err != nil || k != kindHello {
		t.Fatalf("who is there? kind 0x%02x, %v", uint8(k), err)
	}
	if k, _, err := p.frames.next(joinReplyFrames); err == nil || heard.Load() != nil {
		t.Errorf("in clear, without our own side's check: kind 0x%02x, heard was %v", uint8(k), heard.Load())
	}
	answer, err := n9.AskToJoin(t.Context(), at, []byte("hi"))
	if err != nil || string(answer) != "welcome" || heard.Load() == nil || *heard.Load() != "n9 says hi" {
		t.Errorf("with its certificate: %q, %v; heard was %v", answer, err, heard.Load())
	}
}
