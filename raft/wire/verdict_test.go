package wire

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
)

// site is a cluster of which a test starts the servers one by one, each with a
// memory and a life that last.
type site struct {
	listeners map[core.ID]net.Listener
	addrs     map[core.ID]string
	memories  map[core.ID]forgetful
	lives     map[core.ID]identity.Life
	told      map[core.ID]*verdicts
	logs      map[core.ID]*logbook
}

func newSite(t testing.TB, n int) *site {
	t.Helper()
	s := &site{
		listeners: map[core.ID]net.Listener{}, addrs: map[core.ID]string{}, memories: map[core.ID]forgetful{},
		lives: map[core.ID]identity.Life{}, told: map[core.ID]*verdicts{}, logs: map[core.ID]*logbook{},
	}
	for i := range n {
		id := core.ID(fmt.Sprintf("n%d", i+1))
		s.listeners[id] = listen(t, "127.0.0.1:0")
		s.addrs[id] = s.listeners[id].Addr().String()
		s.memories[id], s.lives[id] = forgetful{}, newLife()
	}
	return s
}

// met lets all servers remember each other's lives.
func (s *site) met() *site {
	for id, memory := range s.memories {
		for peer, l := range s.lives {
			if peer != id {
				memory[peer], _, _ = identity.Known{}.Meet(l)
			}
		}
	}
	return s
}

// start starts a server of the site.
func (s *site) start(t testing.TB, id core.ID, tweak func(*Config)) *server {
	t.Helper()
	s.told[id], s.logs[id] = &verdicts{}, &logbook{}
	return start(t, id, s.listeners[id], s.addrs, func(c *Config) {
		c.Life, c.Memory, c.Fenced = s.lives[id], s.memories[id], s.told[id].fenced
		c.Logger, c.VerdictWait = slog.New(slog.NewTextHandler(s.logs[id], nil)), 300*time.Millisecond
		if tweak != nil {
			tweak(c)
		}
	}, nil)
}

// Goal: a server of an earlier cluster of the same name, at a member's address,
// ends nobody, whatever it says of the others' directories, and the others go on
// talking to each other. Method: clusters of three and five, of which the last
// member is away; in its place stands one whose memory is of other directories.
// Every member is turned down by it several times.
func TestAStrayAtAMembersAddressEndsNobody(t *testing.T) {
	for _, size := range []int{3, 5} {
		s, other := newSite(t, size).met(), newSite(t, size).met()
		last := core.ID(fmt.Sprintf("n%d", size))
		s.memories[last], s.lives[last] = other.memories[last], other.lives[last]
		servers := map[core.ID]*server{}
		for id := range s.addrs {
			servers[id] = s.start(t, id, nil)
		}
		for id, server := range servers {
			eventually(t, "each is turned down by the stray", func() bool { return id == last || server.Stats().Peers[last].Refusals >= 3 })
		}
		for id, server := range servers {
			if id == last {
				continue
			}
			connected(t, server, size-2)
			if server.muted.Load() || len(s.told[id].told) != 0 {
				t.Errorf("%d servers: %s was ended by a stray: %v", size, id, s.told[id].last)
			}
			if log := s.logs[id].String(); !strings.Contains(log, "not the peer that we know") {
				t.Errorf("%s says nothing of the stray:\n%s", id, log)
			}
		}
		for _, server := range servers {
			server.Close()
		}
	}
}

// Goal: a server that was really emptied ends, for good when a majority of the
// others says so and for this time when they are fewer; and from the first word
// on it takes part in nothing. Others that know no uid of their cluster may have met
// a stray: their words end it for this time only. Method: three servers that have
// met; n1 comes with another directory, while both others are there, and while one
// is; with a uid and without.
func TestAnEmptiedServerEnds(t *testing.T) {
	for _, c := range []struct {
		others []core.ID
		uid    core.UID
	}{{[]core.ID{"n2", "n3"}, core.UID{1}}, {[]core.ID{"n2"}, core.UID{1}}, {[]core.ID{"n2", "n3"}, core.UID{}}} {
		others := c.others
		s := newSite(t, 3).met()
		s.lives["n1"], s.memories["n1"] = newLife(), forgetful{}
		running := map[core.ID]*server{}
		for _, id := range others {
			running[id] = s.start(t, id, func(config *Config) { config.UID = c.uid })
		}
		n1 := s.start(t, "n1", nil)
		running["n1"] = n1
		majority := len(others) == 2 && c.uid != (core.UID{})
		eventually(t, "n1 is told", func() bool {
			s.told["n1"].mu.Lock()
			defer s.told["n1"].mu.Unlock()
			v := s.told["n1"].last
			return v.Why == identity.Wiped && v.Majority == majority && len(v.By) == len(others)
		})
		if !n1.muted.Load() {
			t.Error("n1 takes part after it was told that it has forgotten everything")
		}
		o := newOutcomes()
		n1.Send(ping("n2", 1), o.done)
		if o.countLost() != 1 {
			t.Error("n1 sends a message")
		}
		for _, id := range others {
			if len(s.told[id].told) != 0 {
				t.Errorf("%s was told %v", id, s.told[id].last)
			}
		}
		for _, server := range running {
			server.Close()
		}
	}
}

