package wire

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
	"raftkv/tests/virtual"
)

// The tests of this file run in virtual time, over connections in memory, in a cluster
// with the uid ofMembers that works at levels.Members.

var ofMembers = core.UID{7}

// addressOf returns where a server of these tests listens.
func addressOf(id core.ID) string { return string(id) + ":1" }

// grown are servers that follow configurations.
type grown struct {
	t       *testing.T
	network *pipes
	all     map[core.ID]*server
	told    map[core.ID]*turnedAway
}

// turnedAway notes what Config.Removed is told.
type turnedAway struct {
	mu   sync.Mutex
	told []string
}

func (a *turnedAway) note(by core.ID, why identity.Reason, version uint64, detail string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, fmt.Sprintf("%s: %s at %d", by, why, version))
}

func (a *turnedAway) words() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.told, "; ")
}

func newGrown(t *testing.T) *grown {
	return &grown{t: t, network: newPipes(), all: map[core.ID]*server{}, told: map[core.ID]*turnedAway{}}
}

// start starts a server that knows the uid, with a list of peers.
func (g *grown) start(id core.ID, peers []core.ID, tweak func(*Config)) *server {
	g.t.Helper()
	g.told[id] = &turnedAway{}
	g.all[id] = start(g.t, id, g.network.listen(addressOf(id)), nil, func(c *Config) {
		c.Peers, c.Dial, c.UID, c.LevelMax = map[core.ID]string{}, g.network.dial, ofMembers, levels.Newest
		c.Removed = g.told[id].note
		c.Addresses = []Address{{AddressPeer, addressOf(id)}, {AddressHTTP, "http-" + string(id)}}
		for _, peer := range peers {
			c.Peers[peer] = addressOf(peer)
		}
		if tweak != nil {
			tweak(c)
		}
	}, nil)
	return g.all[id]
}

// close ends all servers, in the bubble.
func (g *grown) close() {
	for _, s := range g.all {
		s.Close()
	}
}

// madeOf makes the members of a configuration of these servers, for the one of them
// that is self.
func madeOf(index uint64, self core.ID, ids ...core.ID) Members {
	m := Members{Version: index, Generation: 1, Committed: index, Level: levels.Members, Peers: map[core.ID]Peer{}, Removed: map[RemovedDirectory]uint64{}}
	for _, id := range ids {
		if id != self {
			m.Peers[id] = Peer{Address: addressOf(id)}
		}
	}
	return m
}

// talk reports whether a call of one server is answered by another.
func (g *grown) talk(from, to core.ID) bool {
	o := newOutcomes()
	g.all[from].Send(ping(to, 1), o.done)
	synctest.Wait()
	return o.count() == 1 && o.countLost() == 0
}

// Goal: peers come and go while a server runs: a new one is dialled, by its address in
// the configuration, and one that has gone is still talked to for a while and then no
// more. Method: a cluster of one grows by a server that has no list, and shrinks again;
// virtual time up to and past the end.
func TestMembersComeAndGoWhileAServerRuns(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", nil, nil)
		n2 := g.start("n2", nil, func(c *Config) { c.Joining = true })
		synctest.Wait()
		if g.talk("n1", "n2") || len(n1.Stats().Peers) != 0 {
			t.Error("they talk before they are members")
		}
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		time.Sleep(time.Second)
		if !g.talk("n1", "n2") {
			t.Fatalf("the new member is not talked to: %+v", n1.Stats())
		}
		if g.talk("n2", "n1") {
			t.Error("the new member dials before its log says whom")
		}
		n2.SetMembers(madeOf(5, "n2", "n1", "n2"))
		time.Sleep(time.Second)
		if !g.talk("n2", "n1") || len(n2.Stats().Peers) != 1 {
			t.Errorf("the new member does not talk to the old one: %+v", n2.Stats())
		}
		n1.SetMembers(madeOf(9, "n1", "n1"))
		time.Sleep(leaveTime - time.Second)
		if !g.talk("n1", "n2") || len(n1.Stats().Peers) != 0 {
			t.Error("a member that leaves is not talked to any more, or is still one")
		}
		time.Sleep(2 * time.Second)
		if g.talk("n1", "n2") || n1.Stats().Total.Connected {
			t.Error("a member that left long ago is still talked to")
		}
	})
}

