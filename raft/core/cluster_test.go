package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// cluster drives several servers by hand: messages wait in flight until a test
// delivers them, writes until it saves them.
type cluster struct {
	t       testing.TB
	servers map[ID]*Raft
	ids     []ID
	disks   map[ID]*State
	configs map[ID]Config
	flight  []message
	writes  map[ID]*Write
	applied map[ID][]Entry
	reads   map[ID][]ReadDone
	tags    map[Tag]message // requests delivered, by tag
	nextTag Tag
}

// message is a request on its way, or the reply to one on its way back.
type message struct {
	from  ID
	call  Call
	reply Reply // nil while it is the request
}

func newCluster(t testing.TB, n int, change func(*Config)) *cluster {
	c := &cluster{
		t: t, servers: map[ID]*Raft{}, disks: map[ID]*State{}, configs: map[ID]Config{}, writes: map[ID]*Write{},
		applied: map[ID][]Entry{}, reads: map[ID][]ReadDone{}, tags: map[Tag]message{},
	}
	for i := 1; i <= n; i++ {
		c.ids = append(c.ids, ID(fmt.Sprint(i)))
	}
	for i, id := range c.ids {
		config := Config{
			ID: id, Peers: c.ids, ElectionTicks: 10, HeartbeatTicks: 2,
			Rand: rand.New(rand.NewPCG(uint64(i), 1)),
		}
		if change != nil {
			change(&config)
		}
		c.configs[id] = config
		c.disks[id] = &State{}
		c.servers[id] = New(config, State{})
	}
	return c
}

// flush takes everything a server has ready; writes stay outstanding.
func (c *cluster) flush(id ID) {
	r := c.servers[id]
	if r == nil {
		return
	}
	for {
		ready := r.Ready()
		for _, call := range ready.Calls {
			c.flight = append(c.flight, message{from: id, call: call})
		}
		for _, a := range ready.Answers {
			m := c.tags[a.Tag]
			delete(c.tags, a.Tag)
			m.reply = a.Reply
			c.flight = append(c.flight, m)
		}
		c.reads[id] = append(c.reads[id], ready.Reads...)
		if ready.Write != nil {
			c.writes[id] = ready.Write
		}
		if err := r.Check(); err != nil {
			c.t.Fatal(err)
		}
		if ready.Apply == nil {
			return
		}
		c.applied[id] = append(c.applied[id], ready.Apply.Entries...)
		r.Applied(ready.Apply.Entries[len(ready.Apply.Entries)-1].Index)
	}
}

// save puts a server's outstanding write on its disk; false if there is none.
func (c *cluster) save(id ID) bool {
	w := c.writes[id]
	if w == nil || c.servers[id] == nil {
		return false
	}
	delete(c.writes, id)
	disk := c.disks[id]
	disk.Term, disk.VotedFor = w.Term, w.VotedFor
	if w.From != 0 {
		disk.Entries = append(disk.Entries[:w.From-1:w.From-1], w.Entries...)
	}
	c.servers[id].Saved(w.Seq)
	c.flush(id)
	return true
}

// deliver hands over message i of those in flight.
func (c *cluster) deliver(i int) {
	m := c.flight[i]
	c.flight = append(c.flight[:i:i], c.flight[i+1:]...)
	if m.reply == nil {
		c.nextTag++
		c.tags[c.nextTag] = m
		if to := c.servers[m.call.To]; to != nil {
			to.Receive(c.nextTag, m.from, m.call.Request)
		}
		c.flush(m.call.To)
		return
	}
	if from := c.servers[m.from]; from != nil {
		from.Returned(m.call, m.reply)
	}
	c.flush(m.from)
}

// settle saves and delivers until nothing is left to do; messages for which
// drop says so are lost.
func (c *cluster) settle(drop func(from, to ID) bool) {
	for range 100000 {
		busy := false
		for _, id := range c.ids {
			busy = c.save(id) || busy
		}
		if len(c.flight) > 0 {
			busy = true
			m := c.flight[0]
			from, to := m.from, m.call.To
			if m.reply != nil {
				from, to = to, from
			}
			if drop != nil && drop(from, to) {
				c.flight = c.flight[1:]
				if r := c.servers[m.from]; r != nil {
					r.Returned(m.call, nil)
					c.flush(m.from)
				}
			} else {
				c.deliver(0)
			}
		}
		if !busy {
			return
		}
	}
	c.t.Fatal("the cluster does not settle")
}

// tick lets time pass for one server.
func (c *cluster) tick(id ID, n int) {
	for range n {
		if r := c.servers[id]; r != nil {
			r.Tick()
			c.flush(id)
		}
	}
}

// elect makes a server leader with the help of everybody.
func (c *cluster) elect(id ID) {
	c.servers[id].startCampaign()
	c.flush(id)
	c.settle(nil)
	if role := c.servers[id].role; role != Leader {
		c.t.Fatalf("%s is %v, not leader", id, role)
	}
}

func (c *cluster) propose(id ID, data string) uint64 {
	index, _, err := c.servers[id].Propose([]byte(data))
	if err != nil {
		c.t.Fatalf("propose at %s: %v", id, err)
	}
	c.flush(id)
	return index
}

// restart ends a server, with what its disk has, and starts it again.
func (c *cluster) restart(id ID) {
	delete(c.writes, id)
	kept := c.flight[:0:0]
	for _, m := range c.flight {
		if m.from != id {
			kept = append(kept, m)
		}
	}
	c.flight = kept
	disk := *c.disks[id]
	disk.Entries = append([]Entry(nil), disk.Entries...)
	c.applied[id] = nil
	c.servers[id] = New(c.configs[id], disk)
}