// Goal: a single word holds up a server only until its peer takes it back, and
// nobody hears a message meanwhile. Method: a raw peer turns n1 down once as
// wiped, n1 hears a request from another; then the raw peer takes it.
func TestAWordCanBeTakenBack(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	var told verdicts
	n1 := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l.Addr().String(), "n3": "127.0.0.1:1", "n4": "127.0.0.1:2"}, func(c *Config) {
		c.Fenced, c.VerdictWait = told.fenced, time.Hour
	}, nil)
	n3 := greetRaw(t, n1, "n3")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	own := validHello("n2", "n1").among("n1", "n2", "n3", "n4")
	p := newRaw(conn)
	p.write(t, p.encoder.refusal(nil, &rejection{reason: identity.Wiped, detail: "another directory"}, own))
	eventually(t, "n1 is muted", n1.muted.Load)
	b, err := n3.encoder.request(nil, &core.ReadIndex{Term: 7})
	if err != nil {
		t.Fatal(err)
	}
	n3.write(t, b)
	if k, _, err := n3.frames.next(answerFrames); err != nil || k != kindNoReply {
		t.Fatalf("a muted server answers: kind 0x%02x, %v", uint8(k), err)
	}
	acceptRaw(t, l, "n2")
	eventually(t, "n1 takes part again", func() bool { return !n1.muted.Load() })
	if len(n1.received()) != 0 || len(told.told) != 0 {
		t.Errorf("received %d, told %v", len(n1.received()), told.last)
	}
}

// Goal: a refusal counts only from the peer that we know. Method: a raw peer at
// n2's address turns n1 down as wiped, with each hello that is not n2's in one
// respect, and at last with n2's own.
func TestWhoseWordCounts(t *testing.T) {
	ours, theirs := core.UID{1}, core.UID{2}
	for name, c := range map[string]struct {
		change func(*hello)
		counts bool
	}{
		"the peer":                 {func(*hello) {}, true},
		"after a restart":          {func(h *hello) { h.of(testLife.Next(draw)) }, true},
		"another directory":        {func(h *hello) { h.of(newLife()) }, false},
		"an earlier boot":          {func(h *hello) { h.of(identity.Life{Incarnation: testLife.Incarnation, Boot: 1, Nonces: []uint64{99}}) }, false},
		"another cluster's name":   {func(h *hello) { h.ClusterID = "d" }, false},
		"another cluster":          {func(h *hello) { h.UID = theirs[:] }, false},
		"no cluster yet":           {func(h *hello) { h.UID = make(packedBytes, 16) }, false},
		"another list of members":  {func(h *hello) { h.among("n1", "n2") }, false},
		"another server":           {func(h *hello) { h.From = "n3" }, false},
		"to another server":        {func(h *hello) { h.To = "n3" }, false},
		"another level":            {func(h *hello) { h.LevelMin, h.LevelMax = levels.Newest+1, levels.Newest+1 }, false},
		"a later version":          {func(h *hello) { h.Version = version + 1 }, false},
		"a disk that was put back": {func(h *hello) { h.Term, h.Last = 5, 9 }, false},
	} {
		l := listen(t, "127.0.0.1:0")
		var told verdicts
		known, _, _ := identity.Known{}.Meet(testLife)
		known = known.Note(identity.Standing{Term: 5, Last: 10, Commit: 10})
		n1 := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l.Addr().String(), "n3": "127.0.0.1:1"}, func(c *Config) {
			c.Memory, c.Fenced, c.UID, c.VerdictWait = forgetful{"n2": known}, told.fenced, ours, time.Millisecond
		}, nil)
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		h := validHello("n2", "n1").among("n1", "n2", "n3")
		h.UID, h.Term, h.Last, h.Commit = ours[:], 6, 11, 10
		c.change(h)
		p := newRaw(conn)
		p.write(t, p.encoder.refusal(nil, &rejection{reason: identity.Wiped, detail: "no"}, h))
		eventually(t, name+" is heard", func() bool {
			return c.counts && told.by("n2") == identity.Wiped || !c.counts && n1.distrusted.Load() == 1
		})
		if n1.muted.Load() != c.counts {
			t.Errorf("%s: muted %v", name, n1.muted.Load())
		}
		conn.Close()
		n1.Close()
		l.Close()
	}
}

