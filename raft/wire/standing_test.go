package wire

import (
	"sync/atomic"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/tests/virtual"
)

// Goal: peers hear within two seconds how far a server's disk has come, remember it
// within ten, and write nothing down while nothing changes; a disk that has no room
// for it ends nobody. Method: two servers in virtual time, a memory that counts.
func TestPeersRememberHowFarADiskHasCome(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		network := newPipes()
		standing := make(chan identity.Standing, 1)
		standing <- identity.Standing{Term: 1, Last: 1, LastTerm: 1, Commit: 1}
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
			c.Standing = func() identity.Standing { s := <-standing; standing <- s; return s }
		})
		time.Sleep(time.Second)
		<-standing
		standing <- identity.Standing{Term: 3, Last: 100, LastTerm: 3, Commit: 90}
		time.Sleep(standingInterval + time.Second)
		n1.Transport.mu.Lock()
		heard := n1.now().members["n2"].said
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

func (c *counting) Note(known map[core.ID]identity.Known) error {
	if c.fail.Load() {
		return errLeftEarly
	}
	c.notes.Add(1)
	return c.forgetful.Note(known)
}
