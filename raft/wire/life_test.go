package wire

import (
	"errors"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"raftkv/raft/core"
)

// lives gives a test directories and their use: next(l) is a restart on l, and a
// copy of l is l itself.
func next(l Life, times int) Life {
	for range times {
		l = l.Next()
	}
	return l
}

func rejoined(l Life) Life { l.Rejoined = true; return l }

// asking is the same life before it has a goal.
func asking(l Life) Life { l.Asking = true; return l }

// replace lets the peer of which k is remembered come back on the directory of l.
func replace(k Known, l Life) Known {
	k, _, _ = k.Meet(asking(l))
	k, _, _ = k.Meet(l)
	return k
}

// Goal: from what is remembered of a peer and what its hello says, a restart is
// told from an emptied directory, one put back and a copy, and a directory that
// was made to replace a lost one is taken once and its predecessor never again.
// Method: a table of pasts, with the life that comes next.
func TestAPeersDirectoryIsJudged(t *testing.T) {
	a, b, c := NewLife(), rejoined(NewLife()), rejoined(NewLife())
	at5 := next(a, 4)
	for _, test := range []struct {
		name string
		past []Life // met, and taken, in this order
		now  Life
		want Reason
	}{
		{"never met", nil, a, ""},
		{"the same process", []Life{a}, a, ""},
		{"a restart", []Life{a}, a.Next(), ""},
		{"many restarts unseen", []Life{a}, next(a, MaxNonces-1), ""},
		{"too many restarts to tell", []Life{a}, next(a, MaxNonces+5), ""},
		{"emptied", []Life{a}, NewLife(), ReasonWiped},
		{"emptied after many starts", []Life{at5}, NewLife(), ReasonWiped},
		{"put back", []Life{a, at5}, next(a, 2), ReasonRolledBack},
		{"put back and started as often as before", []Life{a, at5}, next(a, 4), ReasonCopied},
		{"put back and started more often", []Life{a, at5}, next(a, 5), ReasonRolledBack},
		{"put back and started much more often", []Life{a, at5}, next(a, MaxNonces), ReasonRolledBack},
		{"two copies started at once", []Life{a, a.Next()}, a.Next(), ReasonCopied},
		{"a newcomer asks", []Life{a}, asking(b), ""},
		{"a newcomer asks again", []Life{a, asking(b)}, asking(b.Next()), ""},
		{"another newcomer asks", []Life{a, asking(b)}, asking(c), ""},
		{"a newcomer that nobody has heard asking", []Life{a}, b, ReasonWiped},
		{"a newcomer that asked before another one", []Life{a, asking(b), asking(c)}, b, ReasonWiped},
		{"the lost one comes back before the newcomer has a goal", []Life{a, asking(b)}, a.Next(), ""},
		{"the lost one has come back, then the newcomer has a goal", []Life{a, asking(b), a.Next()}, b, ReasonReplaced},
		{"the lost one has come back, and the newcomer asks again", []Life{a, asking(b), a.Next()}, asking(b), ReasonReplaced},
		{"the same process of the lost one", []Life{a, asking(b)}, a, ""},
		{"replaced", []Life{a, asking(b)}, b, ""},
		{"replaced, with a restart between", []Life{a, asking(b)}, b.Next(), ""},
		{"replaced, then restarted", []Life{a, asking(b), b}, b.Next(), ""},
		{"replaced twice", []Life{a, asking(b), b, asking(c)}, c, ""},
		{"the one before the replacement", []Life{a, asking(b), b}, a.Next(), ReasonReplaced},
		{"the one before two replacements", []Life{a, asking(b), b, asking(c), c}, a.Next(), ReasonReplaced},
		{"the replacement before the last", []Life{a, asking(b), b, asking(c), c}, b.Next(), ReasonReplaced},
		{"emptied after a replacement", []Life{a, asking(b), b}, NewLife(), ReasonWiped},
	} {
		var k Known
		for i, l := range test.past {
			after, changed, reason := k.Meet(l)
			if !changed || reason != "" {
				t.Fatalf("%s: life %d of the past: changed %v, %q", test.name, i, changed, reason)
			}
			k = after
		}
		after, changed, reason := k.Meet(test.now)
		// What is met a second time is no news, nor is a restart of who only asks.
		same := len(test.past) > 0 && reflect.DeepEqual(test.now, test.past[len(test.past)-1]) || test.name == "a newcomer asks again"
		if reason != test.want || changed != (test.want == "" && !same) {
			t.Errorf("%s: changed %v, %q instead of %q", test.name, changed, reason, test.want)
		}
		if reason != "" && !reflect.DeepEqual(after, k) {
			t.Errorf("%s: a peer that was turned down changed what is remembered", test.name)
		}
	}
}