// Goal: nobody is warned of a server that ends because it was removed: neither while the change
// that removes it is under way nor afterwards. A member that ends otherwise is told of by a
// warning. Method: n2 ends, as a member, as one that leaves, and as one that has left.
func TestNobodyIsWarnedOfAServerThatWasRemoved(t *testing.T) {
	leaving := madeOf(9, "n1", "n1", "n2")
	leaving.Peers["n2"] = Peer{Address: addressOf("n2"), Leaves: true}
	for name, c := range map[string]struct {
		then  Members
		level string
	}{
		"a member":          {madeOf(9, "n1", "n1", "n2"), "WARN"},
		"one that leaves":   {leaving, "INFO"},
		"one that has left": {madeOf(9, "n1", "n1"), "INFO"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Time(t, func(t *testing.T) {
				var log bytes.Buffer
				g := newGrown(t)
				defer g.close()
				n1 := g.start("n1", nil, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
				n2 := g.start("n2", nil, func(c *Config) { c.Joining = true })
				n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
				n2.SetMembers(madeOf(5, "n2", "n1", "n2"))
				time.Sleep(time.Second)
				n1.SetMembers(c.then)
				n2.Close()
				time.Sleep(leaveTime / 2)
				n1.Close()
				if said := log.String(); !strings.Contains(said, "cannot be reached") || strings.Contains(said, "WARN") != (c.level == "WARN") {
					t.Errorf("it should be said with %s that n2 cannot be reached:\n%s", c.level, said)
				}
			})
		})
	}
}

// Goal: a server takes messages from servers that it does not list, if they are of its
// cluster and generation, and of at most sixteen of them. Method: guests that are played
// by the test, right ones, wrong ones, and one too many.
func TestServersThatAreNotListedAreTakenAsGuests(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		dial := func(id core.ID, change func(*hello)) kind {
			conn, err := g.network.dial(t.Context(), addressOf("n1"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			r := newRaw(conn)
			h := validHello(id, "n1")
			h.UID, h.Generation, h.ConfigVer, h.LevelMax = ofMembers[:], 1, 6, levels.Newest
			if change != nil {
				change(h)
			}
			r.write(t, r.encoder.hello(nil, kindHello, h))
			k, _, _ := r.frames.next(greetingFrames)
			return k
		}
		for name, change := range map[string]func(*hello){
			"another cluster":    func(h *hello) { h.UID = make(packedBytes, 16); h.UID[0] = 8 },
			"no cluster":         func(h *hello) { h.UID = make(packedBytes, 16) },
			"no configuration":   func(h *hello) { h.Generation = 0 },
			"another generation": func(h *hello) { h.Generation = 2 },
			"a lower level":      func(h *hello) { h.LevelMax = 2 },
			"our own name":       func(h *hello) { h.From = "n1" },
		} {
			if k := dial("n9", change); k != kindRefusal {
				t.Errorf("%s: answered with kind 0x%02x", name, uint8(k))
			}
		}
		for i := range maxGuests {
			if k := dial(core.ID(fmt.Sprintf("g%d", i)), nil); k != kindHello {
				t.Fatalf("guest %d is answered with kind 0x%02x", i, uint8(k))
			}
		}
		if k := dial("g16", nil); k != kindRefusal {
			t.Error("there is no end of guests")
		}
		if n := len(n1.Stats().Peers); n != 1 {
			t.Errorf("guests count among %d members", n)
		}
	})
}

// Goal: a directory that was removed is turned down by every server that goes by the
// removal, is told at its next connection, and believes only members of its cluster that
// know more than it does. Method: n2 is removed at n1 and not at itself; then a server
// that goes by an older configuration says the same.
func TestARemovedDirectoryIsTurnedAwayAndTold(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		n2 := g.start("n2", []core.ID{"n1"}, nil)
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		n2.SetMembers(madeOf(5, "n2", "n1", "n2"))
		time.Sleep(time.Second)
		m := madeOf(9, "n1", "n1")
		m.Removed[RemovedDirectory{"n2", n2.config.Life.Incarnation}] = 9
		n1.SetMembers(m)
		time.Sleep(leaveTime + 4*time.Second)
		if words := g.told["n2"].words(); !strings.HasPrefix(words, "n1: removed at 9") {
			t.Errorf("n2 was told %q", words)
		}
		if words := g.told["n1"].words(); words != "" {
			t.Errorf("n1 was told %q", words)
		}
		if st := n1.Stats(); st.Rejected[ReasonRemoved] == 0 {
			t.Errorf("n1 has counted %v", st.Rejected)
		}
		// A server that knows less than n2 says nothing that counts.
		before := g.told["n2"].words()
		n2.SetMembers(madeOf(12, "n2", "n1", "n2"))
		time.Sleep(5 * time.Second)
		if words := g.told["n2"].words(); words != before {
			t.Errorf("n2 believes an older configuration: %q", words)
		}
	})
}

