package wire

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
)

// Goal: a directory that holds less than it said is told from one that went on,
// and one that lost only what could be truncated is not held up. Method: a table of
// what was said, in order, and what is said at the next start.
func TestADirectoryThatHoldsLessIsFound(t *testing.T) {
	for _, test := range []struct {
		name string
		said []Standing
		now  Standing
		lost bool
	}{
		{"nothing was said", nil, Standing{}, false},
		{"the same", []Standing{{5, 10, 5, 8}}, Standing{Term: 5, Last: 10}, false},
		{"more", []Standing{{5, 10, 5, 8}}, Standing{Term: 6, Last: 20}, false},
		{"an earlier term", []Standing{{5, 10, 5, 8}}, Standing{Term: 4, Last: 10}, true},
		{"a term without entries was said", []Standing{{9, 0, 0, 0}}, Standing{Term: 8, Last: 100}, true},
		{"committed entries", []Standing{{5, 10, 5, 8}}, Standing{Term: 6, Last: 7}, true},
		{"all but the committed entries, in a later term", []Standing{{5, 10, 5, 8}}, Standing{Term: 6, Last: 8}, false},
		{"entries of the present term", []Standing{{5, 10, 5, 8}}, Standing{Term: 5, Last: 9}, true},
		{"entries of an earlier term, in the present one", []Standing{{5, 10, 4, 8}}, Standing{Term: 5, Last: 9}, false},
		{"committed further than the log reached", []Standing{{5, 10, 5, 90}}, Standing{Term: 6, Last: 10}, false},
		{"committed further, and less", []Standing{{5, 10, 5, 90}}, Standing{Term: 6, Last: 9}, true},
		{"what was said of an earlier term counts no more", []Standing{{5, 10, 5, 3}, {6, 8, 5, 3}}, Standing{Term: 6, Last: 7}, false},
		{"what is committed counts for ever", []Standing{{5, 10, 5, 9}, {7, 10, 7, 0}}, Standing{Term: 8, Last: 8}, true},
		{"the log is known to be committed by a snapshot", []Standing{{5, 100, 4, 100}}, Standing{Term: 7, Last: 99}, true},
	} {
		var k Known
		for _, s := range test.said {
			if !k.note(s) {
				t.Errorf("%s: %+v is no news", test.name, s)
			}
			if k.note(s) {
				t.Errorf("%s: %+v is news twice", test.name, s)
			}
		}
		if lost := k.behind(test.now); (lost != "") != test.lost {
			t.Errorf("%s: %q", test.name, lost)
		}
	}
}

// Goal: no server that crashes at any moment is taken for one that was put back.
// Method: random histories of a log as Raft allows them: a leader of a later term
// truncates what is not committed, entries of the present term only grow, a commit
// index follows. The disk is behind memory by some writes; what the disk holds is
// said now and then, and a crash goes back to what it holds.
func TestNoCrashIsTakenForALoss(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for run := range 2000 {
		type disk struct {
			term, commit uint64
			log          []uint64 // terms
		}
		var memory, durable disk
		var k Known
		say := func() Standing {
			s := Standing{Term: durable.term, Last: uint64(len(durable.log)), Commit: durable.commit}
			if n := len(durable.log); n > 0 {
				s.LastTerm = durable.log[n-1]
			}
			return s
		}
		for range 60 {
			switch rng.IntN(7) {
			case 0:
				memory.term += uint64(rng.IntN(3))
			case 1: // a later leader's log conflicts with what is not committed
				if n := uint64(len(memory.log)); n > memory.commit && memory.log[n-1] < memory.term {
					keep := memory.commit + rng.Uint64N(n-memory.commit)
					memory.log = append(memory.log[:keep:keep], memory.term)
				}
			case 2, 3:
				memory.log = append(memory.log[:len(memory.log):len(memory.log)], memory.term)
			case 4: // only entries that are followed by one of the present term
				if n := uint64(len(memory.log)); n > 0 && memory.log[n-1] == memory.term {
					memory.commit = max(memory.commit, rng.Uint64N(n+1))
				}
			case 5:
				durable = memory
				durable.commit = min(memory.commit, uint64(len(memory.log)))
			case 6:
				k.note(say())
				if rng.IntN(3) == 0 { // a crash
					memory = durable
					if lost := k.behind(say()); lost != "" {
						t.Fatalf("run %d: %s", run, lost)
					}
				}
			}
		}
	}
}

// Goal: peers hear within two seconds how far a server's disk has come, remember it
// within ten, and write nothing down while nothing changes; a disk that has no room
// for it ends nobody. Method: two servers in virtual time, a memory that counts.
func TestPeersRememberHowFarADiskHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		standing := make(chan Standing, 1)
		standing <- Standing{Term: 1, Last: 1, LastTerm: 1, Commit: 1}
		memory := &counting{forgetful: forgetful{}}
		begin := func(id, peer core.ID, tweak func(*Config)) *server {
			return start(t, id, nil, nil, func(c *Config) {
				c.Listener, c.Peers = network.listen(twoOnPipes[id]), map[core.ID]string{peer: twoOnPipes[peer]}
				c.Dial = network.dial
				tweak(c)
			}, nil)
		}
		n1 := begin("n1", "n2", func(c *Config) { c.Memory = memory })
		n2 := begin("n2", "n1", func(c *Config) {
			c.Standing = func() Standing { s := <-standing; standing <- s; return s }
		})
		time.Sleep(time.Second)
		<-standing
		standing <- Standing{Term: 3, Last: 100, LastTerm: 3, Commit: 90}
		time.Sleep(standingInterval + time.Second)
		n1.Transport.mu.Lock()
		heard := n1.peers["n2"].said
		n1.Transport.mu.Unlock()
		if heard.Last != 100 {
			t.Errorf("heard %+v", heard)
		}
		memory.fail.Store(true)
		time.Sleep(memoryInterval)
		memory.fail.Store(false)
		time.Sleep(memoryInterval + time.Second)
		n1.remembering <- struct{}{}
		k := memory.Known("n2")
		<-n1.remembering
		if k.Term != 3 || k.Held != 90 || k.Firm != 100 {
			t.Errorf("remembered %+v", k)
		}
		notes := memory.notes.Load()
		time.Sleep(10 * memoryInterval)
		if now := memory.notes.Load(); now != notes {
			t.Errorf("%d notes of nothing", now-notes)
		}
		n1.Close()
		n2.Close()
	})
}

// counting is a memory that counts notes, and has no room for them if told so.
type counting struct {
	forgetful
	notes atomic.Int64
	fail  atomic.Bool
}

func (c *counting) Note(known map[core.ID]Known) error {
	if c.fail.Load() {
		return errLeftEarly
	}
	c.notes.Add(1)
	return c.forgetful.Note(known)
}