// Goal: servers that began differently refuse each other at the first hello, and
// both logs name both beginnings. Method: two transports per row, that differ in
// one thing.
func TestServersWithDifferentBeginningsRefuseEachOther(t *testing.T) {
	for name, c := range map[string]struct {
		reason identity.Reason
		tweak  func(*Config) // of n2
		words  []string
	}{
		"another uid":  {identity.OtherCluster, func(c *Config) { c.UID = core.UID{2} }, []string{core.UID{1}.String(), core.UID{2}.String()}},
		"another list": {ReasonBootstrap, func(c *Config) { c.Peers["n3"] = "127.0.0.1:1" }, []string{"n1,n2,n3", "n1,n2;"}},
		"another name": {identity.OtherCluster, func(c *Config) { c.ClusterID = "d" }, []string{`\"c\"`, `\"d\"`}},
	} {
		s := newSite(t, 2)
		n1 := s.start(t, "n1", func(c *Config) { c.UID = core.UID{1} })
		n2 := s.start(t, "n2", c.tweak)
		for _, server := range []*server{n1, n2} {
			eventually(t, name+": counted on both sides", func() bool {
				st := server.Stats()
				return st.Rejected[c.reason] > 0 && st.Total.Refusals > 0
			})
			if st := server.Stats().Total; st.Connects+st.Accepts != 0 {
				t.Errorf("%s: stats %+v", name, st)
			}
		}
		for _, id := range []core.ID{"n1", "n2"} {
			for _, word := range c.words {
				eventually(t, fmt.Sprintf("%s: the log of %s says %s", name, id, word), func() bool { return strings.Contains(s.logs[id].String(), word) })
			}
			if len(s.told[id].told) != 0 {
				t.Errorf("%s: %s was ended", name, id)
			}
		}
		n1.Close()
		n2.Close()
	}
}

// Goal: servers of which only one knows the uid of its cluster talk, and the other
// one's word counts when it learns it: as the same, nothing changes; as another,
// they part. Method: two transports, one of which learns a uid later.
func TestAUIDThatIsLearnedLater(t *testing.T) {
	for _, same := range []bool{true, false} {
		s := newSite(t, 2)
		n1 := s.start(t, "n1", func(c *Config) { c.UID = core.UID{1} })
		n2 := s.start(t, "n2", nil)
		connected(t, n1, 1)
		connected(t, n2, 1)
		if same {
			n2.SetUID(core.UID{1})
			eventually(t, "n1 has heard it", func() bool { return n1.Stats().Total.FramesReceived > 0 })
			if st := n1.Stats().Total; !st.Connected || !st.Accepted || st.Accepts != 1 {
				t.Errorf("the same uid: %+v", st)
			}
		} else {
			n2.SetUID(core.UID{2})
			eventually(t, "they part", func() bool {
				a, b := n1.Stats(), n2.Stats()
				return a.Rejected[identity.OtherCluster] > 0 && !a.Total.Accepted && b.Total.Refusals > 0
			})
		}
		n1.Close()
		n2.Close()
	}
}

// Goal: a directory that was met as one of another cluster is not held against
// the peer that comes in its place. Method: a memory of n2 with another uid.
func TestWhoWasMetInAnotherClusterIsNotRemembered(t *testing.T) {
	stray, _, _ := identity.Known{}.Meet(newLife())
	stray.UID = core.UID{2}
	for ours, taken := range map[core.UID]bool{{1}: true, {2}: false, {}: false} {
		s := newSite(t, 2)
		s.memories["n1"] = forgetful{"n2": stray}
		n1 := s.start(t, "n1", func(c *Config) { c.UID = ours })
		n2 := s.start(t, "n2", nil)
		eventually(t, "judged", func() bool {
			return n1.Stats().Total.Accepted == taken && (taken || n1.Stats().Rejected[identity.Wiped] > 0)
		})
		n1.Close()
		n2.Close()
	}
}