// Goal: M12: a removed server is told also where its own log has the entry that removes it and
// it does not know that this is committed, or where it has a later entry that never was
// committed. Method: n2 has stored entries at and behind the removal at n1.
func TestARemovedDirectoryIsToldWhateverItHasStored(t *testing.T) {
	for _, newest := range []uint64{9, 12} {
		virtual.Time(t, func(t *testing.T) {
			g := newGrown(t)
			defer g.close()
			n1 := g.start("n1", []core.ID{"n2"}, nil)
			n2 := g.start("n2", []core.ID{"n1"}, nil)
			stored := madeOf(newest, "n2", "n1", "n2")
			stored.Committed = 5
			n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
			n2.SetMembers(stored)
			time.Sleep(time.Second)
			m := madeOf(9, "n1", "n1")
			m.Removed[RemovedDirectory{"n2", n2.config.Life.Incarnation}] = 9
			n1.SetMembers(m)
			time.Sleep(leaveTime + 4*time.Second)
			if words := g.told["n2"].words(); !strings.HasPrefix(words, "n1: removed at 9") {
				t.Errorf("with entry %d in its log n2 was told %q", newest, words)
			}
		})
	}
}

// Goal: when a configuration names another directory for a member, the connections that stand
// with the old one end: what it answers is not the new one's. Method: n2 is connected when
// another directory is named.
func TestADirectoryThatIsReplacedIsTalkedToNoMore(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		n2 := g.start("n2", []core.ID{"n1"}, nil)
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		n2.SetMembers(madeOf(5, "n2", "n1", "n2"))
		time.Sleep(time.Second)
		m := madeOf(7, "n1", "n1", "n2")
		m.Peers["n2"] = Peer{Address: addressOf("n2"), Incarnation: n2.config.Life.Incarnation}
		n1.SetMembers(m)
		if !g.talk("n1", "n2") {
			t.Fatal("the directory that is named now, as it was before, is not talked to")
		}
		m = madeOf(9, "n1", "n1", "n2")
		m.Peers["n2"] = Peer{Address: addressOf("n2"), Incarnation: newLife().Incarnation}
		n1.SetMembers(m)
		if g.talk("n1", "n2") {
			t.Error("the directory that was replaced answers on the old connection")
		}
	})
}

// Goal: what a server is told that has no configuration yet does nothing to one that has: it
// keeps its members. Method: n1 is told after it has a configuration.
func TestWhoHasMembersKeepsThem(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		n2 := g.start("n2", []core.ID{"n1"}, nil)
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		n2.SetMembers(madeOf(5, "n2", "n1", "n2"))
		time.Sleep(time.Second)
		n1.SetMembers(Members{Generation: 1, Level: levels.Members})
		time.Sleep(2 * leaveTime)
		if !g.talk("n1", "n2") || len(n1.Stats().Peers) != 1 {
			t.Errorf("n1 has forgotten its members: %+v", n1.Stats())
		}
	})
}

// Goal: servers of two generations do not talk, and the older one is told. Method: n1 was
// recovered and n2 was not. As in a node, neither talks before it knows its members: a
// server without a generation takes every generation.
func TestGenerationsDoNotMix(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", nil, nil)
		n2 := g.start("n2", nil, nil)
		recovered := madeOf(9, "n1", "n1", "n2")
		recovered.Generation = 2
		n1.SetMembers(recovered)
		n2.SetMembers(madeOf(9, "n2", "n1", "n2"))
		time.Sleep(5 * time.Second)
		if g.talk("n1", "n2") || g.talk("n2", "n1") {
			t.Error("they talk")
		}
		if words := g.told["n2"].words(); !strings.HasPrefix(words, "n1: generation at 9") {
			t.Errorf("the older one was told %q", words)
		}
		if words := g.told["n1"].words(); words != "" {
			t.Errorf("the newer one was told %q", words)
		}
	})
}