// Goal: a directory that was found to be in an earlier state is turned down,
// whatever its boots say, until another takes its place. Method: a raw peer stands;
// then it is fenced; then it comes again, with the same process, the next, and a
// replacement.
func TestAFencedPeerIsTurnedDown(t *testing.T) {
	var log logbook
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, nil)
	p := greetRaw(t, s, "n2")
	s.Fence("n3") // nobody
	s.Fence("n2")
	p.ended(t)
	for i, l := range []Life{testLife, testLife.Next(), rejoined(NewLife())} {
		q := dialRaw(t, s.config.Listener.Addr().String())
		q.write(t, q.encoder.hello(nil, kindHello, validHello("n2", "n1").of(l)))
		k, body, err := q.frames.next(greetingFrames)
		if err != nil {
			t.Fatal(err)
		}
		if taken := i == 2; taken != (k == kindHello) {
			t.Errorf("life %d: a frame of kind 0x%02x", i, uint8(k))
		} else if r, err := q.decoder.refusal(body); !taken && (err != nil || r.Reason != ReasonRolledBack) {
			t.Errorf("life %d: %+v, %v", i, r, err)
		}
	}
	if !strings.Contains(log.String(), "has forgotten what it confirmed") {
		t.Errorf("the log says\n%s", log.String())
	}
}

// Goal: what is remembered of replaced directories is bounded, and it is the last
// ones that are remembered. Method: more replacements than that.
func TestReplacedDirectoriesAreBounded(t *testing.T) {
	var k Known
	last := NewLife()
	k, _, _ = k.Meet(last)
	var replaced []Incarnation
	for range maxFormer + 3 {
		replaced = append(replaced, last.Incarnation)
		last = rejoined(NewLife())
		k = replace(k, last)
	}
	if !slices.Equal(k.Former, replaced[len(replaced)-maxFormer:]) || k.Incarnation != last.Incarnation {
		t.Fatalf("%d former directories, not the last %d", len(k.Former), maxFormer)
	}
}

// Goal: what a hello says of a directory is checked. Method: lives that no server
// has.
func TestLivesAreChecked(t *testing.T) {
	good := next(NewLife(), 2).pack()
	for name, unpack := range map[string]func() (Life, error){
		"no incarnation":         func() (Life, error) { return unpackLife(make(packedBytes, 16), 3, good.nonces, false) },
		"short incarnation":      func() (Life, error) { return unpackLife(good.incarnation[:15], 3, good.nonces, false) },
		"boot 0":                 func() (Life, error) { return unpackLife(good.incarnation, 0, good.nonces, false) },
		"more nonces than boots": func() (Life, error) { return unpackLife(good.incarnation, 2, good.nonces, false) },
		"no nonces":              func() (Life, error) { return unpackLife(good.incarnation, 3, nil, false) },
		"part of a nonce":        func() (Life, error) { return unpackLife(good.incarnation, 3, good.nonces[:20], false) },
		"too many nonces": func() (Life, error) {
			return unpackLife(good.incarnation, 1000, make(packedBytes, 8*MaxNonces+8), false)
		},
	} {
		if l, err := unpack(); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	if l, err := unpackLife(good.incarnation, 3, good.nonces, true); err != nil || l.Boot != 3 || !l.Rejoined {
		t.Errorf("a good one: %+v, %v", l, err)
	}
	if _, err := New(Config{ClusterID: "c", ID: "n1", Listener: listen(t, "127.0.0.1:0"), Life: Life{Boot: 1}}); err == nil {
		t.Error("a server without an incarnation was made")
	}
}

// verdicts gathers what a server is told of its own directory.
type verdicts struct {
	mu   sync.Mutex
	told map[core.ID]Reason
	last Verdict
}

func (v *verdicts) fenced(is Verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.told == nil {
		v.told = map[core.ID]Reason{}
	}
	v.last = is
	for _, id := range is.By {
		v.told[id] = is.Why
	}
}

func (v *verdicts) by(id core.ID) Reason {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.told[id]
}

// Goal: a server whose directory was emptied, put back, copied or replaced is
// turned down by its peer, hears why, and both logs say so; nothing of it reaches
// the Handler. Method: each history, played to a server that remembers the first
// part of it.
func TestAServerWithTheWrongDirectoryIsToldSo(t *testing.T) {
	a := NewLife()
	for want, now := range map[Reason]Life{
		ReasonWiped: NewLife(), ReasonRolledBack: next(a, 1), ReasonCopied: next(a, 3), ReasonReplaced: a,
	} {
		past := []Life{next(a, 3)}
		if want == ReasonReplaced {
			b := rejoined(NewLife())
			past = append(past, asking(b), b)
		}
		memory := forgetful{}
		for _, l := range past {
			k, _, _ := memory["n2"].Meet(l)
			memory["n2"] = k
		}
		var log logbook
		var told verdicts
		l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
		addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String()}
		n1 := start(t, "n1", l1, addrs, func(c *Config) {
			c.Memory, c.Logger = memory, slog.New(slog.NewTextHandler(&log, nil))
		}, nil)
		n2 := start(t, "n2", l2, addrs, func(c *Config) { c.Life, c.Fenced = now, told.fenced }, nil)
		eventually(t, string(want)+" is told", func() bool { return told.by("n1") == want })
		eventually(t, string(want)+" is counted", func() bool { return n1.Stats().Rejected[want] > 0 && n2.Stats().Total.Refusals > 0 })
		if st := n1.Stats().Total; st.Accepts+st.Connects != 0 || len(n1.received())+len(n1.suspected()) != 0 {
			t.Errorf("%s: stats %+v", want, st)
		}
		if !strings.Contains(log.String(), "reason="+string(want)) || !strings.Contains(log.String(), "n2") {
			t.Errorf("%s: the log says\n%s", want, log.String())
		}
		n1.Close()
		n2.Close()
	}
}

