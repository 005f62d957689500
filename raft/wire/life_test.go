package wire

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// next returns the life after some restarts on the directory of l. A copy of l is l
// itself.
func next(l identity.Life, times int) identity.Life {
	for range times {
		l = l.Next(draw)
	}
	return l
}

func rejoined(l identity.Life) identity.Life { l.Rejoined = true; return l }

// asking is the same life before it has a goal.
func asking(l identity.Life) identity.Life { l.Asking = true; return l }

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
	for i, l := range []identity.Life{testLife, testLife.Next(draw), rejoined(newLife())} {
		q := dialRaw(t, s.config.Listener.Addr().String())
		q.write(t, q.encoder.hello(nil, kindHello, validHello("n2", "n1").of(l)))
		k, body, err := q.frames.next(greetingFrames)
		if err != nil {
			t.Fatal(err)
		}
		if taken := i == 2; taken != (k == kindHello) {
			t.Errorf("life %d: a frame of kind 0x%02x", i, uint8(k))
		} else if r, err := q.decoder.refusal(body); !taken && (err != nil || r.Reason != identity.RolledBack) {
			t.Errorf("life %d: %+v, %v", i, r, err)
		}
	}
	if !strings.Contains(log.String(), "has forgotten what it confirmed") {
		t.Errorf("the log says\n%s", log.String())
	}
}

// Goal: what a hello says of a directory is checked. Method: lives that no server
// has.
func TestLivesAreChecked(t *testing.T) {
	good := packLife(next(newLife(), 2))
	for name, unpack := range map[string]func() (identity.Life, error){
		"no incarnation":         func() (identity.Life, error) { return unpackLife(make(packedBytes, 16), 3, good.nonces, false) },
		"short incarnation":      func() (identity.Life, error) { return unpackLife(good.incarnation[:15], 3, good.nonces, false) },
		"boot 0":                 func() (identity.Life, error) { return unpackLife(good.incarnation, 0, good.nonces, false) },
		"more nonces than boots": func() (identity.Life, error) { return unpackLife(good.incarnation, 2, good.nonces, false) },
		"no nonces":              func() (identity.Life, error) { return unpackLife(good.incarnation, 3, nil, false) },
		"part of a nonce":        func() (identity.Life, error) { return unpackLife(good.incarnation, 3, good.nonces[:20], false) },
		"too many nonces": func() (identity.Life, error) {
			return unpackLife(good.incarnation, 1000, make(packedBytes, 8*identity.MaxNonces+8), false)
		},
	} {
		if l, err := unpack(); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	if l, err := unpackLife(good.incarnation, 3, good.nonces, true); err != nil || l.Boot != 3 || !l.Rejoined {
		t.Errorf("a good one: %+v, %v", l, err)
	}
	if _, err := New(Config{ClusterID: "c", ID: "n1", Listener: listen(t, "127.0.0.1:0"), Life: identity.Life{Boot: 1}}); err == nil {
		t.Error("a server without an incarnation was made")
	}
}

// verdicts gathers what a server is told of its own directory.
type verdicts struct {
	mu   sync.Mutex
	told map[core.ID]identity.Reason
	last identity.Verdict
}

func (v *verdicts) fenced(is identity.Verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.told == nil {
		v.told = map[core.ID]identity.Reason{}
	}
	v.last = is
	for _, id := range is.By {
		v.told[id] = is.Why
	}
}

func (v *verdicts) by(id core.ID) identity.Reason {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.told[id]
}

// Goal: a server whose directory was emptied, put back, copied or replaced is
// turned down by its peer, hears why, and both logs say so; nothing of it reaches
// the Handler. Method: each history, played to a server that remembers the first
// part of it.
func TestAServerWithTheWrongDirectoryIsToldSo(t *testing.T) {
	a := newLife()
	for want, now := range map[identity.Reason]identity.Life{
		identity.Wiped: newLife(), identity.RolledBack: next(a, 1), identity.Copied: next(a, 3), identity.Replaced: a,
	} {
		past := []identity.Life{next(a, 3)}
		if want == identity.Replaced {
			b := rejoined(newLife())
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
	later.write(t, later.encoder.hello(nil, kindHello, validHello("n2", "n1").of(testLife.Next(draw))))
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

func (failing) Remember(core.ID, identity.Known) error { return errors.New("no disk") }
func (failing) Note(map[core.ID]identity.Known) error  { return errors.New("no disk") }

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