// Goal: a name counts only from the directory that the configuration names; the record
// decides over what was remembered. Method: n2 is met on one directory, and the
// configuration names another; then n2 comes from that.
func TestANameCountsOnlyFromItsDirectory(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		old := g.start("n2", []core.ID{"n1"}, nil)
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		old.SetMembers(madeOf(5, "n2", "n1", "n2"))
		time.Sleep(time.Second)
		if !g.talk("n1", "n2") {
			t.Fatal("they do not talk")
		}
		old.Close()
		life := newLife()
		m := madeOf(7, "n1", "n1", "n2")
		m.Peers["n2"] = Peer{Address: addressOf("n2"), Incarnation: life.Incarnation}
		n1.SetMembers(m)
		again := g.start("n2", []core.ID{"n1"}, func(c *Config) { c.Life = old.config.Life.Next(draw) })
		time.Sleep(3 * time.Second)
		if g.talk("n1", "n2") {
			t.Error("the directory that was replaced is talked to")
		}
		again.Close()
		g.start("n2", []core.ID{"n1"}, func(c *Config) { c.Life = life })
		time.Sleep(3 * time.Second)
		if !g.talk("n1", "n2") {
			t.Errorf("the directory that the configuration names is not talked to: %v", n1.Stats().Rejected)
		}
	})
}

// Goal: whoever asks an address hears which server is there, with its directory, levels and
// addresses, and neither side takes note of the other; a server of another cluster
// refuses. Method: a server that nobody knows asks two.
func TestAnAddressSaysWhoIsThere(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		other := g.start("n3", nil, func(c *Config) { c.ClusterID = "d" })
		newcomer := g.start("n4", nil, func(c *Config) { c.UID, c.Joining = core.UID{}, true })
		got, err := newcomer.Ask(t.Context(), addressOf("n1"))
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != "n1" || got.UID != ofMembers || got.Generation != 1 || got.Version != 5 || got.Levels != (levels.Range{Min: levels.Min, Max: levels.Newest}) ||
			got.Incarnation != n1.config.Life.Incarnation || got.Address(AddressPeer) != addressOf("n1") || got.Address(AddressHTTP) != "http-n1" {
			t.Errorf("%+v is there", got)
		}
		if _, known := n1.Shown("n4"); known || n1.now().peer("n4") != nil {
			t.Error("the newcomer is known from then on")
		}
		synctest.Wait()
		if st := n1.Stats(); st.Strangers != 0 || len(st.Rejected) != 0 {
			t.Errorf("the question is counted: %+v", st)
		}
		if _, err := other.Ask(t.Context(), addressOf("n1")); err == nil || !strings.Contains(err.Error(), "cluster") {
			t.Errorf("a server of another cluster: %v", err)
		}
		if _, err := n1.Ask(t.Context(), addressOf("n4")); err != nil {
			t.Errorf("the newcomer, dialled back: %v", err)
		}
		if _, err := n1.Ask(t.Context(), "n5:1"); err == nil {
			t.Error("an answer from nobody")
		}
	})
}

// Goal: below levels.Members a hello says nothing of a configuration, since servers of
// the first release refuse it. Method: the same server at either level.
func TestAHelloSaysNothingNewBelowItsLevel(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		if h := n1.ownHello("n2"); h.Generation != 0 || h.ConfigVer != 0 || len(h.Addresses) != 0 || h.LevelMax != levels.Newest {
			t.Errorf("at the lowest level: %+v", h)
		}
		m := madeOf(5, "n1", "n1", "n2")
		m.Level = levels.Min
		n1.SetMembers(m)
		if h := n1.ownHello("n2"); h.Generation != 0 || h.ConfigVer != 0 || len(h.Addresses) != 0 {
			t.Errorf("with a configuration that is not committed: %+v", h)
		}
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		if h := n1.ownHello("n2"); h.Generation != 1 || h.ConfigVer != 5 || len(h.Addresses) == 0 {
			t.Errorf("at its level: %+v", h)
		}
	})
}