// Goal: a server that is alone in its list of members is told when another one
// counts it among its own, and only then. Method: raw hellos to it.
func TestAServerThatIsAloneHearsThatItIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		h    *hello
		told bool
	}{
		"a member of three":      {validHello("n2", "n1").among("n1", "n2", "n3"), true},
		"one of another name":    {func() *hello { h := validHello("n2", "n1").among("n1", "n2"); h.ClusterID = "d"; return h }(), false},
		"one that means n3":      {validHello("n2", "n3").among("n2", "n3"), false},
		"itself, another list":   {validHello("n1", "n1").among("n1", "n2"), false},
		"one of the same, alone": {validHello("n2", "n1").among("n1"), false},
	} {
		told := make(chan core.ID, 1)
		s := start(t, "n1", listen(t, "127.0.0.1:0"), nil, func(c *Config) { c.Contested = func(by core.ID) { told <- by } }, nil)
		p := dialRaw(t, s.config.Listener.Addr().String())
		p.write(t, p.encoder.hello(nil, kindHello, c.h))
		p.ended(t)
		eventually(t, name+" is counted", func() bool { return len(s.Stats().Rejected) == 1 })
		if got := len(told) == 1; got != c.told {
			t.Errorf("%s: told %v", name, got)
		}
		s.Close()
	}
}

// Goal: a server that began alone, with a list from before its cluster grew, is told when a
// member of that cluster dials it, before it has served anybody (M16); one that joins is not.
// Method: a hello of a server with a record and another uid.
func TestAServerThatBeganBesideItsClusterHearsIt(t *testing.T) {
	for name, c := range map[string]struct {
		generation uint64
		joins      bool
		told       bool
	}{"a member by its record": {1, false, true}, "another cluster of level 2": {0, false, false}, "a server that joins": {1, true, false}} {
		told := make(chan core.ID, 1)
		s := start(t, "n1", listen(t, "127.0.0.1:0"), nil, func(config *Config) {
			config.Contested, config.UID, config.Joining = func(by core.ID) { told <- by }, core.UID{1}, c.joins
		}, nil)
		h := validHello("n2", "n1").among("n1", "n2", "n3")
		h.UID[0], h.Generation, h.ConfigVer = 2, c.generation, 7*c.generation
		p := dialRaw(t, s.config.Listener.Addr().String())
		p.write(t, p.encoder.hello(nil, kindHello, h))
		p.ended(t)
		eventually(t, name+" is counted", func() bool { return s.Stats().Rejected[identity.OtherCluster] == 1 })
		if got := len(told) == 1; got != c.told {
			t.Errorf("%s: told %v", name, got)
		}
		s.Close()
	}
}

// Goal: a server that has served alone before is not ended because another one has
// a wrong address: it turns that one down, and both say why. Method: n1, alone and
// used; n2, whose list names both, dials it.
func TestAServerThatHasServedAloneGoesOn(t *testing.T) {
	var log, other logbook
	alone := listen(t, "127.0.0.1:0")
	s := start(t, "n1", alone, nil, func(c *Config) {
		c.Contested, c.UID = func(by core.ID) { t.Errorf("it is ended by %s", by) }, core.UID{1}
		c.Used = func() bool { return true }
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, nil)
	n2 := start(t, "n2", listen(t, "127.0.0.1:0"), map[core.ID]string{"n1": alone.Addr().String()}, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&other, nil))
	}, nil)
	eventually(t, "n2 is turned down", func() bool { return n2.Stats().Peers["n1"].Refusals > 0 })
	eventually(t, "n1 says why", func() bool { return strings.Contains(log.String(), "this server goes on") })
	eventually(t, "n2 says why", func() bool { return strings.Contains(other.String(), "has another list of members") })
	n2.Close()
	s.Close()
}

// Goal: of the fields that wait for a later level only the empty ones are taken,
// and the refusal names the field. Method: one field at a time.
func TestFieldsOfALaterLevelAreRefusedByNumber(t *testing.T) {
	for number, set := range map[int]func(*hello){
		12: func(h *hello) { h.Generation = 1 }, 16: func(h *hello) { h.ConfigVer = 1 },
		17: func(h *hello) { h.Addresses = packedBytes{1} },
	} {
		h := validHello("n2", "n1")
		set(h)
		if err := h.judgeLevel(levels.Range{Min: 2, Max: 2}, 0); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("field %d of", number)) {
			t.Errorf("field %d: %v", number, err)
		}
	}
	for span, taken := range map[[2]uint64]bool{{2, 2}: true, {1, 2}: true, {2, 9}: true, {1, 1}: false, {3, 3}: false, {3, 1}: false, {0, 0}: false} {
		h := validHello("n2", "n1")
		h.LevelMin, h.LevelMax = span[0], span[1]
		if err := h.judgeLevel(levels.Range{Min: 2, Max: 2}, 0); (err == nil) != taken {
			t.Errorf("levels %v: %v", span, err)
		}
	}
}

