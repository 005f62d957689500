package wire

import (
	"fmt"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// connectionKinds are the two things for which servers connect.
var connectionKinds = map[string]kind{"requests": kindHello, "a snapshot": kindTransferHello}

// strangeLives are lives of n2 that a server must turn down which has met testLife
// at boot 5, and after it a replacement of a directory before.
func strangeLives() (identity.Known, identity.Life, map[identity.Reason]identity.Life) {
	before := identity.Life{Incarnation: identity.Incarnation{9}, Boot: 1, Nonces: []uint64{1}}
	present := next(rejoined(testLife), 4)
	k, _, _ := identity.Known{}.Meet(before)
	k, _, _ = k.Meet(asking(present))
	k, _, _ = k.Meet(present)
	return k, present, map[identity.Reason]identity.Life{
		identity.Wiped: newLife(), identity.RolledBack: testLife, identity.Replaced: before,
		identity.Copied: func() identity.Life { l := next(testLife, 3).Next(draw); l.Rejoined = true; return l }(),
	}
}

// strangeHellos are hellos of n2 to n1 that do not fit, by the reason.
func strangeHellos() (identity.Known, identity.Life, map[identity.Reason]*hello) {
	k, present, lives := strangeLives()
	hellos := map[identity.Reason]*hello{}
	for reason, h := range mismatches() {
		if reason != ReasonMalformed {
			hellos[reason] = h.of(present)
			h.Term = 1 // it has a goal
		}
	}
	for reason, l := range lives {
		h := validHello("n2", "n1").of(l)
		h.Term = 1
		hellos[reason] = h
	}
	return k, present, hellos
}

// Goal: cluster, receiver, sender, level, members and the life of the directory are
// judged on every kind of connection and on both sides. Method: the table of all
// hellos that do not fit, on connections for requests and for snapshots, that n1
// accepts and that it dials.
func TestEveryKindOfConnectionIsJudged(t *testing.T) {
	k, present, strange := strangeHellos()
	for name, purpose := range connectionKinds {
		for reason := range strange {
			t.Run(fmt.Sprintf("%s, %s, accepted", name, reason), func(t *testing.T) {
				_, _, hellos := strangeHellos()
				shelf := newShelf()
				s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) {
					c.Memory, c.Snapshots = forgetful{"n2": k}, shelf
				}, nil)
				p := dialRaw(t, s.config.Listener.Addr().String())
				p.write(t, p.encoder.hello(nil, purpose, hellos[reason]))
				if k, _, err := p.frames.next(everything()); err != nil || k != kindRefusal {
					t.Fatalf("it is answered with kind 0x%02x, %v", uint8(k), err)
				}
				p.ended(t)
				eventually(t, "it is counted", func() bool { return s.Stats().Rejected[reason] == 1 })
			})
			t.Run(fmt.Sprintf("%s, %s, dialled", name, reason), func(t *testing.T) {
				_, _, hellos := strangeHellos()
				l := listen(t, "127.0.0.1:0")
				defer l.Close()
				shelf := newShelf()
				shelf.files[[2]uint64{7, 2}] = someBytes(100)
				s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l.Addr().String()}, func(c *Config) {
					c.Memory, c.Snapshots = forgetful{"n2": k}, shelf
				}, nil)
				if purpose == kindTransferHello {
					conn, err := l.Accept()
					if err != nil {
						t.Fatal(err)
					}
					r := newRaw(conn)
					defer conn.Close()
					good := validHello("n2", "n1").of(present)
					good.Term = 1
					r.write(t, r.encoder.hello(nil, kindHello, good))
					eventually(t, "the connection for requests", func() bool { return s.Stats().Total.Connected })
					s.Send(core.Call{To: "n2", Request: &core.InstallSnapshot{Term: 5, LeaderID: "n1", Snapshot: core.Snapshot{Index: 7, Term: 2}}}, func(core.Call, core.Reply) {})
				}
				conn, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				r := newRaw(conn)
				if k, _, err := r.frames.next(everything()); err != nil || k != purpose {
					t.Fatalf("kind 0x%02x, %v", uint8(k), err)
				}
				r.write(t, r.encoder.hello(nil, purpose, hellos[reason]))
				if k, _, err := r.frames.next(everything()); err == nil {
					t.Fatalf("it goes on with kind 0x%02x", uint8(k))
				}
				if len(s.received()) != 0 || s.Stats().Total.SnapshotsSent != 0 {
					t.Error("something passed")
				}
			})
		}
	}
}

// Goal: a later life of a peer ends all connections of the one before, a snapshot
// on its way in among them, and none of the one before comes to stand afterwards.
// Method: an offer by one process; a hello of the next.
func TestALaterLifeEndsAnIncomingSnapshot(t *testing.T) {
	shelf := newShelf()
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": "127.0.0.1:1"}, func(c *Config) { c.Snapshots = shelf }, nil)
	p := offerRaw(t, s, "n2", sampleOffer())
	if k, _, err := p.frames.next(offerReplyFrames); err != nil || k != kindSnapshotOfferReply {
		t.Fatalf("the offer is answered with kind 0x%02x, %v", uint8(k), err)
	}
	later := dialRaw(t, s.config.Listener.Addr().String())
	later.write(t, later.encoder.hello(nil, kindHello, validHello("n2", "n1").of(testLife.Next(draw))))
	if k, _, err := later.frames.next(greetingFrames); err != nil || k != kindHello {
		t.Fatalf("the next boot is not taken: kind 0x%02x, %v", uint8(k), err)
	}
	p.ended(t)
	eventually(t, "the transfer is given up", func() bool { return !s.Stats().Total.ReceivingSnapshot })
	if len(s.received()) != 0 {
		t.Error("a snapshot of an earlier process reached the Handler")
	}
}