// Goal: a server that has moved is found by the address that it names itself. Method: n2
// dials n1, whose list has an address at which nobody listens.
func TestTheAddressThatAPeerNamesIsTried(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		n2 := g.start("n2", []core.ID{"n1"}, nil)
		m := madeOf(5, "n1", "n1", "n2")
		m.Peers["n2"] = Peer{Address: "nowhere:1"}
		n1.SetMembers(m)
		n2.SetMembers(madeOf(5, "n2", "n1", "n2"))
		time.Sleep(5 * time.Second)
		if !g.talk("n1", "n2") {
			t.Errorf("n2 is not found: %+v", n1.Stats())
		}
	})
}

// Goal: what a server has shown is that of its newest boot. Method: n2 comes with a
// build that knows the newest level, and again with one that does not.
func TestAServerShowsTheLevelsOfItsNewestBoot(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		if _, known := n1.Shown("n2"); known {
			t.Error("levels of a server that was never met")
		}
		n2 := g.start("n2", []core.ID{"n1"}, func(c *Config) { c.Build = "new" })
		time.Sleep(time.Second)
		if s, known := n1.Shown("n2"); !known || !s.Levels.Knows(levels.Newest) || s.Build != "new" {
			t.Errorf("it has shown %+v", s)
		}
		n2.Close()
		g.start("n2", []core.ID{"n1"}, func(c *Config) {
			c.Life, c.Build, c.LevelMax = n2.config.Life.Next(draw), "old", levels.Min
		})
		time.Sleep(3 * time.Second)
		if s, known := n1.Shown("n2"); !known || s.Levels.Knows(levels.Newest) || s.Build != "old" {
			t.Errorf("after it went back it has shown %+v", s)
		}
	})
}

// Goal: a server below the cluster's level is turned down from the moment at which the
// level rises. Method: n2 knows the lowest level only.
func TestAServerBelowTheLevelIsTurnedDown(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		g := newGrown(t)
		defer g.close()
		n1 := g.start("n1", []core.ID{"n2"}, nil)
		n1.SetMembers(madeOf(5, "n1", "n1", "n2"))
		n2 := g.start("n2", []core.ID{"n1"}, func(c *Config) { c.LevelMax = levels.Min })
		time.Sleep(3 * time.Second)
		if st := n1.Stats(); st.Rejected[ReasonLevel] == 0 || st.Total.Accepts+st.Total.Connects != 0 || n2.Stats().Total.Refusals == 0 {
			t.Errorf("it is taken: %+v", st)
		}
	})
}

// Goal: addresses come out of a hello as they went in; those without room are left out,
// and bytes that nobody wrote are refused. Method: both ways, all beginnings, too many.
func TestAddressesInAHello(t *testing.T) {
	want := []Address{{AddressHTTP, "h:1"}, {AddressPeer, strings.Repeat("p", 255)}, {"raw", ""}}
	b := packAddresses(want)
	got, err := unpackAddresses(b)
	if err != nil || !maps.Equal(byName(got), byName(want)) {
		t.Fatalf("%v (%v)", got, err)
	}
	whole := 0
	for n := range b {
		if _, err := unpackAddresses(b[:n]); err == nil {
			whole++
		} else if !errors.Is(err, errMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if whole != len(want) { // none, one, two of them
		t.Errorf("%d beginnings are taken", whole)
	}
	long := Address{"x", strings.Repeat("a", 255)}
	if b := packAddresses([]Address{long, long, long, long}); len(b) > maxAddressBytes || len(b) < 500 {
		t.Errorf("%d bytes of addresses", len(b))
	}
	if _, err := unpackAddresses(bytes.Repeat([]byte{0, 0, 0}, maxNamedAddresses+1)); err == nil {
		t.Error("any number of addresses is taken")
	}
	if _, err := unpackAddresses(make(packedBytes, maxAddressBytes+1)); err == nil {
		t.Error("any number of bytes is taken")
	}
}

func byName(all []Address) map[string]string {
	m := map[string]string{}
	for _, a := range all {
		m[a.Name] = a.Address
	}
	return m
}

// Goal: no bytes in the field of addresses make the decoder panic, and what it takes is
// written back byte for byte.
func FuzzHelloAddresses(f *testing.F) {
	f.Add([]byte(packAddresses([]Address{{AddressPeer, "h:1"}, {AddressHTTP, "h:2"}})))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := unpackAddresses(b)
		if err != nil {
			return
		}
		if again := packAddresses(all); !bytes.Equal(again, b) {
			t.Fatalf("%x is read as %v and written as %x", b, all, again)
		}
	})
}