// Goal: what is still on its way from an earlier process of a peer is not taken
// for the later one's: its connections end when the later one says hello. Method:
// n1 stands with a raw peer in both directions; then a raw peer of the next boot
// connects.
func TestALaterLifeEndsTheConnectionsOfTheOneBefore(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l.Addr().String()}, nil, nil)
	dialled := acceptRaw(t, l, "n2")
	greeted := greetRaw(t, s, "n2")
	connected(t, s, 1)
	o := newOutcomes()
	s.Send(ping("n2", 1), o.done)

	later := dialRaw(t, s.config.Listener.Addr().String())
	later.write(t, later.encoder.hello(nil, kindHello, validHello("n2", "n1").of(testLife.Next())))
	if k, _, err := later.frames.next(greetingFrames); err != nil || k != kindHello {
		t.Fatalf("the next boot is not taken: kind 0x%02x, %v", uint8(k), err)
	}
	dialled.ended(t)
	greeted.ended(t)
	eventually(t, "the call to the process before is lost", func() bool { return o.countLost() == 1 })
	if got := s.suspected(); len(got) != 0 {
		t.Errorf("suspected %q", got)
	}
	// The process before is turned down from now on, in both directions.
	before := dialRaw(t, s.config.Listener.Addr().String())
	before.write(t, before.encoder.hello(nil, kindHello, validHello("n2", "n1")))
	if k, _, err := before.frames.next(greetingFrames); err != nil || k != kindRefusal {
		t.Fatalf("the process before is taken: kind 0x%02x, %v", uint8(k), err)
	}
}

// failing is a Memory whose disk fails.
type failing struct{ forgetful }

func (failing) Remember(core.ID, Known) error { return errors.New("no disk") }
func (failing) Note(map[core.ID]Known) error  { return errors.New("no disk") }

// Goal: a peer that cannot be remembered is not talked to, and what is remembered
// is durable before anything of the peer is taken. Method: a Memory that fails.
func TestAPeerThatCannotBeRememberedIsNotTalkedTo(t *testing.T) {
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) { c.Memory = failing{forgetful{}} }, nil)
	p := dialRaw(t, s.config.Listener.Addr().String())
	p.write(t, p.encoder.hello(nil, kindHello, validHello("n2", "n1")))
	p.ended(t)
	if st := s.Stats().Total; st.Accepts != 0 || len(s.received()) != 0 {
		t.Errorf("stats %+v", st)
	}
}

// Goal: a peer of an earlier version hears by which name it is turned down, in a form that
// it understands. Method: its hello, byte by byte.
func TestAPeerOfAnEarlierVersionIsTurnedDownByName(t *testing.T) {
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, nil, nil)
	p := dialRaw(t, s.config.Listener.Addr().String())
	body := append([]byte{0x96, 0xab}, magic...)
	body = append(body, 1, 0xa1, 'c', 0xa2, 'n', '2', 0xa2, 'n', '1', 0xa0)
	p.write(t, append([]byte{byte(kindHello), byte(len(body)), 0, 0, 0}, body...))
	answer, err := io.ReadAll(p)
	if want := "\x02\x0a\x00\x00\x00\x92\xa7version\x03"; err != nil || string(answer) != want {
		t.Fatalf("%q, %v instead of %q", answer, err, want)
	}
	eventually(t, "it is counted", func() bool { return s.Stats().Rejected[ReasonVersion] == 1 })
}

// Goal: a server that lost its disk and has no goal yet neither takes the place of
// the directory it is to replace, where nobody was met before, nor condemns a
// peer's. Method: the pure judgement; the peer's own directory comes after the
// newcomer, and the newcomer speaks about ours.
func TestANewcomerWithoutAGoalStandsForNobody(t *testing.T) {
	own, newcomer := NewLife(), NewLife()
	newcomer.Rejoined = true
	k, changed, reason := Known{}.Meet(asking(newcomer))
	if changed || reason != "" || k.Boot != 0 {
		t.Errorf("the newcomer is remembered as %+v, reason %q", k, reason)
	}
	if k, _, reason = k.Meet(own); reason != "" || k.Incarnation != own.Incarnation {
		t.Errorf("the peer's own directory is turned down as %q", reason)
	}
	uid := core.UID{1}
	if (Known{}).Credible(uid, Identity{UID: uid, Life: asking(newcomer)}) == "" {
		t.Error("the word of a server that has forgotten everybody counts")
	}
	if doubt := (Known{}).Credible(uid, Identity{UID: uid, Life: newcomer}); doubt != "" {
		t.Errorf("void: the word of a replacement does not count: %s", doubt)
	}
}