// Goal: whoever speaks HTTP on the peer port hears so, and a server that has an
// HTTP port in its list says so. Method: both, with the first lines of several
// clients.
func TestHTTPOnThePeerPort(t *testing.T) {
	for _, line := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PUT /v1/kv/x HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		var log logbook
		s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}, nil)
		p := dialRaw(t, s.config.Listener.Addr().String())
		p.write(t, []byte(line))
		var answer strings.Builder
		buffer := make([]byte, 512)
		for {
			n, err := p.Read(buffer)
			answer.Write(buffer[:n])
			if err != nil {
				break
			}
		}
		if a := answer.String(); !strings.HasPrefix(a, "HTTP/1.1 400 ") || !strings.Contains(a, "this is a peer port; clients use the port of --http") {
			t.Errorf("%.8q is answered with %q", line, a)
		}
		p.Close()
		eventually(t, "it is counted", func() bool { return s.Stats().Rejected[ReasonMalformed] == 1 })
		eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), "an HTTP client speaks to the peer port") })
		s.Close()
	}
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	var log logbook
	start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l.Addr().String()}, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, nil)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log names the mistake", func() bool {
		return strings.Contains(log.String(), "an HTTP server answers at "+l.Addr().String()) && strings.Contains(log.String(), "not those of --http")
	})
}

// Goal: a probe that connects and closes is no warning. Method: one, and the log.
func TestAProbeIsNoWarning(t *testing.T) {
	var log logbook
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, nil)
	dialRaw(t, s.config.Listener.Addr().String()).Close()
	eventually(t, "it is counted", func() bool { return s.Stats().Rejected[ReasonSilent] == 1 })
	s.Close()
	if strings.Contains(log.String(), "a connection was turned down") {
		t.Errorf("the log says\n%s", log.String())
	}
}

// Goal: a server that comes back tells all others that it has a goal before it
// says or hears anything else, and they then know its predecessor as replaced.
// Method: three servers, of which n1 asks; it announces while n3 is away, which
// then comes.
func TestAGoalIsAnnouncedToAllOthersFirst(t *testing.T) {
	s := newSite(t, 3).met()
	s.listeners["n3"].Close()
	old := s.lives["n1"]
	s.lives["n1"] = rejoined(newLife())
	standing := make(chan identity.Standing, 1)
	standing <- identity.Standing{}
	n1 := s.start(t, "n1", func(c *Config) {
		c.Standing = func() identity.Standing { now := <-standing; standing <- now; return now }
	})
	n2 := s.start(t, "n2", nil)
	eventually(t, "n1 and n2 talk", func() bool { return n1.Stats().Peers["n2"].Connected && n2.Stats().Peers["n1"].Connected })
	if k := s.remembered(n2, "n1"); k.Incarnation != old.Incarnation || k.Newcomer != s.lives["n1"].Incarnation {
		t.Fatalf("a newcomer without a goal has replaced its predecessor: %+v", k)
	}
	<-standing
	standing <- identity.Standing{Term: 7}
	done := make(chan bool, 1)
	go func() { done <- n1.Announce() }()
	eventually(t, "n2 has heard of the goal", func() bool { k := s.remembered(n2, "n1"); return k.Incarnation == s.lives["n1"].Incarnation })
	o := newOutcomes()
	n1.Send(ping("n2", 1), o.done)
	if o.countLost() != 1 || len(done) != 0 {
		t.Fatal("n1 speaks before n3 has heard of its goal")
	}
	s.listeners["n3"] = listen(t, s.addrs["n3"])
	n3 := s.start(t, "n3", nil)
	// n3 has never heard n1 asking: its predecessor may have promised it something.
	eventually(t, "n3 turns n1 down", func() bool { return n3.Stats().Rejected[identity.Wiped] > 0 })
	if len(done) != 0 {
		t.Fatal("n1 takes part though n3 turns it down")
	}
	n3.Close()
	s.listeners["n3"] = listen(t, s.addrs["n3"])
	s.memories["n3"]["n1"], _, _ = s.memories["n3"]["n1"].Meet(asking(s.lives["n1"]))
	n3 = s.start(t, "n3", nil)
	if !<-done {
		t.Fatal("the announcement failed")
	}
	for _, server := range []*server{n2, n3} {
		if k := s.remembered(server, "n1"); k.Incarnation != s.lives["n1"].Incarnation || len(k.Former) != 1 {
			t.Errorf("%+v", k)
		}
	}
	connected(t, n1, 2)
	if n1.muted.Load() {
		t.Error("n1 takes part in nothing")
	}
}

// remembered returns what a running server remembers of a peer.
func (s *site) remembered(of *server, id core.ID) identity.Known {
	of.remembering <- struct{}{}
	defer func() { <-of.remembering }()
	return maps.Clone(s.memories[of.config.ID])[id]
}
